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

from ptviz.engine.model_cache import Warm
from ptviz.experiments.transfer import ROWS, vectors
from ptviz.experiments.transfer_results import Target, Trial, TrialKey, keep, locked, scratch, stamp, trials
from ptviz.prompt import Prompt
from ptviz.runs.atomic_io import StoreError
from ptviz.runs.config import RunConfig
from ptviz.runs.failure_messages import of_exception
from ptviz.runs.store import Store, Summary
from ptviz.training import Baselines, Evaluated, TrainConfig, default_rate
from ptviz.training.source_prompts import METHOD, source_knobs

STEPS = 30
"""Updates of a trial, unless told otherwise: "a few"."""
_LOOKS = 5
"""Evaluations of a trial after the one at its start."""


@dataclass(frozen=True)
class Setting:
    """How the trials of a grid are made: updates of each, seeds 0, 1, ..., and validation rows."""

    steps: int = STEPS
    seeds: int = 1
    rows: int = ROWS

    def __post_init__(self) -> None:
        for name, most in {"steps": 100_000, "seeds": 20, "rows": 100_000}.items():
            if not 1 <= getattr(self, name) <= most:
                raise ValueError(f"{name}: expected 1 to {most:,}; got {getattr(self, name)}")


class _Place(NamedTuple):
    """One trial of a grid: its key, what it is trained with, and what it starts from; None: from scratch."""

    key: TrialKey
    config: RunConfig
    start: Float[np.ndarray, "m d"] | None
    stamp: str


def known(store: Store, runs: Sequence[Summary], tasks: Sequence[Target], setting: Setting) -> dict[TrialKey, Trial]:
    """The trials of a grid of these sources and tasks that were made and still hold, those from scratch included."""
    have = trials(store)
    places = _grid(store, runs, tasks, setting)
    return {place.key: have[place.key] for place in places if _holds(have, place)}


def missing(store: Store, runs: Sequence[Summary], tasks: Sequence[Target], setting: Setting) -> int:
    """How many trials of that grid are still to make."""
    have = trials(store)
    return sum(not _holds(have, place) for place in _grid(store, runs, tasks, setting))


def size(store: Store, runs: Sequence[Summary], tasks: Sequence[Target], setting: Setting) -> int:
    """How many trials that grid has; those on a source's own task are no transfer and are left out."""
    return len(_grid(store, runs, tasks, setting))


def train_missing(
    store: Store,
    runs: Sequence[Summary],
    tasks: Sequence[Target],
    setting: Setting,
    warm: Warm | None = None,
) -> Iterator[Trial | None]:
    """Make the trials that the grid lacks; each is kept as soon as it is made. None comes between training steps.

    A trial that cannot be made comes with its reason, and the others go on. Task by task, from scratch first: whoever
    stops early has whole rows.

    Raises:
        StoreError: if another process is measuring, or the record is damaged or cannot be written.
    """
    if not runs:
        return
    lock = locked(store)
    try:
        have, warm = trials(store), warm or Warm()
        for place in [place for place in _grid(store, runs, tasks, setting) if not _holds(have, place)]:
            try:
                trial = yield from _trained(warm, place)
            except Exception as error:
                yield Trial(*place.key, stamp=place.stamp, reason=of_exception(error, None))
                continue
            keep(store, trial)
            yield trial
    finally:
        lock.release()


def _trained(warm: Warm, place: _Place) -> Generator[None, None, Trial]:
    """Train one trial; the accuracies it has come by."""
    began, config = time.perf_counter(), place.config.checked()
    backbone, task = warm.backbone(config), warm.task(config)
    if not task.validation:
        raise StoreError(f"task {config.task} has no validation rows to measure on")
    method = warm.engine.build(config, backbone, task)
    if place.start is not None:
        method.begin_with(Prompt(embeddings=torch.tensor(place.start)[None]))
    found: list[tuple[int, float]] = []
    for event in warm.engine.train(
        method, backbone, task, config.training, resume=None, baselines=warm.baselines(config)
    ):
        if isinstance(event, Baselines):
            warm.remember(config, event)
        if isinstance(event, Evaluated):
            found.append((event.step, event.accuracy))
            if event.step == config.training.steps:
                break  # What follows, the test rows, is nobody's question here.
        yield None
    steps, accuracies = zip(*found, strict=True)
    return Trial(*place.key, steps, accuracies, round(time.perf_counter() - began, 2), place.stamp)


def _holds(have: dict[TrialKey, Trial], place: _Place) -> bool:
    return place.key in have and have[place.key].stamp == place.stamp


def _grid(store: Store, runs: Sequence[Summary], tasks: Sequence[Target], setting: Setting) -> list[_Place]:
    """Backbones outermost, then tasks: each is loaded once."""
    found: list[_Place] = []
    starts = {run.id: array for run in runs if (array := vectors(store, run)) is not None}
    for backbone in dict.fromkeys(run.config.backbone for run in runs):
        own = [run for run in runs if run.config.backbone == backbone and run.id in starts]
        for target in tasks:
            away = [run for run in own if run.config.task != target.name]
            lengths = dict.fromkeys(len(starts[run.id]) for run in away)
            for seed in range(setting.seeds):
                fresh = [(scratch(backbone, m), away[0], m, None) for m in lengths]
                begun = [(run.id, run, len(starts[run.id]), starts[run.id]) for run in away]
                for id, run, m, start in (*fresh, *begun):
                    key = id, target.name, setting.rows, setting.steps, seed
                    found.append(
                        _Place(key, _config(run, target, m, setting, seed), start, _stamp(store, id, run, target))
                    )
    return found


def _config(run: Summary, target: Target, m: int, setting: Setting, seed: int) -> RunConfig:
    """What a trial trains: the same for every source of one length."""
    every = max(1, -(-setting.steps // _LOOKS))
    training = TrainConfig(
        steps=setting.steps, seed=seed, evaluate_every=every, snapshot_every=setting.steps,
        validation_rows=max(2, setting.rows), dtype=run.config.training.dtype,
    )  # fmt: skip
    return replace(
        RunConfig(run.config.backbone, method=METHOD, knobs=source_knobs(m), training=training),
        task=target.name, text=target.text, label=target.label, device=run.config.device,
    )  # fmt: skip


def _stamp(store: Store, id: str, run: Summary, target: Target) -> str:
    """What the trial depends on: prompt, task, and the learning rate, whose default may change."""
    return f"{stamp(store, id, target)} lr {default_rate(METHOD, run.config.backbone):g}".strip()


def ends(
    store: Store,
    runs: Sequence[Summary],
    tasks: Sequence[Target],
    found: Mapping[TrialKey, Trial],
    setting: Setting,
) -> tuple[Float[np.ndarray, "t n seeds"], Float[np.ndarray, "t n seeds"]]:
    """Accuracies (0 to 1) after the last step, from each source and from scratch; NaN where no trial was made."""
    shape = len(tasks), len(runs), setting.seeds
    reached, fresh = np.full(shape, np.nan), np.full(shape, np.nan)
    for column, run in enumerate(runs):
        if (start := vectors(store, run)) is None:
            continue
        for row, target in enumerate(tasks):
            for seed in range(setting.seeds):
                rest = target.name, setting.rows, setting.steps, seed
                for into, id in ((reached, run.id), (fresh, scratch(run.config.backbone, len(start)))):
                    if (trial := found.get((id, *rest))) is not None:
                        into[row, column, seed] = trial.accuracies[-1]
    return reached, fresh
