"""The cost of the missing runs of a sweep, from finished runs of the same method and backbone where there are any."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from ptviz.experiments.planned_runs import PlannedRun
from ptviz.runs import ACTIVE_STATES
from ptviz.runs.config import RunConfig
from ptviz.runs.run_file_io import StoreError
from ptviz.runs.store import RunSummary, Store

_MEASURED_RUNS = 20
"""Finished runs of one method and backbone whose folders are measured: the newest."""
_EVENT_BYTES, _ROW_BYTES, _STATE_COPIES = 180, 120, 6
"""Bytes of an event and of a test row's prediction, and the states beside the snapshots: best, newest and optimiser."""


@dataclass(frozen=True)
class SweepCost:
    """Counts of runs by what happens to them, and the cost of those to train.

    ``processor_hours`` and ``bytes`` are sums over the runs to train; None if a run's time was never measured.
    ``measured`` of them are estimated from finished runs of this store, the others from the recorded sweep of learning
    rates and from the sizes of their prompts.
    """

    runs: int
    finished: int
    active: int
    stopped: int
    to_train: int
    measured: int
    processor_hours: float | None
    bytes: int


@dataclass(frozen=True)
class _Measured:
    processor_seconds: float
    folder_bytes: float
    """Both for one step and one snapshot."""


def estimate_sweep(store: Store, planned: Iterable[PlannedRun]) -> SweepCost:
    """Return the cost of what is still to train.

    Raises:
        StoreError: if the folder of runs cannot be read.
    """
    listed = list(planned)
    states = [entry.state for entry in listed]
    missing = [entry.config for entry in listed if entry.state not in ("finished", *ACTIVE_STATES)]
    known = _measure_runs(store, {(config.method, config.backbone) for config in missing})
    seconds: list[float | None] = []
    size = 0.0
    estimates: dict[tuple[str, str, str], tuple[float | None, int]] = {}
    for config in missing:
        own = known.get((config.method, config.backbone))
        if own is not None:
            seconds.append(own.processor_seconds * config.training.steps)
            size += own.folder_bytes * _snapshots(config)
            continue
        key = config.method, config.backbone, repr((config.hyperparameters, config.training.to_json() | {"seed": 0}))
        if key not in estimates:
            estimates[key] = _estimate(config)
        seconds.append(estimates[key][0])
        size += estimates[key][1]
    timed = [value for value in seconds if value is not None]
    return SweepCost(
        runs=len(listed),
        finished=states.count("finished"),
        active=sum(state in ACTIVE_STATES for state in states),
        stopped=states.count("stopped"),
        to_train=len(missing),
        measured=sum((config.method, config.backbone) in known for config in missing),
        processor_hours=sum(timed) / 3600 if len(timed) == len(missing) else None,
        bytes=round(size),
    )


def _snapshots(config: RunConfig) -> int:
    return 1 + config.training.steps // config.training.snapshot_every


def _measure_runs(store: Store, wanted: set[tuple[str, str]]) -> dict[tuple[str, str], _Measured]:
    found: dict[tuple[str, str], list[_Measured]] = {}
    for summary in store.list():
        key = summary.config.method, summary.config.backbone
        own = found.setdefault(key, [])
        if key in wanted and summary.status.state == "finished" and len(own) < _MEASURED_RUNS:
            own += _measure_run(store, summary)
    return {
        key: _Measured(median(one.processor_seconds for one in own), median(one.folder_bytes for one in own))
        for key, own in found.items()
        if own
    }


def _measure_run(store: Store, summary: RunSummary) -> list[_Measured]:
    folder, config = store.root / summary.id, summary.config
    try:
        threads = store.get(summary.id).environment().get("threads")
    except StoreError:
        return []
    if not summary.status.seconds or not isinstance(threads, int):
        return []
    seconds = summary.status.seconds * threads / config.training.steps
    return [_Measured(seconds, _folder_bytes(folder) / _snapshots(config))]


def _folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _estimate(config: RunConfig) -> tuple[float | None, int]:
    """Return processor seconds, None if unknown, and bytes of a run that has no measured like."""
    t = config.training
    own = config.estimate()
    size = 4 * (own.stored_parameters or 0) * (_snapshots(config) + _STATE_COPIES)
    # The recorded sweep ran on two threads.
    seconds = None if own.seconds is None else 2 * own.seconds
    return seconds, size + _EVENT_BYTES * t.steps + _ROW_BYTES * t.test_rows
