"""What a run on a Ray cluster costs, in seconds and bytes against a local run, and the streams a collector takes."""

from __future__ import annotations

import json
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ptviz.engine.model_cache import ModelCache
from ptviz.engine.train_job import train_run
from ptviz.executors.ray import RayExecutor
from ptviz.executors.ray_node import threads_of
from ptviz.executors.run_mirror import Change
from ptviz.executors.run_stream import Reply, RunStream
from ptviz.runs.config import RunConfig
from ptviz.runs.placement import ClusterResources, place_on_cluster
from ptviz.runs.run import Run
from ptviz.runs.store import Store
from ptviz.training.config import TrainConfig

import ray  # isort: skip  # After the executor, which turns its usage reports off.

_EVENT = {"event": "step", "stage": 0, "rate": 0.1, "norm": 1.5, "load": []}
_HANGS = 600.0
_POLL = 0.002
_STREAM_PAUSE = 0.02
"""Seconds between two looks of a sender at its synthetic runs."""


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
    """Train the same run here and on the cluster, alternately, after one of each that is not counted.

    Both use as many threads as the cluster gives a run.
    """
    models = ModelCache()
    torch.set_num_threads(threads_of(executor.resources.cpus))
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


class _SyntheticRun:
    """A run that trains nothing: its events come at a fixed rate, and a stream sends them as a node does."""

    def __init__(self, collector: Any, id: str, events_per_second: float, lags: list[float]) -> None:
        self.collector, self.id, self.events_per_second, self.lags = collector, id, events_per_second, lags
        self.attempt = ray.get(collector.begin.remote(id, "")).packed.attempt
        self.step = self.offset = 0
        self.began = 0.0
        self.stream = RunStream(self, self._send, self._wait)

    def changes(self) -> list[Change]:
        """Return the events since the last call, as one change."""
        due = int((time.monotonic() - self.began) * self.events_per_second)
        data = b"".join(_event_line(step) for step in range(self.step, due))
        change = Change("events.jsonl", data, self.offset)
        self.step, self.offset = due, self.offset + len(data)
        return [change] if data else []

    def _send(self, changes: Sequence[Change]) -> tuple[float, Any]:
        return time.monotonic(), self.collector.receive.remote(self.id, self.attempt, changes)

    def _wait(self, handle: tuple[float, Any], block: bool) -> Reply | None:
        sent, reference = handle
        if not block and not ray.wait([reference], timeout=0)[0]:
            return None
        reply: Reply = ray.get(reference)
        self.lags.append(time.monotonic() - sent)
        return reply


class _Streams:
    """Many synthetic runs at once in one process."""

    def __init__(self, collector: Any, runs: list[str], events_per_second: float) -> None:
        self.lags = list[float]()
        self.runs = [_SyntheticRun(collector, id, events_per_second, self.lags) for id in runs]

    def send(self, seconds: float) -> tuple[int, int, list[float]]:
        """Send for so many seconds, and wait for all replies; return events and bytes written, and all lags."""
        began = time.monotonic()
        until = began + seconds
        for run in self.runs:
            run.began = began
        while time.monotonic() < until:
            for run in self.runs:
                run.stream.send_if_due()
            time.sleep(_STREAM_PAUSE)
        for run in self.runs:
            run.stream.finish()
        return sum(run.step for run in self.runs), sum(run.offset for run in self.runs), self.lags


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
        actors = [_StreamsActor.remote(executor.collector, part, events_per_second) for part in parts if part]
        ray.get([actor.__ray_ready__.remote() for actor in actors])
        began = time.monotonic()
        found = ray.get([actor.send.remote(seconds) for actor in actors])
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
