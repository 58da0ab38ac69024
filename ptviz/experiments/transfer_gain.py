"""Measured gain: a task's prompt trained for a few steps from another task's prompt, against from scratch.

Which sources are worth starting from: Vu et al., "SPoT", ACL 2022, section 4, https://aclanthology.org/2022.acl-long.346.
Ours: a few steps instead of 100,000, and the accuracy after the last of them instead of the best checkpoint's. Both
starts share seed, steps, rows and learning rate; both are plain prompt tuning of as many tokens as the source has.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float

from ptviz.engine.model_cache import ModelCache
from ptviz.experiments.transfer import DEFAULT_ROWS, load_prompt_vectors
from ptviz.experiments.transfer_results import (
    TargetTask,
    TransferRun,
    TransferRunKey,
    acquire_record_lock,
    fingerprint,
    from_scratch_key,
    read_transfer_runs,
    save_measurement,
)
from ptviz.prompt import Prompt
from ptviz.runs.atomic_io import StoreError
from ptviz.runs.config import RunConfig
from ptviz.runs.failure_messages import failure_reason
from ptviz.runs.store import RunSummary, Store
from ptviz.training import Baselines, Evaluated, TrainConfig, default_learning_rate
from ptviz.training.source_prompts import SOURCE_METHOD, source_hyperparameters

DEFAULT_STEPS = 30
"""Updates of a trial, unless told otherwise: "a few"."""
_EVALUATIONS = 5
"""Evaluations of a trial after the one at its start."""


@dataclass(frozen=True)
class TransferGainSettings:
    """How the trials of a grid are made: updates of each, seeds 0, 1, ..., and validation rows."""

    steps: int = DEFAULT_STEPS
    seeds: int = 1
    rows: int = DEFAULT_ROWS

    def __post_init__(self) -> None:
        for name, most in {"steps": 100_000, "seeds": 20, "rows": 100_000}.items():
            if not 1 <= getattr(self, name) <= most:
                raise ValueError(f"{name}: expected 1 to {most:,}; got {getattr(self, name)}")


class _PlannedTransferRun(NamedTuple):
    """One trial of a grid: its key, what it is trained with, and what it starts from; None: from scratch."""

    key: TransferRunKey
    config: RunConfig
    start: Float[np.ndarray, "m d"] | None
    fingerprint: str


def measured_runs(
    store: Store, runs: Sequence[RunSummary], tasks: Sequence[TargetTask], setting: TransferGainSettings
) -> dict[TransferRunKey, TransferRun]:
    """The trials of a grid of these sources and tasks that were made and still hold, those from scratch included."""
    have = read_transfer_runs(store)
    places = _plan_grid(store, runs, tasks, setting)
    return {place.key: have[place.key] for place in places if _is_valid(have, place)}


def count_missing_runs(
    store: Store, runs: Sequence[RunSummary], tasks: Sequence[TargetTask], setting: TransferGainSettings
) -> int:
    """How many trials of that grid are still to make."""
    have = read_transfer_runs(store)
    return sum(not _is_valid(have, place) for place in _plan_grid(store, runs, tasks, setting))


def grid_size(
    store: Store, runs: Sequence[RunSummary], tasks: Sequence[TargetTask], setting: TransferGainSettings
) -> int:
    """How many trials that grid has; those on a source's own task are no transfer and are left out."""
    return len(_plan_grid(store, runs, tasks, setting))


def train_missing_pairs(
    store: Store,
    runs: Sequence[RunSummary],
    tasks: Sequence[TargetTask],
    setting: TransferGainSettings,
    warm: ModelCache | None = None,
) -> Iterator[TransferRun | None]:
    """Make the trials that the grid lacks; each is kept as soon as it is made. None comes between training steps.

    A trial that cannot be made comes with its reason, and the others go on. Task by task, from scratch first: whoever
    stops early has whole rows.

    Raises:
        StoreError: if another process is measuring, or the record is damaged or cannot be written.
    """
    if not runs:
        return
    lock = acquire_record_lock(store)
    try:
        have, warm = read_transfer_runs(store), warm or ModelCache()
        for place in [place for place in _plan_grid(store, runs, tasks, setting) if not _is_valid(have, place)]:
            try:
                trial = yield from _train_pair(warm, place)
            except Exception as error:
                yield TransferRun(*place.key, stamp=place.fingerprint, reason=failure_reason(error, None))
                continue
            save_measurement(store, trial)
            yield trial
    finally:
        lock.release()


