"""Planned runs: the stored run of each config; equal runs are reused, missing ones started, active ones stopped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ptviz.runs.config import RunConfig
from ptviz.runs.run_file_io import StoreError
from ptviz.runs.same_training import has_same_files, has_same_lr
from ptviz.runs.status import ACTIVE_STATES
from ptviz.runs.store import RunSummary, Store

if TYPE_CHECKING:
    from ptviz.executors.base import Executor

MISSING = "missing"
_STATE_PRIORITY = ("finished", *ACTIVE_STATES, "stopped", "failed", MISSING)
"""Of several runs of one config, the first state in this order is used."""


@dataclass(frozen=True)
class PlannedRun:
    """A run that is wanted: its config, the stored run (None if there is none), and its state."""

    config: RunConfig
    run: str | None = None
    state: str = MISSING


def find_runs(
    store: Store, configs: Iterable[RunConfig], recorded: Iterable[RunSummary] = ()
) -> tuple[PlannedRun, ...]:
    """Return the stored run for each config: the most advanced run of an equal config, the newest of several.

    A run on an own table or local backbone that was changed since is not found. A config without a stored run gets one
    of the ``recorded`` runs, if these are given.

    Raises:
        StoreError: if the folder of runs cannot be read.
    """
    listed = tuple(configs)
    found = _find_among(store, listed, store.list())
    others = _find_among(store, listed, recorded)
    return tuple(own if own.run is not None else other for own, other in zip(found, others, strict=True))


def _find_among(store: Store, configs: Sequence[RunConfig], runs: Iterable[RunSummary]) -> tuple[PlannedRun, ...]:
    wanted = {_coarse_key(config) for config in configs}
    candidates: dict[str, list[RunSummary]] = {}
    for summary in runs:
        if _coarse_key(summary.config) in wanted:
            with suppress(ValueError):  # A run of another version, whose hyperparameters this one does not know.
                candidates.setdefault(summary.config.training_fingerprint, []).append(summary)
    return tuple(_find_run(store, config, candidates.get(config.training_fingerprint, [])) for config in configs)


def _coarse_key(config: RunConfig) -> tuple[Any, ...]:
    """Return a key that is cheap to compare, and equal where the fingerprints are equal."""
    training = config.training
    return config.method, config.targets, config.backbone, training.seed, training.steps, training.batch


def _find_run(store: Store, config: RunConfig, candidates: list[RunSummary]) -> PlannedRun:
    if not candidates:
        return PlannedRun(config)
    equal = [one for one in candidates if has_same_lr(store, one, config) and has_same_files(one)]
    # Stable: within one state the newest stays first, as the store lists them.
    best = sorted(equal, key=lambda summary: _STATE_PRIORITY.index(summary.status.state))
    return PlannedRun(config, best[0].id, best[0].status.state) if best else PlannedRun(config)


def start_runs(executor: Executor, found: Iterable[PlannedRun]) -> tuple[PlannedRun, ...]:
    """Queue missing and failed runs, resume stopped ones, and return the updated entries.

    Raises:
        ValueError: if a config is wrong.
        StoreError: if the folder cannot be written, or the disk is full.
    """
    listed = tuple(found)
    executor.check_submissions([entry.config for entry in listed if entry.state in (MISSING, "failed")])
    return tuple(_start_run(executor, entry) for entry in listed)


def _start_run(executor: Executor, entry: PlannedRun) -> PlannedRun:
    if entry.state == "stopped" and entry.run is not None:
        try:
            return replace(entry, run=executor.resume(entry.run).id, state="queued")
        except StoreError:  # It was resumed or deleted in the meantime.
            return find_runs(executor.store, [entry.config])[0]
    if entry.state in (MISSING, "failed"):
        return replace(entry, run=executor.submit(entry.config).id, state="queued")
    return entry


def refresh(store: Store, found: Iterable[PlannedRun]) -> tuple[PlannedRun, ...]:
    """Return the entries with the current states of their runs; a deleted run becomes missing."""
    updated = []
    for entry in found:
        if entry.run is None or entry.state == "finished":
            updated.append(entry)
            continue
        try:
            updated.append(replace(entry, state=store.get(entry.run).status().state))
        except StoreError:
            updated.append(PlannedRun(entry.config))
    return tuple(updated)


def is_done(found: Iterable[PlannedRun]) -> bool:
    """Return whether no run is queued, training or stopping."""
    return not any(entry.state in ACTIVE_STATES for entry in found)


def stop_runs(executor: Executor, found: Iterable[PlannedRun]) -> int:
    """Stop the active runs, the queued ones first, and return how many; each can be resumed."""
    active = [entry for entry in found if entry.state in ACTIVE_STATES and entry.run is not None]
    for entry in sorted(active, key=lambda entry: entry.state != "queued"):
        executor.stop(str(entry.run))
    return len(active)
