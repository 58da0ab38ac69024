"""Stored runs, made by the writer of runs, and an executor that starts no process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache as cached
from pathlib import Path
from typing import Any

import pytest
import torch
from streamlit.components.v2 import manifest_scanner
from streamlit.testing.v1 import AppTest

from ptviz.analysis import projection
from ptviz.engine.model_cache import ModelCache
from ptviz.engine.train_job import execute_run
from ptviz.executors.local import LocalExecutor
from ptviz.runs import Run, RunConfig, RunWriter, Store, StoreError
from ptviz.training import TrainConfig
from ptviz.training.events import Baselines, Evaluated, Finished, Snapshot, StageStarted, StepCompleted
from ptviz.ui import backend
from ptviz.worker.handlers import HandlerContext, answer_request
from ptviz.worker.projection_process import run_job
from ptviz.worker.projection_queue import projection_folder
from tests.app_server import HANGS_SECONDS

# Every test app reads the metadata of all installed packages, .2 s each; they stay the same.
manifest_scanner.scan_component_manifests = cached(manifest_scanner.scan_component_manifests)

INDEX = Path(__file__).parents[2] / "pages" / "index.py"
HOSTILE = "<img src=x onerror=alert(1)> **bold** :red[no] $x^2$ [link](javascript:alert(1)) `code`"


class QuietExecutor(LocalExecutor):
    """The real executor without a worker process."""

    def ensure_worker(self) -> None:
        """No process in these tests."""

    def ask(self, kind: str, run: str = "", *, timeout: float = 120, **question: Any) -> dict[str, Any]:
        """Answer "predict" with two classes, one of them with a hostile name; anything else as the real one."""
        if kind != "predict":
            return super().ask(kind, run, **question)
        self.store.get(run)
        answer = {"classes": ["good", HOSTILE], "with": [[0.9, 0.1]], "without": [[0.4, 0.6]]}
        step = question.get("step")
        return {**answer, "stage": question.get("stage") or 0, "step": 10 if step is None else step}


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    backend.clear_caches()
    monkeypatch.setattr(backend, "LocalExecutor", QuietExecutor)
    yield
    backend.clear_caches()


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """The folder of what the worker has computed."""
    return tmp_path / "cache"


@pytest.fixture
def answered(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    """Requests to the worker, answered in this process; snippets find the same backbone loaded."""
    monkeypatch.setenv("PTVIZ_CACHE", str(cache))
    monkeypatch.setattr(projection, "_TSNE_ITERATIONS", 250)
    models, contexts = ModelCache(), []
    monkeypatch.setattr("ptviz.worker.handlers.ModelCache", lambda: models)

    def ask(self: LocalExecutor, kind: str, run: str = "", *, timeout: float = 120, **question: Any) -> dict[str, Any]:
        contexts or contexts.append(HandlerContext(self.store, models))
        answer = answer_request(contexts[0], kind, {"run": run, **question})
        if "error" in answer:
            raise StoreError(answer["error"])
        if kind == "map":
            run_job(projection_folder(question["name"]))
        return answer

    monkeypatch.setattr(QuietExecutor, "ask", ask)


@pytest.fixture
def hostile() -> str:
    """Return a name that is dangerous as HTML, Markdown or plotly's pseudo-HTML."""
    return HOSTILE


@pytest.fixture
def store(home: Path) -> Store:
    """The store that the pages read in this test."""
    return backend.get_store()


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("table") / "texts.csv"
    lines = [f"{'good' if i % 2 else 'bad'} <b>thing</b> {i},{'yes' if i % 2 else 'no'}" for i in range(60)]
    path.write_text("\n".join(["text,label", *lines]))
    return path


@pytest.fixture
def trained(store: Store, table: Path) -> Callable[..., Run]:
    """A real run of four steps on the smallest backbone."""

    def make(method: str = "prompt-tuning", **values: Any) -> Run:
        training = TrainConfig(steps=4, snapshot_every=2, evaluate_every=2, batch=4)
        run = store.create(RunConfig("tiny-encoder", str(table), method, values, training, text="text", label="label"))
        execute_run(run.path)
        return run

    return make


@pytest.fixture
def page() -> Callable[..., AppTest]:
    """Open a page of the app, as the first request of a session: ``page("train/watch.py", run=...)``.

    The reader confirms the paths that the address names, unless the test looks at that.
    """

    def open_page(path: str = "home.py", /, confirm: bool = True, **address: str) -> AppTest:
        at = AppTest.from_file(str(INDEX), default_timeout=HANGS_SECONDS)
        at.run()
        if path != "home.py":
            at.switch_page(path)
        for name, value in address.items():
            at.query_params[name] = value
        at.run()
        while asking := [button for button in at.button if confirm and button.label == "Open it"]:
            asking[0].click().run()
        return at

    return open_page


@pytest.fixture
def make_run(store: Store) -> Iterator[Callable[..., Run]]:
    """Make a run in a state: "queued", "running" (held by this test), "stopped", "failed" or "finished"."""
    with ExitStack() as writers:

        def make(
            state: str = "finished",
            made: int = 20,
            steps: int = 20,
            name: str = "",
            lr: float | None = None,
            **config: Any,
        ) -> Run:
            training = TrainConfig(steps=steps, lr=lr, evaluate_every=5, snapshot_every=5)
            run = store.create(RunConfig(name=name, training=training, **config), queued=state == "queued")
            if state == "queued":
                return run
            with ExitStack() as own:
                writer = (writers if state == "running" else own).enter_context(RunWriter(run))
                writer.begin(None)
                _write_events(writer, made, steps)
                if state == "finished":
                    writer.write_event(Finished(0.8, 0.75, 0.6, 0.26, 0.38, made, made, 2.0, 10.0))
                elif state == "stopped":
                    writer.end("stopped", "stopped by you")
                elif state == "failed":
                    writer.end("failed", "the loss became NaN; try a smaller learning rate")
            return run

        yield make


def _write_events(writer: RunWriter, made: int, steps: int) -> None:
    state = {"P": torch.zeros(2, 4)}
    writer.write_event(StageStarted(0, "tune", steps))
    for step in range(made + 1):
        writer.write_event(StepCompleted(0, step, 2.0 - step / steps, 0.05, 1.0, step / 10))
        if step == 0:
            writer.write_event(Baselines(0.26, 0.38, 1.7))
        if step % 5 == 0:
            writer.write_event(Evaluated(0, step, 1.5, 0.3 + 0.5 * step / steps, True, step / 10))
            writer.write_event(Snapshot(0, step, state, {}, {}))
