"""What readers without a mouse or with a screen reader depend on: axe-core on every page, a lesson by keyboard."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page, expect

from ptviz.ui.lessons.lesson import Lesson, SliderPrediction, load_lessons
from ptviz.ui.lessons.runs import find_recorded
from tests.app_server import AppServer
from tests.browser.pages import PAGES

pytestmark = pytest.mark.browser

GRAVE = ("serious", "critical")
"""The impacts that axe-core gives to what keeps a reader from using a page."""
AXE = Axe()
LESSONS = load_lessons()


@pytest.fixture(scope="module")
def gallery_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppServer]:
    """One server on an empty home with the recorded runs, for all tests of this file."""
    folder = tmp_path_factory.mktemp("home")
    with AppServer(folder, folder / "server.log") as serving:
        yield serving


def grave_faults(page: Page) -> list[str]:
    """What axe-core finds on a page as it is now, one line for each kind of fault with its first place."""
    found = AXE.run(page).response["violations"]
    return [
        f"{fault['id']}: {fault['help']} ({len(fault['nodes'])}), first {fault['nodes'][0]['target']} "
        f"{fault['nodes'][0]['html'][:200]}"
        for fault in found
        if fault["impact"] in GRAVE
    ]


@pytest.mark.slow
@pytest.mark.parametrize("path", PAGES)
def test_axe_finds_no_serious_fault(
    gallery_server: AppServer, tab: Callable[..., Page], settled: Callable[[Page], Page], path: str
) -> None:
    page = settled(tab(f"{gallery_server.address}/{path}"))
    page.locator("[data-testid=stSkeleton], [data-testid=stSpinner]").first.wait_for(state="detached")
    expect(page.locator("ul[data-testid=stSidebarNavItems]:not([role=presentation])")).to_have_count(0)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        expect(page.locator("[data-testid=stApp]")).to_have_css("color-scheme", scheme)
        assert grave_faults(page) == [], scheme


def test_axe_finds_what_is_wrong(chromium) -> None:  # type: ignore[no-untyped-def]
    page = chromium.new_page()
    page.set_content(
        "<html lang=en><title>t</title><main><h1>t</h1><p style='color:#bbb'>pale</p><img src='data:,'></main></html>"
    )
    assert {fault.partition(":")[0] for fault in grave_faults(page)} == {"color-contrast", "image-alt"}
    page.close()


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
