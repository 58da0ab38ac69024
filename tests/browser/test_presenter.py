"""Presenter mode: one large figure at a time, moved by the arrow keys, with an address that others can open."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.app_server import AppServer

pytestmark = pytest.mark.browser


@pytest.fixture
def gallery_server(gallery: Path, server: AppServer) -> AppServer:
    """A server on an empty home with the recorded runs."""
    return server


def presented(page: Page) -> Locator:
    """The frames of figures that are to be seen in presenter mode; the page behind them is hidden."""
    return page.locator("[class*='st-key-figure-']:visible")


def test_keys_lead_through_figures_and_steps_and_a_link_opens_the_same(
    gallery_server: AppServer, tab: Callable[..., Page], settled: Callable[[Page], Page]
) -> None:
    page = settled(tab(f"{gallery_server.address}/decompositions"))
    expect(presented(page).nth(2)).to_be_visible()
    count = presented(page).count()
    root = "() => parseFloat(getComputedStyle(document.documentElement).fontSize)"
    usual = page.evaluate(root)
    page.keyboard.press("p")
    bar = page.get_by_role("region", name="Presenter mode")
    expect(bar).to_contain_text(f"Figure 1 of {count}")
    expect(presented(page)).to_have_count(1)
    expect(page.get_by_role("heading", name="Decompositions")).to_be_hidden()
    assert page.evaluate(root) == pytest.approx(1.6 * usual)
    page.keyboard.press("ArrowLeft")  # the first one stays
    page.keyboard.press("ArrowRight")
    expect(bar).to_contain_text(f"Figure 2 of {count}")
    expect(bar).to_contain_text("Step best")
    page.keyboard.press("ArrowDown")
    page.wait_for_function("() => new URLSearchParams(location.search).has('at')")
    earlier = page.evaluate("() => new URLSearchParams(location.search).get('at')")
    expect(bar).to_contain_text(f"Step {earlier}")
    expect(bar).to_contain_text(f"Figure 2 of {count}")
    page.keyboard.press("q")
    code = page.get_by_role("img", name="QR code of the address of this figure")
    expect(code).to_be_visible()
    page.wait_for_function("() => document.querySelector('.ptviz-present-bar figure.large img')?.naturalWidth > 0")
    page.keyboard.press("q")
    address = page.url
    assert "present=" in address
    page.keyboard.press("Escape")
    expect(bar).to_have_count(0)
    assert "present=" not in page.url
    assert page.evaluate(root) == usual
    other = settled(tab(address))
    expect(other.get_by_role("region", name="Presenter mode")).to_contain_text(f"Figure 2 of {count}")
    expect(other.get_by_role("region", name="Presenter mode")).to_contain_text(f"Step {earlier}")


def test_a_letter_in_a_field_is_text_and_a_page_without_figures_says_so(
    server: AppServer, tab: Callable[..., Page], settled: Callable[[Page], Page]
) -> None:
    page = settled(tab(f"{server.address}/glossary"))
    page.get_by_role("textbox", name="Find a term").press("p")
    bar = page.get_by_role("region", name="Presenter mode")
    expect(bar).to_have_count(0)
    page.get_by_role("textbox", name="Find a term").blur()
    page.get_by_role("button", name="Present P").click()
    expect(bar).to_contain_text("This page has no figure yet.")
    page.keyboard.press("p")
    expect(bar).to_have_count(0)


def test_the_tools_of_a_drawing_give_way(
    server: AppServer, tab: Callable[..., Page], settled: Callable[[Page], Page]
) -> None:
    page = settled(tab(f"{server.address}/survey"))
    tool = page.get_by_role("button", name="Download as SVG").first
    expect(tool).to_be_visible()
    page.keyboard.press("p")
    expect(page.get_by_role("region", name="Presenter mode")).to_contain_text("Figure 1 of 3")
    expect(tool).to_have_count(0)
    expect(page.get_by_test_id("ptviz-drawing").first).to_be_visible()
