"""ASHA on one machine: the decisions of Ray Tune's scheduler, and only runs on one task and backbone compared."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from types import SimpleNamespace

import pytest

from ptviz.experiments.early_stopping import EarlyStopper, Halving, was_stopped_early
from ptviz.experiments.planned_runs import PlannedRun
from ptviz.experiments.sweep import STOPPED_EARLY, EarlyStopping
from ptviz.runs import RunConfig, Store
from ptviz.runs.writer import RunWriter
from ptviz.training import Evaluated, StageStarted, TrainConfig

STOPPING = EarlyStopping(grace=10, reduction=2)


@pytest.mark.parametrize("seed", range(5))
def test_decisions_are_those_of_ray_tune(seed: int):
    schedulers = pytest.importorskip("ray.tune.schedulers", reason="un-skip with: pip install 'ptviz[ray]'")
    drawn, steps = random.Random(seed), 200
    theirs = schedulers.ASHAScheduler(
        time_attr="at", metric="score", mode="max", max_t=10_000, grace_period=10, reduction_factor=2
    )
    trials = {f"run {i}": SimpleNamespace(trial_id=f"run {i}") for i in range(12)}
    for trial in trials.values():
        theirs.on_trial_add(None, trial)
    ours, at, stopped = Halving(STOPPING, 10_001), dict.fromkeys(trials, 0), list[str]()
    while going := [run for run in trials if run not in stopped and at[run] < steps]:
        run = drawn.choice(going)
        at[run] += drawn.choice((5, 10, 30))
        score = round(drawn.random(), 2)
        expected = theirs.on_trial_result(None, trials[run], {"at": at[run], "score": score})
        assert ours.falls_behind(run, at[run], score) == (expected == "STOP")
        if expected == "STOP":
            stopped.append(run)
    assert stopped


class Executor:
    """Stops nothing, and writes down what it was asked to stop."""

    def __init__(self, store: Store) -> None:
        self.store, self.stopped = store, dict[str, str]()

    def stop(self, id: str, reason: str) -> None:
        self.stopped[id] = reason


class Training:
    """A run that is written as far as a test wants."""

    def __init__(self, store: Store, task: str, steps: int) -> None:
        self.config = RunConfig("tiny-encoder", task, training=TrainConfig(steps=steps, evaluate_every=10))
        self.run = store.create(self.config, queued=True)
        self.writer, self.count = RunWriter(self.run), 0
        self.writer.begin(None)
        self.writer.write_event(StageStarted(0, "tune", steps))

    @property
    def entry(self) -> PlannedRun:
        return PlannedRun(self.config, self.run.id, self.run.status().state)

    def evaluate(self, *scores: float) -> Training:
        for score in scores:
            self.count += 1
            self.writer.write_event(Evaluated(0, 10 * self.count, 0.5, score, True, 1.0))
        return self

    def end(self, state: str, reason: str = "") -> Training:
        self.writer.end(state, reason)
        self.writer.__exit__(None, None, None)
        return self


@pytest.fixture
def begin(store: Store) -> Iterator[Callable[..., Training]]:
    with ExitStack() as stack:

        def start(task: str = "trec6", steps: int = 100) -> Training:
            made = Training(store, task, steps)
            stack.push(made.writer.__exit__)
            return made

        yield start


def test_only_runs_on_one_task_are_compared(store: Store, begin: Callable[..., Training]):
    good, bad, other = begin().evaluate(0.9), begin().evaluate(0.5), begin("emotion").evaluate(0.1)
    entries, executor = [good.entry, bad.entry, other.entry], Executor(store)
    stopper = EarlyStopper(executor, STOPPING, entries)
    assert stopper.stop_lagging_runs(entries) == [bad.run.id]
    assert executor.stopped == {bad.run.id: STOPPED_EARLY}
    assert stopper.stop_lagging_runs(entries) == []
    good.evaluate(0.2)  # Its best score counts, not the newest.
    assert stopper.stop_lagging_runs(entries) == []


def test_the_last_evaluation_stops_no_run(store: Store, begin: Callable[..., Training]):
    good, short = begin().evaluate(0.9), begin(steps=10).evaluate(0.1)
    entries = [good.entry, short.entry]
    assert EarlyStopper(Executor(store), STOPPING, entries).stop_lagging_runs(entries) == []


def test_runs_that_have_ended_are_compared_with(store: Store, begin: Callable[..., Training]):
    ended = begin().evaluate(*[0.9] * 9).end("stopped", f"{STOPPED_EARLY} at step 90")
    late, queued = begin().evaluate(0.3), PlannedRun(ended.config, None, "missing")
    entries, executor = [ended.entry, late.entry, queued], Executor(store)
    assert EarlyStopper(executor, STOPPING, entries).stop_lagging_runs(entries) == [late.run.id]
    assert [was_stopped_early(store, one) for one in entries] == [True, False, False]