def _train_pair(warm: ModelCache, place: _PlannedTransferRun) -> Generator[None, None, TransferRun]:
    """Train one trial; the accuracies it has come by."""
    began, config = time.perf_counter(), place.config.checked()
    backbone, task = warm.backbone(config), warm.task(config)
    if not task.validation:
        raise StoreError(f"task {config.task} has no validation rows to measure on")
    method = warm.backend.build_method(config, backbone, task)
    if place.start is not None:
        method.init_from_prompt(Prompt(embeddings=torch.tensor(place.start)[None]))
    found: list[tuple[int, float]] = []
    for event in warm.backend.train(
        method, backbone, task, config.training, resume=None, baselines=warm.baselines(config)
    ):
        if isinstance(event, Baselines):
            warm.save_baselines(config, event)
        if isinstance(event, Evaluated):
            found.append((event.step, event.accuracy))
            if event.step == config.training.steps:
                break  # What follows, the test rows, is nobody's question here.
        yield None
    steps, accuracies = zip(*found, strict=True)
    return TransferRun(*place.key, steps, accuracies, round(time.perf_counter() - began, 2), place.fingerprint)


def _is_valid(have: dict[TransferRunKey, TransferRun], place: _PlannedTransferRun) -> bool:
    return place.key in have and have[place.key].stamp == place.fingerprint


def _plan_grid(
    store: Store, runs: Sequence[RunSummary], tasks: Sequence[TargetTask], setting: TransferGainSettings
) -> list[_PlannedTransferRun]:
    """Backbones outermost, then tasks: each is loaded once."""
    found: list[_PlannedTransferRun] = []
    starts = {run.id: array for run in runs if (array := load_prompt_vectors(store, run)) is not None}
    for backbone in dict.fromkeys(run.config.backbone for run in runs):
        own = [run for run in runs if run.config.backbone == backbone and run.id in starts]
        for target in tasks:
            away = [run for run in own if run.config.task != target.name]
            lengths = dict.fromkeys(len(starts[run.id]) for run in away)
            for seed in range(setting.seeds):
                fresh = [(from_scratch_key(backbone, m), away[0], m, None) for m in lengths]
                begun = [(run.id, run, len(starts[run.id]), starts[run.id]) for run in away]
                for id, run, m, start in (*fresh, *begun):
                    key = id, target.name, setting.rows, setting.steps, seed
                    found.append(
                        _PlannedTransferRun(
                            key,
                            _make_config(run, target, m, setting, seed),
                            start,
                            _run_fingerprint(store, id, run, target),
                        )
                    )
    return found


def _make_config(run: RunSummary, target: TargetTask, m: int, setting: TransferGainSettings, seed: int) -> RunConfig:
    """What a trial trains: the same for every source of one length."""
    every = max(1, -(-setting.steps // _EVALUATIONS))
    training = TrainConfig(
        steps=setting.steps, seed=seed, evaluate_every=every, snapshot_every=setting.steps,
        validation_rows=max(2, setting.rows), dtype=run.config.training.dtype,
    )  # fmt: skip
    return replace(
        RunConfig(run.config.backbone, method=SOURCE_METHOD, hyperparameters=source_hyperparameters(m)),
        training=training, task=target.name, text=target.text, label=target.label, device=run.config.device,
    )  # fmt: skip


def _run_fingerprint(store: Store, id: str, run: RunSummary, target: TargetTask) -> str:
    """What the trial depends on: prompt, task, and the learning rate, whose default may change."""
    return f"{fingerprint(store, id, target)} lr {default_learning_rate(SOURCE_METHOD, run.config.backbone):g}".strip()


def final_accuracies(
    store: Store,
    runs: Sequence[RunSummary],
    tasks: Sequence[TargetTask],
    found: Mapping[TransferRunKey, TransferRun],
    setting: TransferGainSettings,
) -> tuple[Float[np.ndarray, "t n seeds"], Float[np.ndarray, "t n seeds"]]:
    """Accuracies (0 to 1) after the last step, from each source and from scratch; NaN where no trial was made."""
    shape = len(tasks), len(runs), setting.seeds
    reached, fresh = np.full(shape, np.nan), np.full(shape, np.nan)
    for column, run in enumerate(runs):
        if (start := load_prompt_vectors(store, run)) is None:
            continue
        for row, target in enumerate(tasks):
            for seed in range(setting.seeds):
                rest = target.name, setting.rows, setting.steps, seed
                for into, id in ((reached, run.id), (fresh, from_scratch_key(run.config.backbone, len(start)))):
                    if (trial := found.get((id, *rest))) is not None:
                        into[row, column, seed] = trial.accuracies[-1]
    return reached, fresh
