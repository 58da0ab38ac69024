"""A report in a real browser: its figures are drawn, in both themes and on paper, and nothing is loaded."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from ptviz.reports.run_report import run_report
from ptviz.runs import Store
from tests.damaged_files import make_run

pytestmark = pytest.mark.browser


def test_a_report_is_drawn_and_printed(chromium: Browser, home: Path, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text(run_report(make_run(Store(), "</script><script>alert(1)</script>")).to_html(), encoding="utf-8")
    page = chromium.new_page(color_scheme="dark", viewport={"width": 390, "height": 800})
    asked, surprises = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("dialog", lambda dialog: (surprises.append(dialog.message), dialog.dismiss()))
    page.on("pageerror", lambda error: surprises.append(str(error)))
    page.goto(file.as_uri())
    # The page's policy forbids what wait_for_function does, so that its words are asked for by locators.
    expect(page.locator("html[data-drawn=yes]")).to_be_attached()
    plots = page.locator(".plot .main-svg").count()
    assert plots >= page.locator("script.figure").count() > 0
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    font = "getComputedStyle(document.querySelector('.plot .xtick text')).fill"
    assert page.evaluate(font) == "rgb(231, 236, 241)"
    printed = page.pdf(format="A4")
    assert printed.startswith(b"%PDF-")
    assert len(re.findall(rb"/Type\s*/Page\b", printed)) >= 2
    page.emulate_media(media="print")
    expect(page.locator(".plot .xtick text").first).to_have_css("fill", "rgb(27, 36, 48)")
    assert page.locator(".download").first.is_hidden()
    assert [address for address in asked if not address.startswith(("file:", "data:", "blob:"))] == []
    assert not surprises
    page.close()
