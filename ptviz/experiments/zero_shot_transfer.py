"""Measured zero-shot transfer: the score of every trained prompt on every task, without further training.

Scores are stored by ``ptviz.experiments.transfer_results``, keyed by prompt, task and number of examples.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ptviz.engine.loaded_prompt import load_run_prompt
from ptviz.engine.model_cache import ModelCache
from ptviz.experiments.transfer_results import (
    DEFAULT_ROWS,
    Fingerprints,
    ScoreKey,
    TargetTask,
    TransferScore,
    acquire_record_lock,
    find_valid,
    no_prompt_key,
    read_transfer_scores,
    save_measurement,
)
from ptviz.methods.base import PromptMethod
from ptviz.runs import saved_prompts
from ptviz.runs.config import RunConfig
from ptviz.runs.run_file_io import StoreError
from ptviz.runs.saved_prompts import SAVED_PREFIX
from ptviz.runs.store import RunSummary, Store
from ptviz.tasks import Task
from ptviz.training import evaluate
from ptviz.training.batches import EncodedExamples


class ScoreJob(NamedTuple):
    """One score to measure: its key, the config of the prompt's run, the task, and the ``fingerprint`` of both."""

    key: ScoreKey
    config: RunConfig
    target: TargetTask
    stamp: str


def measured_scores(
    store: Store, runs: Sequence[RunSummary], tasks: Sequence[TargetTask], rows: int = DEFAULT_ROWS
) -> dict[ScoreKey, TransferScore]:
    """Return the valid scores of a grid of runs and tasks, those without a prompt included."""
    return {key: score for key, _, _, score in _plan_grid(store, runs, tasks, rows) if score is not None}


def accuracy_matrix(
    runs: Sequence[RunSummary],
    tasks: Sequence[TargetTask],
    found: Mapping[ScoreKey, TransferScore],
    rows: int = DEFAULT_ROWS,
) -> Float[np.ndarray, "t n"]:
    """Return the scores of runs on one backbone, by each task's metric, as a matrix, NaN where nothing was measured.

    Rows are tasks; the first column is the backbone without a prompt, the others are the runs.
    """
    backbone = runs[0].config.backbone if runs else ""
    ids = [no_prompt_key(backbone), *(run.id for run in runs)]
    unknown = TransferScore("", "", rows, math.nan, math.nan)
    accuracies = [[found.get((id, task.key, rows), unknown).accuracy for id in ids] for task in tasks]
    return np.array(accuracies, dtype=np.float64).reshape(len(tasks), len(ids))


def count_missing(
    store: Store, runs: Sequence[RunSummary], tasks: Sequence[TargetTask], rows: int = DEFAULT_ROWS
) -> int:
    """Return how many scores of a grid are not measured yet."""
    return sum(score is None for _, _, _, score in _plan_grid(store, runs, tasks, rows))


def measure_missing(
    store: Store,
    runs: Sequence[RunSummary],
    tasks: Sequence[TargetTask],
    rows: int = DEFAULT_ROWS,
    model_cache: ModelCache | None = None,
    measure: Callable[[Sequence[ScoreJob]], Generator[TransferScore, None, None]] | None = None,
) -> Iterator[TransferScore]:
    """Measure the missing scores of a grid one by one, storing each at once; a later call continues there.

    A score that cannot be measured is yielded with its ``reason``; the others follow. ``measure`` measures jobs
    elsewhere; by default they are measured here, by ``measure_jobs``.

    Raises:
        StoreError: if another process is measuring, or the record is damaged or cannot be written.
    """
    if rows < 1:
        raise ValueError(f"rows: expected at least 1; got {rows}")
    if not runs:
        return
    measure = measure or partial(measure_jobs, store, model_cache=model_cache)
    lock = acquire_record_lock(store)
    try:
        stamps = Fingerprints(store)
        jobs = [
            ScoreJob(key, summary.config, target, stamps(key[0], target, summary.config.backbone))
            for key, summary, target, score in _plan_grid(store, runs, tasks, rows)
            if score is None
        ]
        with closing(measure(jobs)) as scores:
            for score in scores:
                if not score.reason:
                    save_measurement(store, score)
                yield score
    finally:
        lock.release()


