"""First-time visitors on an empty home, recorded as pictures: ``python -m tests.visits FOLDER [WIDTH] [light|dark]``.

Each visitor follows a path of clicks as a stranger would. After every step, the whole page is written as
``PATH-NUMBER-WIDTH-THEME.png``. It needs chromium, as the tests of the browser do.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from urllib.parse import urljoin

from playwright.sync_api import Browser, Page, sync_playwright

from tests.app_server import HANGS_SECONDS, AppServer
from tests.browser.conftest import CHROMIUM, FLAGS
from tests.tour import DRAWN

Step = Callable[[Page], None]
_TALLEST = 9000
"""CSS pixels up to which a page is one picture."""


def press(name: str) -> Step:
    """Press a button by its label."""
    return lambda page: page.get_by_role("button", name=name).first.click()


def press_and_leave(name: str, path: str) -> Step:
    """Press a button that leads to another page."""

    def go(page: Page) -> None:
        press(name)(page)
        page.wait_for_url(f"**/{path}**")

    return go


def choose(name: str) -> Step:
    """Choose one of several views or answers by its label."""
    return lambda page: page.get_by_test_id("stMain").get_by_text(name, exact=True).first.click()


def visit(path: str) -> Step:
    """Open a page, as its link in the sidebar does: on a phone the sidebar is closed."""

    def go(page: Page) -> None:
        page.goto(urljoin(page.url, f"/{path}"))

    return go


def wait_for(text: str) -> Step:
    """Wait until a text is on the page."""
    return lambda page: page.get_by_text(text).first.wait_for()


PATHS: Mapping[str, Sequence[Step]] = {
    "student": (
        press_and_leave("Play the recorded run", "watch"),
        visit("lessons"),
        press("Predict and measure"),
        visit("method"),
    ),
    "trainer": (press_and_leave("Start training", "watch"), wait_for("finished"), visit("embeddings"), visit("runs")),
    "researcher": (
        visit("compare-methods"),
        choose("Against cost"),
        choose("Seeds"),
        visit("findings"),
        visit("transfer"),
    ),
    "engineer": (
        visit("checkpoint"),
        press_and_leave("Inspect it", "embeddings"),
        visit("peft-benchmark"),
        choose("Side by side"),
    ),
}
"""The steps of each visitor, all of whom begin on the home page."""


def take(page: Page, target: Path) -> None:
    """Write a picture of the whole page once it is drawn."""
    size = page.viewport_size or {"width": 1280, "height": 1000}
    page.wait_for_function(DRAWN)
    height = page.evaluate("() => document.querySelector('[data-testid=stMain]').scrollHeight")
    page.set_viewport_size({"width": size["width"], "height": max(size["height"], min(height, _TALLEST))})
    page.wait_for_function(DRAWN)
    page.screenshot(path=target)
    page.set_viewport_size(size)


def walk(browser: Browser, address: str, name: str, folder: Path, width: int, theme: str) -> None:
    """Follow one path, with a picture after every step."""
    context = browser.new_context(viewport={"width": width, "height": 1000}, color_scheme=theme)  # type: ignore[arg-type]
    context.set_default_timeout(1000 * HANGS_SECONDS)
    page = context.new_page()
    page.goto(address)
    for number, step in enumerate((lambda page: None, *PATHS[name])):
        step(page)
        take(page, folder / f"{name}-{number}-{width}-{theme}.png")
    context.close()


def main() -> None:
    """Follow every path at one width and in one theme."""
    folder, width, theme = [*sys.argv[1:], *("", "1280", "light")[len(sys.argv) - 1 :]]
    Path(folder).mkdir(parents=True, exist_ok=True)
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        for name in PATHS:
            with tempfile.TemporaryDirectory() as home, AppServer(Path(home), Path(home) / "server.log") as server:
                walk(browser, server.address, name, Path(folder), int(width), theme)
        browser.close()


if __name__ == "__main__":
    main()
