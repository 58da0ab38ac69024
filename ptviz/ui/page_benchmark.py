"""Seconds of each page over many runs: ``ptviz bench --pages`` runs this in a process of its own.

A tiny run is trained and its folder copied under other configs, in a folder that is removed afterwards. Pages are run
as Streamlit runs them, without a browser. No worker is started.
"""

from __future__ import annotations

import json
import logging
import os
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from ptviz import paths

REPEATS = 20
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


def measure_pages(index: Path, count: int) -> list[dict[str, object]]:
    """Return the seconds of each page: the first visit; median and 95th percentile of later ones; processor time.

    Raises:
        RuntimeError: if a page shows an exception.
    """
    from streamlit.testing.v1 import AppTest

    from ptviz.executors.local import LocalExecutor
    from ptviz.ui import backend

    class Alone(LocalExecutor):
        """An executor without a worker, whose start would be measured too."""

        def ensure_worker(self) -> None:
            """Start nothing."""

    backend.LocalExecutor = Alone  # type: ignore[attr-defined]
    fill_store(count)
    found: list[dict[str, object]] = []
    for page, address in PAGE_PARAMETERS.items():
        app = AppTest.from_file(str(index), default_timeout=120).run()
        if page != "home.py":
            app.switch_page(page)
        for name, value in address.items():
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
        row = {"page": page, "first_seconds": times[0][0], "seconds": again, "p95_seconds": late, "cpu_seconds": cpu}
        found.append(row)
    return found


def run_page_benchmark(index: Path, count: int) -> list[dict[str, object]]:
    """Measure the pages of the app whose ``pages/index.py`` is ``index``, over ``count`` runs in a temporary folder.

    Call it in a process of its own: it sets ``PTVIZ_HOME`` and silences the log.

    Raises:
        RuntimeError: if a page shows an exception.
    """
    logging.disable(logging.WARNING)  # Streamlit warns of every widget that has no browser.
    with tempfile.TemporaryDirectory(prefix="ptviz-pages-") as folder:
        os.environ["PTVIZ_HOME"] = folder
        return measure_pages(index, count)
