"""Early stopping of lagging runs by ASHA, from their validation scores while they train.

At ``grace`` steps, and at ``reduction`` times as many again and again, a run is stopped if its best score so far is
below that of the best ``1 / reduction`` of the runs that came there before. Only runs on the same tasks and backbone
are compared: a hard task is no reason to stop a run.

Source: Li et al., "A System for Massively Parallel Hyperparameter Tuning", MLSys 2020,
https://arxiv.org/abs/1810.05934; in the variant that stops, as the ``ASHAScheduler`` of Ray Tune does.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np

from ptviz.experiments.planned_runs import PlannedRun
from ptviz.experiments.sweep import STOPPED_EARLY, EarlyStopping
from ptviz.runs.config import RunConfig
from ptviz.runs.run import Run
from ptviz.runs.run_file_io import StoreError
from ptviz.runs.status import ACTIVE_STATES
from ptviz.runs.store import Store

if TYPE_CHECKING:
    from ptviz.executors.base import Executor


class Halving:
    """ASHA's decisions for runs that are compared with each other."""

    def __init__(self, stopping: EarlyStopping, steps: int) -> None:
        """Set the rungs: the steps at which runs of at most ``steps`` are compared."""
        self.reduction = stopping.reduction
        self._rungs: list[tuple[int, dict[str, float]]] = []
        rung = stopping.grace
        while rung < steps:
            self._rungs.insert(0, (rung, {}))
            rung *= stopping.reduction

    def falls_behind(self, run: str, step: int, score: float) -> bool:
        """Return whether a run is to stop, with its best ``score`` after ``step`` steps; higher is better.

        A run is compared once at each rung, with those that were there before it.
        """
        for rung, scores in self._rungs:
            if step < rung or run in scores:
                continue
            others = [*scores.values()]
            scores[run] = score
            return bool(others) and score < float(np.percentile(others, 100 * (1 - 1 / self.reduction)))
        return False


class EarlyStopper:
    """Follows the runs of a sweep in the store, and stops those that fall behind.

    Runs that have ended, as of an earlier call of the same command, are compared with too.
    """

    def __init__(self, executor: Executor, stopping: EarlyStopping, planned: Iterable[PlannedRun]) -> None:
        self.executor, self._stopping = executor, stopping
        self._steps = max((entry.config.training.steps for entry in planned), default=0)
        self._groups: dict[str, Halving] = {}
        self._seen: dict[str, int] = {}
        self._best: dict[str, float] = {}

    def stop_lagging_runs(self, planned: Iterable[PlannedRun]) -> list[str]:
        """Stop the active runs that fall behind, and return them.

        Raises:
            StoreError: if a run cannot be written.
        """
        stopped = []
        for entry in planned:
            if entry.run is None or entry.state == "queued":
                continue
            with suppress(StoreError):  # It was deleted in the meantime.
                run = self.executor.store.get(entry.run)
                if self._falls_behind(run, entry.config) and run.status().state in ACTIVE_STATES:
                    self.executor.stop(run.id, STOPPED_EARLY)
                    stopped.append(run.id)
        return stopped

    def _falls_behind(self, run: Run, config: RunConfig) -> bool:
        """Return whether a run falls behind at one of its evaluations since the last look."""
        halving = self._groups.setdefault(comparison_group(config), Halving(self._stopping, self._steps))
        history, seen = run.history(), self._seen.get(run.id, 0)
        found = False
        for step, evaluation in zip(history.evaluation_steps[seen:], history.evaluations[seen:], strict=True):
            self._best[run.id] = max(self._best.get(run.id, float("-inf")), evaluation.accuracy)
            if step < config.training.steps:  # The last evaluation is no reason to stop a run.
                found = halving.falls_behind(run.id, step, self._best[run.id]) or found
        self._seen[run.id] = max(seen, len(history.evaluations))
        return found


def comparison_group(config: RunConfig) -> str:
    """Return what the runs have in common that are compared: tasks and backbone."""
    return "\n".join([config.backbone, *config.targets])


def was_stopped_early(store: Store, entry: PlannedRun) -> bool:
    """Return whether ASHA stopped a run: it is not trained again."""
    if entry.run is None or entry.state != "stopped":
        return False
    with suppress(StoreError):
        return store.get(entry.run).status().reason.startswith(STOPPED_EARLY)
    return False
