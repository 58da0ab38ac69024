"""A lesson from start to end by the keyboard alone, with a recorded run."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser

_FOCUSED = """() => {
  const node = document.activeElement;
  const text = node.getAttribute('aria-label') || node.innerText || '';
  return node.getAttribute('role') === 'slider' ? 'slider' : node.type === 'radio' ? 'radio' : text.trim();
}"""


def tab_to(page: Page, wanted: str, most: int = 80) -> None:
    """Press Tab until the element with this role or text has the focus."""
    for _ in range(most):
        page.keyboard.press("Tab")
        if wanted in page.evaluate(_FOCUSED):
            return
    pytest.fail(f"{wanted!r} cannot be reached by the Tab key")


@pytest.mark.slow
def test_a_lesson_is_done_by_the_keyboard_alone(gallery, server, settled, tab: Callable[..., Page]):
    page = settled(tab(f"{server.address}/lessons"))
    expect(page.get_by_role("heading", name="1. Your prediction")).to_be_visible()
    expect(page.get_by_role("heading", name="2. The measurement")).to_have_count(0)
    page.get_by_role("heading", name="1. Your prediction").scroll_into_view_if_needed()

    tab_to(page, "slider")
    page.keyboard.press("ArrowLeft")
    tab_to(page, "Predict and measure")
    page.keyboard.press("Enter")
    expect(page.get_by_text("You predicted")).to_be_visible()
    assert "soft-prompt=4" in page.url

    for number in (1, 2):
        tab_to(page, "radio")
        page.keyboard.press("Space")
        tab_to(page, "Check")
        page.keyboard.press("Enter")
        expect(page.get_by_text("(your answer)")).to_have_count(number)
    expect(page.get_by_role("heading", name="5. What to read")).to_be_visible()
    expect(page.get_by_text("1 of 8 lessons done")).to_be_visible()

    again = settled(tab(page.url))
    expect(again.get_by_text("(your answer)")).to_have_count(2)
