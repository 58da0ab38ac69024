"""What a run on a Ray cluster costs, in seconds and bytes against a local run, and the streams a collector takes."""

from __future__ import annotations

import json
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ptviz.engine.model_cache import ModelCache
from ptviz.engine.train_job import train_run
from ptviz.executors.ray import RayExecutor
from ptviz.executors.run_mirror import Change
from ptviz.executors.run_stream import INTERVAL, Reply
from ptviz.runs.config import RunConfig
from ptviz.runs.placement import ClusterResources, place_on_cluster
from ptviz.runs.run import Run
from ptviz.runs.store import Store
from ptviz.training.config import TrainConfig

import ray  # isort: skip  # After the executor, which turns its usage reports off.

_EVENT = {"event": "step", "stage": 0, "rate": 0.1, "norm": 1.5, "load": []}
_HANGS = 600.0
_POLL = 0.002


@dataclass(frozen=True)
class RunCost:
    """Medians over runs on a warm process: seconds in all and to the first point, and what a run on the cluster sends.

    ``local_seconds`` are those of the same training in this process; ``overhead`` is the share that the cluster adds.
    """

    runs: int
    steps: int
    local_seconds: float
    cluster_seconds: float
    overhead: float
    local_first_point: float
    cluster_first_point: float
    bytes: float
    messages: float


@dataclass(frozen=True)
class StreamLoad:
    """Synthetic streams into one collector: ``events_per_second`` written, of ``wanted_per_second`` offered.

    ``lag`` is the longest time in seconds from sending changes to the reply that they are written, ``median_lag`` the
    usual one.
    """

    streams: int
    seconds: float
    wanted_per_second: float
    events_per_second: float
    median_lag: float
    lag: float
    megabytes_per_second: float


def measure_run_cost(executor: RayExecutor, config: RunConfig, runs: int = 5) -> RunCost:
    """Train the same run here and on the cluster, alternately, after one of each that is not counted."""
    models = ModelCache()
    here: list[tuple[float, float]] = []
    there: list[tuple[float, float]] = []
    sent: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="ptviz-bench-") as folder:
        local = Store(Path(folder) / "runs")
        for _ in range(runs + 1):
            here.append(_time_run(lambda: local.create(config), lambda run: train_run(run, models)))
            run, seconds = _time_cluster(executor, config)
            there.append(seconds)
            sent.append(_wait(lambda run=run: ray.get(executor.collector.sent_by.remote(run.id))))  # type: ignore[misc]
            executor.store.delete(run.id)
    mine, theirs = here[1:], there[1:]
    local_seconds, cluster_seconds = (statistics.median(total for total, _ in one) for one in (mine, theirs))
    return RunCost(
        runs=runs,
        steps=config.training.steps,
        local_seconds=local_seconds,
        cluster_seconds=cluster_seconds,
        overhead=cluster_seconds / local_seconds - 1,
        local_first_point=statistics.median(first for _, first in mine),
        cluster_first_point=statistics.median(first for _, first in theirs),
        bytes=statistics.median(one["bytes"] for one in sent[1:]),
        messages=statistics.median(one["messages"] for one in sent[1:]),
    )


def _time_run(create: Callable[[], Run], train: Callable[[Run], None]) -> tuple[float, float]:
    """Return the seconds of a run and those to its first point, from the moment it is created."""
    began = time.perf_counter()
    run, first = create(), [0.0]
    watching = threading.Event()

    def watch() -> None:
        while not watching.is_set() and not first[0]:
            if len(run.history()):
                first[0] = time.perf_counter() - began
            time.sleep(_POLL)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    train(run)
    total = time.perf_counter() - began
    watching.set()
    watcher.join()
    return total, first[0]


def _time_cluster(executor: RayExecutor, config: RunConfig) -> tuple[Run, tuple[float, float]]:
    found: list[Run] = []

    def create() -> Run:
        found.append(executor.submit(config))
        return found[0]

    def wait(run: Run) -> None:
        _wait(lambda: run.status().state in ("finished", "failed", "stopped"))

    seconds = _time_run(create, wait)
    if found[0].status().state != "finished":
        raise RuntimeError(f"run {found[0].id} {found[0].status().state}: {found[0].status().reason}")
    return found[0], seconds


