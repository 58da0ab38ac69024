"""Metrics of a finished run: scores, steps to converge, effective rank, trainable parameters."""

from __future__ import annotations

from collections.abc import Callable

from ptviz.analysis.comparison import steps_to_reach
from ptviz.engine.loaded_prompt import load_run_prompt
from ptviz.engine.model_cache import ModelCache
from ptviz.prompt_statistics import effective_rank
from ptviz.runs.atomic_io import StoreError
from ptviz.runs.run import Run
from ptviz.training.events import Finished


def _test_score(run: Run) -> float:
    return _finished(run).test


def _validation_score(run: Run) -> float:
    return _finished(run).validation


def _finished(run: Run) -> Finished:
    finished = run.history().finished
    if finished is None:
        raise StoreError(f"run {run.id} has not finished")
    return finished


def _initial_score(run: Run) -> float:
    """Return the validation score before the first update of the last stage."""
    evaluations = run.history().evaluations
    return next(found.accuracy for found in evaluations if found.stage == evaluations[-1].stage)


def _steps_to_converge(run: Run) -> float:
    """Return the steps to 95 % of the run's own best validation score."""
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


METRICS: dict[str, Callable[[Run, ModelCache], float]] = {
    "test": lambda run, model_cache: _test_score(run),
    "validation": lambda run, model_cache: _validation_score(run),
    "start": lambda run, model_cache: _initial_score(run),
    "converged": lambda run, model_cache: _steps_to_converge(run),
    "trained": _count_trainable,
    "rank_start": _make_rank(0),
    "rank_end": _make_rank(-1),
}
"""Metrics of a finished run by name: scores, or counts."""
COUNT_METRICS = {"trained": "trained parameters", "converged": "steps to 95 % of the best validation score",
                 "rank": "effective rank"}  # fmt: skip
"""What the metrics count that are no scores; "rank" compares arms that measure it at different steps."""
