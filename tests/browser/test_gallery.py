"""A fresh home in a real browser: every page shows a drawn figure with data, and none says that there is no run."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.app_server import ROOT, AppServer
from tests.browser.pages import PAGES, WITH_FIGURES

pytestmark = pytest.mark.browser

FIGURE = """() => {
  const plots = [...document.querySelectorAll('.ptviz-plot')].filter((node) => node._fullLayout);
  const length = (trace) => (trace.x || trace.y || trace.z || []).length;
  if (plots.some((node) => node.data.some((trace) => length(trace) > 0))) return true;
  const drawings = (root) => [...root.querySelectorAll('*')].flatMap((node) =>
    [...(node.localName === 'svg' ? [node] : []), ...(node.shadowRoot ? drawings(node.shadowRoot) : [])]);
  return drawings(document.querySelector('[data-testid=stMain]')).some((svg) =>
    svg.getBoundingClientRect().width > 200 && svg.querySelectorAll('rect, path, circle').length > 5);
}"""
"""A plot with points, or a large drawing, anywhere on the page."""


def test_every_page_is_listed() -> None:
    # The address of a page is the name of its file, with one exception.
    files = {path.stem: path.stem for path in (ROOT / "pages").glob("*/*.py")} | {"methods": "compare-methods"}
    assert {"", *files.values()} == set(PAGES)


@pytest.fixture
def fresh_server(gallery: Path, server: AppServer) -> AppServer:
    """A server on an empty home, with the recorded runs that come with the app."""
    return server


@pytest.mark.slow
def test_every_page_of_a_fresh_home_shows_a_figure_with_data(
    fresh_server: AppServer, tab: Callable[..., Page], settled: Callable[[Page], Page]
) -> None:
    settled(tab(f"{fresh_server.address}/lessons"))  # It waits for the libraries, once after a start.
    for name in WITH_FIGURES:
        began = time.monotonic()
        page = tab(f"{fresh_server.address}/{name}")
        page.wait_for_function(FIGURE)
        print(f"{name or 'home'}: a figure after {time.monotonic() - began:.1f} s")
        said = settled(page).inner_text("[data-testid=stMain]").lower()
        assert "no run to inspect" not in said
        assert "no finished run" not in said
        page.context.close()
