"""A lesson is done from start to end by keyboard alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from ptviz.ui.lessons.lesson import Lesson, SliderPrediction, load_lessons
from ptviz.ui.lessons.runs import find_recorded
from tests.app_server import AppServer

pytestmark = pytest.mark.browser

LESSONS = load_lessons()


def tab_to(page: Page, wanted: Locator, name: str) -> None:
    """Press Tab until an element, or one inside it, has the focus."""
    wanted.wait_for(state="attached")
    for _ in range(400):
        if wanted.evaluate("node => node.contains(document.activeElement)"):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"Tab does not reach {name}")


def choose(page: Page, group: str, index: int, button: str) -> None:
    """Choose one of several answers, from the first on by the arrow keys, and press the button of its form."""
    answers = page.get_by_role("radiogroup", name=group)
    tab_to(page, answers, f"the choices of {group!r}")
    page.keyboard.press("Space")
    for _ in range(index):
        page.keyboard.press("ArrowDown")
    expect(answers.get_by_role("radio").nth(index)).to_be_checked()
    tab_to(page, page.get_by_role("button", name=button, exact=True).first, f"the button {button!r}")
    page.keyboard.press("Enter")


def lesson_parameter(lesson: Lesson) -> object:
    """Only the first lesson is part of the ordinary suite."""
    return pytest.param(lesson, id=lesson.id, marks=[] if lesson is LESSONS[0] else [pytest.mark.slow])


@pytest.mark.parametrize("lesson", [lesson_parameter(lesson) for lesson in LESSONS])
def test_a_lesson_is_done_by_keyboard_alone(
    gallery: Path, gallery_server: AppServer, tab: Callable[..., Page], settled: Callable[[Page], Page], lesson: Lesson
) -> None:
    configs = lesson.experiment.run_configs()
    if configs and find_recorded(configs) is None:
        pytest.skip("the runs of this lesson are not recorded yet; un-skip with: ptviz gallery record")
    page = settled(tab(f"{gallery_server.address}/lessons?lesson={lesson.id}"))
    if isinstance(lesson.prediction, SliderPrediction):
        slider = page.get_by_test_id("stSlider").locator("input").first
        tab_to(page, slider, "the slider")
        before = slider.input_value()
        page.keyboard.press("ArrowLeft")
        expect(slider).not_to_have_value(before)
        tab_to(page, page.get_by_role("button", name="Predict and measure"), "the button")
        page.keyboard.press("Enter")
    else:
        choose(page, "Your prediction", 0, "Predict and measure")
    expect(page.get_by_role("heading", name="3. Why")).to_be_visible()
    for number, question in enumerate(lesson.questions):
        choose(page, f"Answer to question {number + 1}", question.right_index, "Check")
        expect(page.get_by_text("(your answer)")).to_have_count(number + 1)
    expect(page.get_by_role("heading", name="5. What to read")).to_be_visible()
    given = "~".join(str(question.right_index) for question in lesson.questions)
    page.wait_for_function(f"() => new URLSearchParams(location.search).get('{lesson.id}')?.endsWith('~{given}')")
    if lesson is not LESSONS[-1]:
        following = LESSONS[LESSONS.index(lesson) + 1]
        tab_to(page, page.get_by_role("button", name=f"Next: {following.title}"), "the next lesson")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name=following.title, exact=True)).to_be_visible()
    page.reload()
    expect(settled(page).get_by_text("1 of 8 lessons done")).to_be_visible()