def measure_jobs(
    store: Store, jobs: Sequence[ScoreJob], model_cache: ModelCache | None = None
) -> Generator[TransferScore, None, None]:
    """Measure scores here, with the prompts of a store; one that cannot be measured has a ``reason``."""
    evaluator = _TransferEvaluator(store, model_cache or ModelCache())
    for job in jobs:
        try:
            score, loss, metric = evaluator.score(job)
        except (ValueError, OSError) as error:
            yield TransferScore(*job.key, math.nan, math.nan, job.stamp, " ".join(str(error).split()))
        else:
            yield TransferScore(*job.key, score, loss, job.stamp, metric=metric)


def _plan_grid(
    store: Store, runs: Sequence[RunSummary], tasks: Sequence[TargetTask], rows: int
) -> list[tuple[ScoreKey, RunSummary, TargetTask, TransferScore | None]]:
    """Return key, run and task of every score, and the score if it is recorded and valid.

    Ordered by backbone and then task, so that each is loaded once.
    """
    found, have, stamps = [], read_transfer_scores(store), Fingerprints(store)
    for backbone in dict.fromkeys(run.config.backbone for run in runs):
        own = [run for run in runs if run.config.backbone == backbone]
        for target in tasks:
            for id, summary in ((no_prompt_key(backbone), own[0]), *((run.id, run) for run in own)):
                key, stamp = (id, target.key, rows), stamps(id, target, backbone)
                found.append((key, summary, target, find_valid(have, key, target.name, stamp)))
    return found


class _TransferEvaluator:
    """Prompts and encoded examples, shared by all scores that need them."""

    def __init__(self, store: Store, model_cache: ModelCache) -> None:
        self.store, self.model_cache = store, model_cache
        self._methods: dict[str, PromptMethod] = {}
        self._task: tuple[TargetTask, int, Task] | None = None
        self._examples: dict[tuple[object, ...], EncodedExamples] = {}

    def score(self, job: ScoreJob) -> tuple[float, float, str]:
        """Return score and loss of a run's prompt, or of none, on the target's validation examples, and the metric."""
        (run, _, rows), config, target = job.key, job.config, job.target
        method = self._load_method(run, config, target) if run != no_prompt_key(config.backbone) else None
        examples = self._encode_examples(config, target, rows, 0 if method is None else method.slots)
        scores = evaluate(method, examples)
        return scores.score, scores.loss, examples.task.metric

    def _load_method(self, run: str, config: RunConfig, target: TargetTask) -> PromptMethod:
        if run not in self._methods:
            if run.startswith(SAVED_PREFIX):
                self._methods[run] = self._load_saved_prompt(run, _with_target_task(config, target).checked())
            else:
                self._methods[run] = load_run_prompt(self.store.get(run), self.model_cache).method
        return self._methods[run]

    def _load_saved_prompt(self, id: str, config: RunConfig) -> PromptMethod:
        backbone = self.model_cache.backbone(config)
        method = self.model_cache.backend.build_method(config, backbone, self.model_cache.task(config))
        tensors = saved_prompts.load_prompt_tensors(self.store.prompts_folder, id.removeprefix(SAVED_PREFIX))
        method.init_from_prompt(saved_prompts.to_prompt(tensors))
        return method.to(backbone.device).eval()

    def _encode_examples(self, config: RunConfig, target: TargetTask, rows: int, slots: int) -> EncodedExamples:
        if self._task is None or self._task[:2] != (target, rows):
            task = self.model_cache.task(_with_target_task(config, target))
            if not task.validation:
                raise StoreError(f"task {target.name} has no validation rows to measure on")
            self._task = target, rows, task.subsample(len(task.train), rows, len(task.test))
            self._examples.clear()
        task = self._task[2]
        key = config.backbone, config.device, config.training.dtype, slots, config.training.length
        if key not in self._examples:
            backbone = self.model_cache.backbone(config)
            length = config.training.length
            self._examples[key] = EncodedExamples(backbone, task, task.validation, slots, length)
        return self._examples[key]


def _with_target_task(config: RunConfig, target: TargetTask) -> RunConfig:
    return replace(config, task=target.name, text=target.text, label=target.label, table=target.table)
