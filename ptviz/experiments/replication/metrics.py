"""Metrics of a finished run, or of several together: scores, counts, the time of a step, a vote."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from ptviz.analysis.comparison import steps_to_reach
from ptviz.analysis.transfer_correlation import rank_correlation
from ptviz.engine.loaded_prompt import load_run_prompt
from ptviz.engine.model_cache import ModelCache
from ptviz.experiments.ensemble import score_runs
from ptviz.methods.base import PromptMethod
from ptviz.methods.static_prompt import StaticPrompt
from ptviz.prompt_statistics import effective_rank
from ptviz.runs.run import Run
from ptviz.runs.run_file_io import StoreError
from ptviz.training.batches import EncodedExamples
from ptviz.training.evaluation import evaluate
from ptviz.training.events import Finished


def _test_score(run: Run) -> float:
    return _finished(run).test


def _validation_score(run: Run) -> float:
    return _finished(run).validation


def _finished(run: Run) -> Finished:
    finished = run.history().finished
    if finished is None:
        raise StoreError(f"run {run.id} has not finished: wait for it, or resume it")
    return finished


def _initial_score(run: Run) -> float:
    """Return the validation score before the first update of the last stage."""
    evaluations = run.history().evaluations
    return next(found.accuracy for found in evaluations if found.stage == evaluations[-1].stage)


def _steps_to_converge(run: Run) -> float:
    """Return the steps to 95% of the run's own best validation score."""
    history = run.history()
    steps = steps_to_reach(history.evaluation_steps, [found.accuracy for found in history.evaluations], 0.95)
    if steps is None:
        raise StoreError(f"run {run.id} was never evaluated")
    return float(steps)


def _make_rank(which: int) -> Callable[[Run, ModelCache], float]:
    """Return a metric: the effective rank of P (m, d) in the first (0) or last (-1) snapshot."""

    def measure(run: Run, model_cache: ModelCache) -> float:
        info = run.snapshots()[which]
        state = run.snapshot(info.stage, info.step)
        if "P" not in state:
            raise StoreError(f"run {run.id} of {run.config.method} has no prompt P of its own")
        return effective_rank(state["P"].float().numpy())

    return measure


def _count_trainable(run: Run, model_cache: ModelCache) -> float:
    known = run.environment().get("trained")
    return float(known) if known is not None else float(load_run_prompt(run, model_cache).method.trainable_parameters())


_TIMED_STEPS, _UNTIMED_STEPS = 30, 3
REFERENCE_LENGTH = 100
"""Tokens of the prompt that times of a step are compared with, as in the papers of DePT and SMoP."""


def _relative_step_time(run: Run, model_cache: ModelCache) -> float:
    """Return the time of a run's training step as a share of prompt tuning's with ``REFERENCE_LENGTH`` tokens.

    Both take the same batches in this process, in turn, so that other load on the machine affects both; of each the
    median counts.
    """
    config = run.config.checked()
    other = replace(config, method="prompt-tuning", hyperparameters={"m": REFERENCE_LENGTH}, sources=None).checked()
    backbone, task = model_cache.backbone(config), model_cache.task(config)
    sides, times = [], ([], [])  # type: tuple[list[tuple[PromptMethod, EncodedExamples]], tuple[list[float], list[float]]]
    for one in (config, other):
        method = model_cache.backend.build_method(one, backbone, task).train()
        sides.append((method, EncodedExamples(backbone, task, task.train, method.slots, config.training.length)))
    for step in range(_UNTIMED_STEPS + _TIMED_STEPS):
        for (method, rows), own in zip(sides, times, strict=True):
            seconds = _time_step(method, rows, step, config.training.batch, config.training.seed)
            if step >= _UNTIMED_STEPS:
                own.append(seconds)
    return statistics.median(times[0]) / statistics.median(times[1])


def _time_step(method: PromptMethod, rows: EncodedExamples, step: int, size: int, seed: int) -> float:
    batch = rows.training_batch(step, size, seed)
    began = time.perf_counter()
    loss, _, _ = method.stages()[-1].objective(batch, rows.make_forward_fn(batch))
    loss.backward()  # type: ignore[no-untyped-call]
    seconds = time.perf_counter() - began
    method.zero_grad()
    return seconds


def _similarity_of_sources(run: Run, model_cache: ModelCache) -> float:
    """Return Spearman's correlation of the sources' similarity to the target with their zero-shot scores on it.

    The similarity is the run's own, between prompts of the same age. Each source prompt is scored on the target's
    validation examples before any training on them.
    """
    loaded, state = load_run_prompt(run, model_cache), run.prompt()
    if "P_s" not in state or "similarity" not in state:
        raise StoreError(f"run {run.id} of {run.config.method} retrieves no source prompts by similarity")
    rows = loaded.encode(loaded.task, loaded.subsampled_task().validation)
    scores = [
        evaluate(StaticPrompt(loaded.method.card, len(P), P[None]).to(loaded.backbone.device), rows).score
        for P in state["P_s"].to(torch.float32)
    ]
    return rank_correlation(state["similarity"].tolist(), scores)


METRICS: dict[str, Callable[[Run, ModelCache], float]] = {
    "test": lambda run, model_cache: _test_score(run),
    "validation": lambda run, model_cache: _validation_score(run),
    "start": lambda run, model_cache: _initial_score(run),
    "converged": lambda run, model_cache: _steps_to_converge(run),
    "trained": _count_trainable,
    "rank_start": _make_rank(0),
    "rank_end": _make_rank(-1),
    "step_time": _relative_step_time,
    "similarity": _similarity_of_sources,
    "none": lambda run, model_cache: 0.0,
}
"""Metrics of a finished run by name: scores, or counts. "none" is no relation, which a correlation is compared with."""
GROUP_METRICS: dict[str, Callable[[Sequence[Run]], float]] = {"vote": lambda runs: score_runs(runs).vote}
"""Metrics of all settings of an arm together, by name."""
COUNT_METRICS = {"trained": "trained parameters", "converged": "steps to 95% of the best validation score",
                 "rank": "effective rank", "correlation": "Spearman's correlation",
                 "step_time": "time of a step as a share of prompt tuning's with 100 tokens"}  # fmt: skip
"""What the metrics count that are no scores; "rank" compares arms that measure it at different steps."""