def _wait(what: Callable[[], Any]) -> Any:
    until = time.monotonic() + _HANGS
    while not (found := what()):
        if time.monotonic() > until:
            raise RuntimeError(f"nothing came within {_HANGS:.0f} s")
        time.sleep(_POLL)
    return found


class _Streams:
    """Many runs at once that train nothing: each sends its events as a node does."""

    def __init__(self, collector: Any, runs: list[str]) -> None:
        self.collector, self.runs = collector, runs
        self.attempts = {id: ray.get(collector.begin.remote(id, "")).packed.attempt for id in runs}

    def send(self, seconds: float, events_per_second: float) -> tuple[int, int, list[float]]:
        """Send for so many seconds; return events and bytes written, and the lag of each message."""
        lags = list[float]()
        offsets, steps = dict.fromkeys(self.runs, 0), dict.fromkeys(self.runs, 0)
        pending: list[tuple[float, Any]] = []
        began = time.monotonic()
        turn = 0
        while (now := time.monotonic()) - began < seconds:
            due = began + turn * INTERVAL
            if now < due:
                time.sleep(min(due - now, 0.01))
            else:
                turn += 1
                for id in self.runs:
                    target = round((now - began + INTERVAL) * events_per_second)
                    data = b"".join(_event_line(step) for step in range(steps[id], target))
                    if not data:
                        continue
                    change = Change("events.jsonl", data, offsets[id])
                    reply = self.collector.receive.remote(id, self.attempts[id], [change])
                    pending.append((time.monotonic(), reply))
                    offsets[id] += len(data)
                    steps[id] = target
            pending = self._take(pending, lags, block=len(pending) > 4 * len(self.runs))
        events = sum(steps.values())
        while pending:
            pending = self._take(pending, lags, block=True)
        return events, sum(offsets.values()), lags

    def _take(self, pending: list[Any], lags: list[float], block: bool) -> list[Any]:
        references = [one[1] for one in pending]
        if not references:
            return pending
        done, _ = ray.wait(references, num_returns=len(references), timeout=None if block else 0)
        ready = set(done)
        for when, reference in pending:
            if reference in ready:
                reply: Reply = ray.get(reference)
                if reply.stale:
                    raise RuntimeError("a synthetic run was taken over")
                lags.append(time.monotonic() - when)
        return [one for one in pending if one[1] not in ready]


_StreamsActor: Any = ray.remote(num_cpus=0)(_Streams)


def _event_line(step: int) -> bytes:
    return json.dumps({**_EVENT, "step": step, "loss": 1 / (step + 1), "seconds": step / 10}).encode() + b"\n"


def measure_streams(
    executor: RayExecutor, streams: int = 200, seconds: float = 20.0, events_per_second: float = 10.0, senders: int = 4
) -> StreamLoad:
    """Send synthetic events of many runs at once into the collector of the executor's store."""
    runs = [_idle_run(executor.store).id for _ in range(streams)]
    try:
        parts = [runs[index::senders] for index in range(senders)]
        actors = [_StreamsActor.remote(executor.collector, part) for part in parts if part]
        began = time.monotonic()
        found = ray.get([actor.send.remote(seconds, events_per_second) for actor in actors])
        took = time.monotonic() - began
        for actor in actors:
            ray.kill(actor)
    finally:
        for id in runs:
            ray.get(executor.collector.discard.remote(id))
            with suppress(OSError):
                executor.store.delete(id)
    lags = sorted(lag for _, _, own in found for lag in own)
    events, size = sum(one[0] for one in found), sum(one[1] for one in found)
    return StreamLoad(
        streams=streams,
        seconds=took,
        wanted_per_second=streams * events_per_second,
        events_per_second=events / took,
        median_lag=statistics.median(lags),
        lag=lags[-1],
        megabytes_per_second=size / took / 1e6,
    )


def _idle_run(store: Store) -> Run:
    """Create a run that only the benchmark begins."""
    training = replace(TrainConfig(), steps=100_000)
    run = store.create(RunConfig("tiny-encoder", "trec6", training=training, name="synthetic"), queued=True)
    place_on_cluster(run.path, ClusterResources())
    return run
