"""Places in the queue, and how long each run waits."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest

from ptviz.classroom import queue_places
from ptviz.classroom.visitor_store import VisitorStore
from ptviz.engine.time_estimate import TimeEstimate
from ptviz.methods.hyperparameters import STORED_KEY
from ptviz.runs import RunConfig, RunWriter, Store


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_places, "_known", {})
    monkeypatch.setattr(queue_places, "FRESH_SECONDS", -1.0)


def estimate_by_steps(store: Store, configs: list[RunConfig]) -> list[TimeEstimate]:
    return [TimeEstimate(float(config.training.steps), "") for config in configs]


def test_waits_add_up_in_the_order_of_turns(
    anna: VisitorStore,
    boris: VisitorStore,
    whole: Store,
    small: Callable[..., RunConfig],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ptviz.engine.time_estimate.estimate_each", estimate_by_steps)
    now, first = boris.create(small(steps=90), queued=True), anna.create(small(steps=10), queued=True)
    second, his = anna.create(small(steps=20), queued=True), boris.create(small(steps=30), queued=True)
    with RunWriter(now) as writer:
        writer.begin(None)
        turns = queue_places.queue_turns(whole)
        left = 90.0 - now.status().seconds
        writer.end("stopped", "")
    assert [id for id, _ in sorted(turns.items(), key=lambda item: item[1].place)] == [first.id, his.id, second.id]
    assert [(turns[run.id].place, turns[run.id].of) for run in (first, his, second)] == [(1, 3), (2, 3), (3, 3)]
    waits = [turns[run.id].seconds for run in (first, his, second)]
    assert waits == pytest.approx([left, left + 10, left + 40], abs=1)


def test_behind_a_run_of_unknown_length_nobody_knows(
    anna: VisitorStore, whole: Store, small: Callable[..., RunConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "ptviz.engine.time_estimate.estimate_each",
        lambda store, configs: [TimeEstimate(None, "") for _ in configs],
    )
    runs = [anna.create(small(), queued=True) for _ in range(2)]
    turns = queue_places.queue_turns(whole)
    assert [turns[run.id].seconds for run in runs] == [0.0, None]


def test_many_pages_share_one_answer(
    anna: VisitorStore, whole: Store, small: Callable[..., RunConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_places, "FRESH_SECONDS", 3600.0)
    reads = []
    monkeypatch.setattr(queue_places, "_estimate", lambda store, runs: reads.append(len(runs)) or [1.0] * len(runs))
    run = anna.create(small(), queued=True)
    for _ in range(3):
        assert queue_places.queue_turns(whole)[run.id].place == 1
    assert reads == [1]
    monkeypatch.setattr(time, "monotonic", lambda: float("inf"))
    queue_places.queue_turns(whole)
    assert reads == [1, 0], "a run is estimated once"


def test_a_run_that_cannot_be_estimated_takes_no_other_runs_estimate(
    whole: Store, small: Callable[..., RunConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[int]] = []
    refused = {30}

    def estimate(store: Store, configs: list[RunConfig]) -> list[TimeEstimate]:
        asked.append([config.training.steps for config in configs])
        if refused & set(asked[-1]):
            raise ValueError("unknown hyperparameter")
        return estimate_by_steps(store, configs)

    monkeypatch.setattr("ptviz.engine.time_estimate.estimate_each", estimate)
    runs = [whole.create(small(steps=steps), queued=True) for steps in (10, 20, 30, 40)]

    def waits() -> list[float | None]:
        turns = queue_places.queue_turns(whole)
        return [turns[run.id].seconds for run in runs]

    assert waits() == [0.0, 10.0, 30.0, None], "only those behind it wait for an unknown time"
    asked.clear()
    refused.clear()
    assert waits() == [0.0, 10.0, 30.0, 60.0], "an unknown is tried again"
    assert asked == [[30]], "and what is known is remembered"


def test_a_queued_run_with_an_unknown_hyperparameter_leaves_the_estimates_of_others(whole: Store) -> None:
    runs = [whole.create(RunConfig(), queued=True) for _ in range(3)]
    path = runs[1].path / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, STORED_KEY: {"of-another-version": 1}}))
    turns = queue_places.queue_turns(whole)
    assert turns[runs[0].id].seconds == 0.0
    wait = turns[runs[1].id].seconds
    assert wait is not None
    assert wait > 0
    assert turns[runs[2].id].seconds is None
