"""Seconds of each page over many runs: ``ptviz bench --pages`` runs this in a process of its own.

A tiny run is trained and its folder copied under other configs, in a folder that is removed afterwards. Pages are run
as Streamlit runs them, without a browser. No worker is started, unless a run is to be trained at the same time.
"""

from __future__ import annotations

import json
import logging
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ptviz import paths

if TYPE_CHECKING:
    from ptviz.runs import RunConfig

REPEATS = 20
_POLL_SECONDS = 0.1
_RUN_STEPS = 200
_TABLE_ROWS = [f"who wrote book number {i},person\nwhere is town number {i},place" for i in range(40)]
PAGE_PARAMETERS = {
    "home.py": {}, "train/new_run.py": {}, "train/runs.py": {}, "train/watch.py": {},
    "compare/compare_methods.py": {"methods": "all", "seeds": "20", "steps": str(_RUN_STEPS)},
    "compare/transfer.py": {}, "compare/sweep.py": {}, "compare/peft_benchmark.py": {},
    "learn/survey.py": {}, "learn/method.py": {},
    "learn/findings.py": {}, "learn/lessons.py": {}, "learn/teaching.py": {}, "learn/glossary.py": {},
    "look/embeddings.py": {}, "look/decompositions.py": {}, "look/routing.py": {}, "look/attention.py": {},
    "open/checkpoint.py": {},
}  # fmt: skip
"""The pages with their query parameters; the comparison of methods finds all runs that it asks for."""


def fill_store(count: int) -> None:
    """Write ``count`` finished runs to the store: one trained, the others copies under the configs of a comparison."""
    import shutil

    from ptviz.engine.train_job import execute_run
    from ptviz.experiments.comparison import make_configs
    from ptviz.methods import list_methods
    from ptviz.runs import RunConfig, Store
    from ptviz.runs.store import encode_config
    from ptviz.training import TrainConfig, default_learning_rate

    store, table = Store(), paths.data_dir() / "rows.csv"
    table.write_text("text,label\n" + "\n".join(_TABLE_ROWS) + "\n")
    training = TrainConfig(steps=_RUN_STEPS, snapshot_every=20, evaluate_every=10, batch=4)
    run = store.create(RunConfig("tiny-encoder", str(table), training=training, text="text", label="label"))
    execute_run(run.path)
    environment, status = run.environment(), run.status()
    seeds = range(-(-count // len(list_methods())))
    others = make_configs([*list_methods()], seeds, RunConfig(training=TrainConfig(steps=_RUN_STEPS)))
    for number, config in enumerate(others[: count - 1], start=1):
        folder = store.root / f"copy-{number}"
        shutil.copytree(run.path, folder)
        (folder / "config.json").write_bytes(encode_config(config))
        facts = environment | {"lr": default_learning_rate(config.method, config.backbone)}
        (folder / "environment.json").write_text(json.dumps(facts))
        (folder / "status.json").write_bytes(replace(status, created=status.created - number).to_bytes())


@contextmanager
def train_beside(config: RunConfig) -> Iterator[None]:
    """Let a worker train a run inside the block, from its first update on; run and worker end with the block.

    Raises:
        RuntimeError: if the run ends before its first update.
    """
    from ptviz.executors.local import LocalExecutor
    from ptviz.runs import ACTIVE_STATES, Store

    executor = LocalExecutor(Store())
    run = executor.submit(config)
    try:
        while not (status := run.status()).step:
            if status.state not in ACTIVE_STATES:
                raise RuntimeError(f"the run beside the pages is {status.state}: {status.reason}")
            time.sleep(_POLL_SECONDS)
        yield
    finally:
        executor.request_shutdown(at_once=True)
        while executor.worker_info() is not None:
            time.sleep(_POLL_SECONDS)


def measure_pages(index: Path, count: int, beside: RunConfig | None = None) -> list[dict[str, object]]:
    """Return the seconds of each page: the first visit; median and 95th percentile of later ones; processor time.

    ``beside`` is trained at the same time.

    Raises:
        RuntimeError: if a page shows an exception, or the run beside does not begin.
    """
    from ptviz.executors.local import LocalExecutor
    from ptviz.ui import backend

    class Alone(LocalExecutor):
        """An executor without a worker, whose start would be measured too."""

        def ensure_worker(self) -> None:
            """Start nothing."""

    backend.LocalExecutor = Alone  # type: ignore[attr-defined]
    fill_store(count)
    with train_beside(beside) if beside is not None else nullcontext():
        return [_measure_page(index, page, parameters) for page, parameters in PAGE_PARAMETERS.items()]


def _measure_page(index: Path, page: str, parameters: dict[str, str]) -> dict[str, object]:
    from streamlit.testing.v1 import AppTest

    app = AppTest.from_file(str(index), default_timeout=120).run()
    if page != "home.py":
        app.switch_page(page)
    for name, value in parameters.items():
        app.query_params[name] = value
    times: list[tuple[float, float]] = []
    for _ in range(1 + REPEATS):
        wall, busy = time.perf_counter(), time.process_time()
        app.run()
        times.append((time.perf_counter() - wall, time.process_time() - busy))
    if app.exception:
        raise RuntimeError(f"{page}: {app.exception[0].message}")
    again, cpu = (statistics.median(column) for column in zip(*times[1:], strict=True))
    late = statistics.quantiles((wall for wall, _ in times[1:]), n=20)[-1]
    return {"page": page, "first_seconds": times[0][0], "seconds": again, "p95_seconds": late, "cpu_seconds": cpu}


def run_page_benchmark(index: Path, count: int, training: bool = False) -> list[dict[str, object]]:
    """Measure the pages of the app whose ``pages/index.py`` is ``index``, over ``count`` runs in a temporary folder.

    With ``training``, a run on the default backbone is trained at the same time.

    Call it in a process of its own: it sets ``PTVIZ_HOME`` and silences the log.

    Raises:
        RuntimeError: if a page shows an exception, or the run beside does not begin.
    """
    from ptviz.runs import RunConfig
    from ptviz.training.config import MAX_STEPS, TrainConfig

    logging.disable(logging.WARNING)  # Streamlit warns of every widget that has no browser.
    with tempfile.TemporaryDirectory(prefix="ptviz-pages-") as folder:
        os.environ["PTVIZ_HOME"] = folder
        return measure_pages(index, count, RunConfig(training=TrainConfig(steps=MAX_STEPS)) if training else None)
