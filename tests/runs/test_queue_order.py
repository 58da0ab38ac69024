"""Whose turn it is: owners take turns, and within one the oldest run is first."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

from ptviz.runs.annotations import Annotations
from ptviz.runs.config import RunConfig
from ptviz.runs.queue_order import fair_order
from ptviz.runs.status import Status
from ptviz.runs.store import RunSummary, Store
from ptviz.training import TrainConfig

_numbers = itertools.count()


def summary(owner: str, queued: float, state: str = "queued", seconds: float = 0.0, updated: float = 0.0) -> RunSummary:
    status = Status(state, queued=queued, seconds=seconds, updated=updated)  # type: ignore[arg-type]
    id = f"{owner or 'teacher'}-{queued:g}-{next(_numbers)}"
    return RunSummary(id, RunConfig(), status, annotations=Annotations(owner=owner))


def order(*summaries: RunSummary) -> list[tuple[str, float]]:
    return [(one.annotations.owner, one.status.queued) for one in fair_order(summaries)]


def test_one_owner_is_served_oldest_first() -> None:
    assert order(summary("", 3), summary("", 1), summary("", 2)) == [("", 1), ("", 2), ("", 3)]


def test_many_runs_of_one_keep_nobody_from_her_first() -> None:
    many = [summary("a", time) for time in range(1, 6)]
    found = order(*many, summary("b", 10), summary("c", 11))
    assert found[:4] == [("a", 1), ("b", 10), ("c", 11), ("a", 2)]
    assert found[4:] == [("a", 3), ("a", 4), ("a", 5)]


def test_who_was_trained_longest_ago_is_next_and_who_trains_now_is_last() -> None:
    past = [summary("a", 0, "finished", 5.0, 100), summary("b", 0, "stopped", 5.0, 50), summary("c", 0, "running")]
    waiting = [summary("c", 1), summary("a", 2), summary("b", 3), summary("d", 4)]
    assert order(*past, *waiting) == [("d", 4), ("b", 3), ("a", 2), ("c", 1)]


def test_a_run_stopped_before_it_began_was_no_turn() -> None:
    assert order(summary("a", 0, "stopped", 0.0, 100), summary("a", 1), summary("b", 2)) == [("a", 1), ("b", 2)]


def test_stopping_and_resuming_wins_no_place() -> None:
    resumed = summary("a", 1, "queued", seconds=9.0, updated=100)
    assert order(resumed, summary("b", 2), summary("b", 3)) == [("b", 2), ("a", 1), ("b", 3)]


def test_the_store_queues_by_turns(tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    config = RunConfig("fake", "fake", training=TrainConfig(steps=3))
    runs = []
    for owner in ("aa", "aa", "bb"):
        store.owner = owner
        runs.append(store.create(replace(config, name=owner), queued=True).id)
    assert [one.id for one in Store(store.root).queued_runs()] == [runs[0], runs[2], runs[1]]
