"""The store that `ptviz bench --pages` measures on: made of real files, and found by the comparison."""

from __future__ import annotations

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


def test_every_page_is_measured():
    from tests.pages.conftest import INDEX

    pages = INDEX.parent
    ours = {path.relative_to(pages).as_posix() for path in pages.rglob("*.py")} - {"index.py"}
    assert ours == set(page_benchmark.PAGE_PARAMETERS)
