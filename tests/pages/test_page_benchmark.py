"""The store that `ptviz bench --pages` measures on: made of real files, and found by the comparison."""

from __future__ import annotations

import pytest

from ptviz.executors.local import LocalExecutor
from ptviz.experiments import comparison, planned_runs, run_results
from ptviz.methods import REGISTRY
from ptviz.runs import RunConfig
from ptviz.training import TrainConfig
from ptviz.ui import page_benchmark


def test_the_copies_are_finished_runs_of_a_comparison(store):
    page_benchmark.fill_store(4)
    assert [summary.status.state for summary in store.list()] == ["finished"] * 4
    wanted = comparison.make_configs(
        [*REGISTRY][:3], [0], RunConfig(training=TrainConfig(steps=page_benchmark._RUN_STEPS))
    )
    found = planned_runs.find_runs(store, wanted)
    assert {entry.state for entry in found} == {"finished"}
    assert len(run_results.load_results(store, found)) == 3


def test_a_run_is_trained_beside_the_pages_and_nothing_is_left(store, table):
    config = RunConfig("tiny-encoder", str(table), training=TrainConfig(steps=1_000_000), text="text", label="label")
    with page_benchmark.train_beside(config):
        (summary,) = store.list()
        assert summary.status.state == "running"
        assert summary.status.step >= 1
    assert [summary.status.state for summary in store.list()] == ["stopped"]
    assert LocalExecutor(store).worker_info() is None


def test_a_run_that_cannot_be_trained_is_not_waited_for(store):
    with (
        pytest.raises(RuntimeError, match=r"is failed: .*no-such-backbone"),
        page_benchmark.train_beside(RunConfig("no-such-backbone")),
    ):
        pass
    assert LocalExecutor(store).worker_info() is None


def test_every_page_is_measured():
    from tests.pages.conftest import INDEX

    pages = INDEX.parent
    ours = {path.relative_to(pages).as_posix() for path in pages.rglob("*.py")} - {"index.py"}
    assert ours == set(page_benchmark.PAGE_PARAMETERS)
