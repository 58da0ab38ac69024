"""Measured transfer gain: a few training steps from another task's prompt, compared with from scratch.

Source prompts as initialisation: Vu et al., "SPoT", ACL 2022, section 3, https://aclanthology.org/2022.acl-long.346.
Differences: a few steps instead of 100,000, and the score after the last step instead of the best checkpoint's. Both
starts share seed, steps, examples and learning rate; both are plain prompt tuning with the source's length.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float

from ptviz.engine.model_cache import ModelCache
from ptviz.experiments.transfer_prompts import load_prompt_vectors, own_task_key
from ptviz.experiments.transfer_results import (
    DEFAULT_ROWS,
    Fingerprints,
    TargetTask,
    TransferRun,
    TransferRunKey,
    acquire_record_lock,
    find_valid,
    from_scratch_key,
    read_transfer_runs,
    save_measurement,
)
from ptviz.experiments.transfer_results import DEFAULT_STEPS as DEFAULT_STEPS
from ptviz.prompt import Prompt
from ptviz.runs.config import RunConfig
from ptviz.runs.failure_messages import failure_reason
from ptviz.runs.run_file_io import StoreError
from ptviz.runs.store import RunSummary, Store
from ptviz.training import Baselines, Evaluated, TrainConfig, default_learning_rate
from ptviz.training.source_prompts import SOURCE_METHOD, source_hyperparameters

_EVALUATIONS = 5
"""Evaluations of a run after the one of its initial prompt."""


@dataclass(frozen=True)
class TransferGainSettings:
    """Settings of a grid: updates of each run, seeds 0, 1, ..., and validation examples."""

    steps: int = DEFAULT_STEPS
    seeds: int = 1
    rows: int = DEFAULT_ROWS

    def __post_init__(self) -> None:
        for name, most in {"steps": 100_000, "seeds": 20, "rows": 100_000}.items():
            if not 1 <= getattr(self, name) <= most:
                raise ValueError(f"{name}: expected 1 to {most:,}; got {getattr(self, name)}")


class TransferRunJob(NamedTuple):
    """One run of a grid to train: its key, config, initial prompt (None: from scratch) and fingerprint."""

    key: TransferRunKey
    config: RunConfig
    start: Float[np.ndarray, "m d"] | None
    fingerprint: str


def measured_runs(
    store: Store, runs: Sequence[RunSummary], tasks: Sequence[TargetTask], setting: TransferGainSettings
) -> dict[TransferRunKey, TransferRun]:
    """Return the valid runs of a grid of sources and tasks, those from scratch included."""
    have = read_transfer_runs(store)
    planned = _plan_grid(store, runs, tasks, setting)
    valid = ((run.key, _find_trained(have, run)) for run in planned)
    return {key: trained for key, trained in valid if trained is not None}


def count_missing_runs(
    store: Store, runs: Sequence[RunSummary], tasks: Sequence[TargetTask], setting: TransferGainSettings
) -> int:
    """Return how many runs of a grid are not trained yet."""
    have = read_transfer_runs(store)
    return sum(_find_trained(have, run) is None for run in _plan_grid(store, runs, tasks, setting))


def grid_size(
    store: Store, runs: Sequence[RunSummary], tasks: Sequence[TargetTask], setting: TransferGainSettings
) -> int:
    """Return the number of runs of a grid; a source is not trained on its own task."""
    return len(_plan_grid(store, runs, tasks, setting))


def train_missing_pairs(
    store: Store,
    runs: Sequence[RunSummary],
    tasks: Sequence[TargetTask],
    setting: TransferGainSettings,
    model_cache: ModelCache | None = None,
    train: Callable[[Sequence[TransferRunJob]], Generator[TransferRun | None, None, None]] | None = None,
) -> Iterator[TransferRun | None]:
    """Train the missing runs of a grid, storing each when done; yield None between training steps.

    A run that fails is yielded with its ``reason``; the others follow. Each task starts with its runs from scratch, so
    that a grid that was stopped early has complete rows. ``train`` trains jobs elsewhere; by default they are trained
    here, by ``train_jobs``.

    Raises:
        StoreError: if another process is measuring, or the record is damaged or cannot be written.
    """
    if not runs:
        return
    train = train or partial(train_jobs, model_cache=model_cache)
    lock = acquire_record_lock(store)
    try:
        have = read_transfer_runs(store)
        jobs = [job for job in _plan_grid(store, runs, tasks, setting) if _find_trained(have, job) is None]
        with closing(train(jobs)) as trained:
            for run in trained:
                if run is not None and not run.reason:
                    save_measurement(store, run)
                yield run
    finally:
        lock.release()


def train_jobs(
    jobs: Sequence[TransferRunJob], model_cache: ModelCache | None = None
) -> Generator[TransferRun | None, None, None]:
    """Train runs here, one after another; yield None between training steps. One that fails has a ``reason``."""
    model_cache = model_cache or ModelCache()
    for job in jobs:
        try:
            run = yield from _train_job(model_cache, job)
        except Exception as error:
            yield TransferRun(*job.key, stamp=job.fingerprint, reason=failure_reason(error, None))
        else:
            yield run


def _train_job(model_cache: ModelCache, planned: TransferRunJob) -> Generator[None, None, TransferRun]:
    """Train one run and return its scores."""
    began, config = time.perf_counter(), planned.config.checked()
    backbone, task = model_cache.backbone(config), model_cache.task(config)
    if not task.validation:
        raise StoreError(f"task {config.task} has no validation rows to measure on")
    method = model_cache.backend.build_method(config, backbone, task)
    if planned.start is not None:
        method.init_from_prompt(Prompt(embeddings=torch.tensor(planned.start)[None]))
    found: list[tuple[int, float]] = []
    baselines = model_cache.baselines(config)
    for event in model_cache.backend.train(method, backbone, task, config.training, resume=None, baselines=baselines):
        if isinstance(event, Baselines):
            model_cache.save_baselines(config, event)
        if isinstance(event, Evaluated):
            found.append((event.step, event.accuracy))
            if event.step == config.training.steps:
                break  # The evaluation on test examples, which follows, is not needed.
        yield None
    steps, accuracies = zip(*found, strict=True)
    seconds = round(time.perf_counter() - began, 2)
    return TransferRun(*planned.key, steps, accuracies, seconds, planned.fingerprint, metric=task.metric)


def _find_trained(have: Mapping[TransferRunKey, TransferRun], planned: TransferRunJob) -> TransferRun | None:
    return find_valid(have, planned.key, planned.config.task, planned.fingerprint)


def _plan_grid(
    store: Store, runs: Sequence[RunSummary], tasks: Sequence[TargetTask], setting: TransferGainSettings
) -> list[TransferRunJob]:
    """Return the runs of a grid, by backbone and then task, so that each is loaded once."""
    found: list[TransferRunJob] = []
    stamps = Fingerprints(store)
    starts = {run.id: array for run in runs if (array := load_prompt_vectors(store, run)) is not None}
    for backbone in dict.fromkeys(run.config.backbone for run in runs):
        own = [run for run in runs if run.config.backbone == backbone and run.id in starts]
        for target in tasks:
            sources = [run for run in own if own_task_key(run, tasks) != target.key]
            lengths = dict.fromkeys(len(starts[run.id]) for run in sources)
            for seed in range(setting.seeds):
                from_scratch = [(from_scratch_key(backbone, m), sources[0], m, None) for m in lengths]
                from_source = [(run.id, run, len(starts[run.id]), starts[run.id]) for run in sources]
                for id, run, m, start in (*from_scratch, *from_source):
                    key = id, target.key, setting.rows, setting.steps, seed
                    config = _make_config(
                        backbone, run.config.training.dtype, run.config.device, target, m, setting, seed
                    )
                    stamp = _run_fingerprint(stamps(id, target, backbone), run)
                    found.append(TransferRunJob(key, config, start, stamp))
    return found


@lru_cache(maxsize=1024)  # A page makes the same plan several times.
def _make_config(
    backbone: str, dtype: str, device: str | None, target: TargetTask, m: int, setting: TransferGainSettings, seed: int
) -> RunConfig:
    """Return the config of a run: the same for every source of one length."""
    every = max(1, -(-setting.steps // _EVALUATIONS))
    training = TrainConfig(
        steps=setting.steps, seed=seed, evaluate_every=every, snapshot_every=setting.steps,
        validation_rows=max(2, setting.rows), dtype=dtype,
    )  # fmt: skip
    return RunConfig(
        backbone, target.name, SOURCE_METHOD, source_hyperparameters(m), training,
        text=target.text, label=target.label, table=target.table, device=device,
    )  # fmt: skip


def _run_fingerprint(stamp: str, run: RunSummary) -> str:
    """Return what the run depends on: prompt, task, and the learning rate, whose default may change."""
    return f"{stamp} lr {default_learning_rate(SOURCE_METHOD, run.config.backbone):g}".strip()


def final_accuracies(
    store: Store,
    runs: Sequence[RunSummary],
    tasks: Sequence[TargetTask],
    found: Mapping[TransferRunKey, TransferRun],
    setting: TransferGainSettings,
) -> tuple[Float[np.ndarray, "t n seeds"], Float[np.ndarray, "t n seeds"]]:
    """Return the scores after the last step, from each source and from scratch; NaN if not measured."""
    shape = len(tasks), len(runs), setting.seeds
    from_source, from_scratch = np.full(shape, np.nan), np.full(shape, np.nan)
    for column, run in enumerate(runs):
        if (start := load_prompt_vectors(store, run)) is None:
            continue
        for row, target in enumerate(tasks):
            for seed in range(setting.seeds):
                rest = target.key, setting.rows, setting.steps, seed
                scratch = from_scratch_key(run.config.backbone, len(start))
                for accuracies, id in ((from_source, run.id), (from_scratch, scratch)):
                    if (trained := found.get((id, *rest))) is not None:
                        accuracies[row, column, seed] = trained.accuracies[-1]
    return from_source, from_scratch
