"""A real server, a real chromium, and waiting on what the app says about itself, never on time."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from playwright.sync_api import Browser, Page, expect, sync_playwright

from ptviz.runs import Run, RunConfig, RunWriter, Store
from ptviz.training.events import Baselines, Evaluated, Finished, Snapshot, StageStarted, StepCompleted
from tests.app_server import HANGS_SECONDS, AppServer

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
# Pages are drawn by the processor itself: drawn as for a graphics card, every frame costs it several times more.
FLAGS = ["--no-sandbox", "--use-angle=swiftshader", "--disable-gpu-compositing", "--disable-gpu-rasterization"]
FLAGS += ["--disable-background-networking", "--disable-sync"]

HANGS_MILLISECONDS = 1000 * HANGS_SECONDS
expect.set_options(timeout=HANGS_MILLISECONDS)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder needs a browser."""
    missing = pytest.mark.skip(reason="no chromium on this machine; un-skip with: apt-get install chromium")
    for item in items:
        if CHROMIUM is None and Path(__file__).parent in item.path.parents:
            item.add_marker(missing)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One browser for the tests of a file, gone after them: its event loop would be running in every later test."""
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def server(home: Path, tmp_path: Path) -> Iterator[AppServer]:
    """A fresh server without any request so far; its worker ends with the test."""
    with AppServer(home, tmp_path / "server.log") as serving:
        yield serving


@pytest.fixture(scope="module")
def gallery_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppServer]:
    """One server on an empty home with the recorded runs, for all tests of a file."""
    folder = tmp_path_factory.mktemp("home")
    with AppServer(folder, folder / "server.log") as serving:
        yield serving


@pytest.fixture
def tab(chromium: Browser) -> Iterator[Callable[..., Page]]:
    """Open tabs, each a session of its own; the test fails if one shows a dialog of the page's own making."""
    contexts = []
    surprises: list[str] = []

    def open_tab(address: str, scheme: str = "light") -> Page:
        context = chromium.new_context(viewport={"width": 1280, "height": 1000}, color_scheme=scheme)  # type: ignore[arg-type]
        contexts.append(context)
        context.set_default_timeout(HANGS_MILLISECONDS)
        page = context.new_page()
        page.on("dialog", lambda dialog: (surprises.append(dialog.message), dialog.dismiss()))
        page.on("pageerror", lambda error: surprises.append(str(error)))
        page.goto(address, wait_until="load")
        return page

    yield open_tab
    for context in contexts:
        context.close()
    assert not surprises


@pytest.fixture
def settled() -> Callable[[Page], Page]:
    """Wait until Streamlit says that a page's script has run; returns the page."""

    def wait(page: Page) -> Page:
        page.wait_for_selector("[data-testid=stApp]")
        page.wait_for_function(
            "() => document.querySelector('[data-testid=stApp]').dataset.testScriptState === 'notRunning'",
        )
        return page

    return wait


@pytest.fixture
def make_finished() -> Callable[[Store, RunConfig], Run]:
    """A run that ended, as its writer leaves it, without training."""

    def make(store: Store, config: RunConfig) -> Run:
        run = store.create(config)
        with RunWriter(run) as writer:
            writer.begin(None)
            writer.write_event(StageStarted(0, "tune", 20))
            for step in range(21):
                writer.write_event(StepCompleted(0, step, 2.0 - step / 20, 0.05, 1.0, step / 10))
            writer.write_event(Baselines(0.26, 0.38, 1.7))
            writer.write_event(Evaluated(0, 20, 1.0, 0.8, True, 2.0))
            writer.write_event(Snapshot(0, 20, {"P": torch.zeros(2, 4)}, {}, {}))
            writer.write_event(Finished(0.8, 0.75, 0.6, 0.26, 0.38, 20, 20, 2.0, 10.0))
        return run

    return make
