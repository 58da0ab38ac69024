"""The store that `ptviz bench --pages` measures on: made of real files, and found by a race."""

from __future__ import annotations

from ptviz.methods import REGISTRY
from ptviz.runs import RunConfig, race
from ptviz.training import TrainConfig
from ptviz.ui import pace


def test_the_copies_are_finished_runs_that_join_a_race(store):
    pace.fill(4)
    assert [summary.status.state for summary in store.list()] == ["finished"] * 4
    wanted = race.lineup([*REGISTRY][:3], [0], RunConfig(training=TrainConfig(steps=pace._STEPS)))
    found = race.entries(store, wanted)
    assert {entry.state for entry in found} == {"finished"}
    assert len(race.outcomes(store, found)) == 3


def test_every_page_is_measured():
    from tests.pages.conftest import INDEX

    pages = INDEX.parent
    ours = {path.relative_to(pages).as_posix() for path in pages.rglob("*.py")} - {"index.py"}
    assert ours == set(pace.ADDRESSES)
