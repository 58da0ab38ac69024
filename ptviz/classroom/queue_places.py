"""The place of each queued run and how long it still waits, computed for all visitors together."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from ptviz.runs.store import RunSummary, Store

FRESH_SECONDS = 2.0
"""How long an answer is given again: thirty open pages ask for the same one."""


@dataclass(frozen=True)
class Turn:
    """The place of a run among the ``of`` queued ones, 1 for the next, and seconds until it begins, None if unknown."""

    place: int
    of: int
    seconds: float | None


@dataclass
class _Known:
    """The last answer for a folder of runs, and the seconds of the runs for which they are known."""

    at: float
    turns: Mapping[str, Turn]
    estimates: dict[tuple[str, int], float]


_lock = Lock()
_known: dict[Path, _Known] = {}


def queue_turns(store: Store) -> Mapping[str, Turn]:
    """Return the turn of each queued run of the whole store, by id; at most ``FRESH_SECONDS`` old."""
    with _lock:
        known = _known.get(store.root)
        if known is None or time.monotonic() - known.at > FRESH_SECONDS:
            known = _known[store.root] = _measure(store, {} if known is None else known.estimates)
    return known.turns


def _measure(store: Store, estimates: Mapping[tuple[str, int], float]) -> _Known:
    queued = store.queued_runs()
    training = [summary for summary in store.list() if summary.status.state in ("running", "stopping")]
    involved = [*training, *queued]
    new = [summary for summary in involved if _key(summary) not in estimates]
    added = zip(map(_key, new), _estimate(store, new), strict=True)
    # An unknown is not cached: by the next answer, a run or a measurement may have measured the speed.
    found = dict(estimates) | {key: seconds for key, seconds in added if seconds is not None}
    found = {key: found[key] for key in map(_key, involved) if key in found}
    waits: float | None = 0.0
    turns: dict[str, Turn] = {}
    for summary in involved:
        if summary.status.state == "queued":
            turns[summary.id] = Turn(len(turns) + 1, len(queued), waits)
        left = _seconds_left(summary, found.get(_key(summary)))
        waits = None if waits is None or left is None else waits + left
    return _Known(time.monotonic(), turns, found)


def _key(summary: RunSummary) -> tuple[str, int]:
    return summary.id, summary.config.training.steps


def _estimate(store: Store, runs: list[RunSummary]) -> list[float | None]:
    if not runs:
        return []
    from ptviz.engine.time_estimate import estimate_each  # It needs torch, and a page without a queue does not.

    def estimate(some: list[RunSummary]) -> list[float | None]:
        return [one.seconds for one in estimate_each(store, [run.config for run in some])]

    with suppress(ValueError):
        return estimate(runs)  # Together, which reads the store once.
    seconds: list[float | None] = []
    for run in runs:
        try:
            seconds += estimate([run])
        except ValueError:  # A run of another version: it has no estimate, and the others keep theirs.
            seconds.append(None)
    return seconds


def _seconds_left(summary: RunSummary, whole: float | None) -> float | None:
    """Return the seconds that a run still trains, by its estimate, else by its pace so far."""
    status = summary.status
    if whole is not None:
        return max(whole - status.seconds, 0.0)
    if status.step and status.steps:
        return status.seconds / status.step * max(status.steps - status.step, 0)
    return None
