"""A real server, a real chromium, and waiting on what the app says about itself, never on time."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from playwright.sync_api import Browser, Page, expect, sync_playwright

from ptviz.executors.local import LocalExecutor
from ptviz.runs import Run, RunConfig, Store, Writer
from ptviz.training.events import Baselines, Evaluated, Finished, Snapshot, StageStarted, StepCompleted

ROOT = Path(__file__).parents[2]
CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
FLAGS = ["--no-sandbox", "--use-angle=swiftshader", "--disable-background-networking", "--disable-sync"]

expect.set_options(timeout=60_000)


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


class Server:
    """The app on a free port of this machine, with its own folder of runs."""

    def __init__(self, home: Path, log: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.home, self.log = home, log
        self.address = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers. Nothing but its health is asked: the first page is the test's own."""
        command = [sys.executable, "-m", "streamlit", "run", str(ROOT / "app.py"), "--server.headless=true"]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, f"--server.port={self.port}"],
                env={**os.environ, "PTVIZ_HOME": str(self.home)},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        for _ in range(600):
            with suppress(OSError), urllib.request.urlopen(f"{self.address}/_stcore/health", timeout=5) as answer:
                if answer.status == 200:
                    return
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(0.1)
                raise AssertionError(f"the server ended: {self.log.read_text()}")
        raise AssertionError(f"the server did not answer within a minute: {self.log.read_text()}")

    def stop(self) -> None:
        """End it as Ctrl-C would."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
                raise AssertionError("the server did not end within 20 s of Ctrl-C") from None
            finally:
                self._process = None


@pytest.fixture
def server(home: Path, tmp_path: Path) -> Iterator[Server]:
    """A fresh server that nobody has asked anything yet; its worker ends with the test."""
    serving = Server(home, tmp_path / "server.log")
    serving.start()
    yield serving
    executor = LocalExecutor(Store(home / "runs"))
    worker = executor.worker_info()
    serving.stop()
    if worker is not None:
        with suppress(ProcessLookupError):
            os.kill(worker.pid, signal.SIGTERM)


@pytest.fixture
def tab(chromium: Browser) -> Iterator[Callable[..., Page]]:
    """Open tabs, each a session of its own; the test fails if one shows a dialog of the page's own making."""
    contexts = []
    surprises: list[str] = []

    def open_tab(address: str, scheme: str = "light") -> Page:
        context = chromium.new_context(viewport={"width": 1280, "height": 1000}, color_scheme=scheme)  # type: ignore[arg-type]
        contexts.append(context)
        page = context.new_page()
        page.on("dialog", lambda dialog: (surprises.append(dialog.message), dialog.dismiss()))
        page.on("pageerror", lambda error: surprises.append(str(error)))
        page.goto(address, wait_until="load", timeout=60_000)
        return page

    yield open_tab
    for context in contexts:
        context.close()
    assert not surprises


@pytest.fixture
def settled() -> Callable[[Page], Page]:
    """Wait until Streamlit says that a page's script has run; returns the page."""

    def wait(page: Page) -> Page:
        page.wait_for_selector("[data-testid=stApp]", timeout=60_000)
        page.wait_for_function(
            "() => document.querySelector('[data-testid=stApp]').dataset.testScriptState === 'notRunning'",
            timeout=60_000,
        )
        return page

    return wait


@pytest.fixture
def make_finished() -> Callable[[Store, RunConfig], Run]:
    """A run that ended, as its writer leaves it, without training."""

    def make(store: Store, config: RunConfig) -> Run:
        run = store.create(config)
        with Writer(run) as writer:
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
