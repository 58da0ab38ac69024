"""What moves on the pages: a replay played to its end, and the forward pass stepped by the keyboard."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from ptviz.runs import RunConfig, Store

pytestmark = pytest.mark.browser

Tab = Callable[..., Page]


def test_a_replay_plays_to_its_end_and_keeps_the_zoom(server, settled, tab: Tab, make_finished) -> None:
    run = make_finished(Store(server.home / "runs"), RunConfig())
    page = settled(tab(f"{server.address}/watch?run={run.id}&replay=1x&zoom=xaxis:2:12"))  # two seconds
    expect(page.get_by_text("Replay of a finished run")).to_be_visible()
    expect(page.get_by_text("20 / 20")).to_be_visible()
    expect(page.get_by_role("button", name="Play")).to_be_visible()
    page.wait_for_function("() => location.search.includes('step=20')")
    figure = page.locator(".ptviz-plot[data-updates]").first
    assert figure.evaluate("node => node._fullLayout.xaxis.range.map(Number)") == [2, 12]
    page.keyboard.press("j")
    expect(page.get_by_text("19 / 20")).to_be_visible()
    assert figure.evaluate("node => node._fullLayout.xaxis.range.map(Number)") == [2, 12]
    page.get_by_role("slider", name="step").press("Home")
    expect(page.get_by_text("0 / 20")).to_be_visible()
    page.get_by_role("slider", name="step").press("PageUp")
    page.wait_for_function("() => +new URLSearchParams(location.search).get('step') > 0")
    second = settled(tab(page.url.replace("step=20", "step=19")))
    expect(second.get_by_text("19 / 20")).to_be_visible()
