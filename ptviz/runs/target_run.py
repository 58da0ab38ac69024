"""One target task of a run that trained several, read as a run of its own.

``TargetRun`` has the id ``RUN@TASK``. Its config names that task alone, and its tensors, scores and predictions are
those of the task, so that whatever reads a run (predict, export, the figures) reads it too. It has no files of its own:
training, stopping and deleting are for the whole run.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from ptviz.runs.config import RunConfig, target_slug
from ptviz.runs.environment import TABLES_FIELD
from ptviz.runs.history import RunHistory
from ptviz.runs.prediction_files import ZERO_SHOT, ZERO_SHOT_CONFIDENCE, ZERO_SHOT_SCORE
from ptviz.runs.run import Run
from ptviz.runs.run_file_io import StoreError
from ptviz.runs.snapshots import ResumeState
from ptviz.runs.status import Status
from ptviz.tasks.metrics import ACCURACY, Metric, recorded_metric
from ptviz.training.events import Baselines, Evaluated, Event, Finished

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

TARGET_MARK = "@"
"""Stands between the id of a run and one of its target tasks."""
METRICS_FIELD = "metrics"
"""In the environment of a run on several tasks: the metric of each."""
_FIRST_COLUMNS = ("text", "label", "references", "predicted", "score")
_LAST_COLUMNS = (ZERO_SHOT, ZERO_SHOT_CONFIDENCE, ZERO_SHOT_SCORE)
E = TypeVar("E", bound=Event)


class TargetRun(Run):
    """One target task of a run on several; ``target`` counts from 0."""

    def __init__(self, whole: Run, target: int) -> None:
        super().__init__(whole.path)
        self.whole, self.target = whole, target
        self.id = f"{whole.id}{TARGET_MARK}{target_slug(whole.config.targets[target])}"

    @property
    def config(self) -> RunConfig:
        """Return the run's config with this target alone."""
        return self.whole.config.for_target(self.target)

    def status(self) -> Status:
        """Return the run's status with the scores of this target."""
        return status_of_target(self.whole.status(), self.history())

    def events(self, after: int = 0) -> tuple[list[Event], int]:
        """Return the events after byte ``after`` with what they say of this target, and the offset to go on."""
        events, end = self.whole.events(after)
        return [_event_of_target(event, self.target) for event in events], end

    def history(self) -> RunHistory:
        """Return the run's metrics: its losses and steps, and the scores of this target."""
        found = self.whole.history()
        return replace(
            found,
            evaluations=tuple(_event_of_target(one, self.target) for one in found.evaluations),
            baselines=found.baselines and _event_of_target(found.baselines, self.target),
            finished=found.finished and _event_of_target(found.finished, self.target),
        )

    def snapshot(self, stage: int, step: int, *, merged: bool = False) -> dict[str, Tensor]:
        """Return the state of this target's method after ``step`` updates of ``stage``.

        Raises:
            StoreError: if there is no such snapshot, or it is damaged.
        """
        return self._state(self.whole.snapshot(stage, step, merged=merged))

    def prompt(self) -> dict[str, Tensor]:
        """Return the state of this target's method at the run's best step.

        Raises:
            StoreError: if there is no snapshot yet, or the file is damaged.
        """
        return self._state(self.whole.prompt())

    def initial_state(self) -> dict[str, Tensor] | None:
        """Return the initial state of a branch, of this target; None if the run is none."""
        found = self.whole.initial_state()
        return None if found is None else self._state(found)

    def resume_state(self) -> ResumeState | None:
        """Refuse: a run is resumed as a whole.

        Raises:
            StoreError: always.
        """
        raise StoreError(f"{self.id} is one target of run {self.whole.id}: resume the whole run")

    def environment(self) -> dict[str, Any]:
        """Return versions, machine and seed of the run, and the metric and the tables of this target.

        Raises:
            StoreError: if the file is damaged.
        """
        found = self.whole.environment()
        if not found:
            return found
        own = {**found, "metric": self.metric.name}
        if tables := found.get(TABLES_FIELD):
            own[TABLES_FIELD] = [*tables[self.target :][:1], *tables[len(self.whole.config.targets) :]]
        return own

    @property
    def metric(self) -> Metric:
        """Return the metric of this target; accuracy before the run first ran."""
        try:
            names = self.whole.environment().get(METRICS_FIELD, [])
        except StoreError:
            names = []
        return recorded_metric(str(names[self.target])) if self.target < len(names) else ACCURACY

    def predictions(self) -> pd.DataFrame | None:
        """Return the test predictions of this target, with its own columns only; None if absent.

        Raises:
            StoreError: if the file is damaged.
        """
        found = self.whole.predictions()
        if found is None or "task" not in found:
            return None
        own = found[found["task"] == self.config.task].drop(columns="task")
        own = own.dropna(axis=1, how="all").reset_index(drop=True)
        first, last = ([name for name in names if name in own] for names in (_FIRST_COLUMNS, _LAST_COLUMNS))
        return own[[*first, *(name for name in own if name not in (*first, *last)), *last]]

    def _state(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        from ptviz.methods import REGISTRY

        return REGISTRY[self.config.method].state_of_target(state, self.target)


def find_target(whole: Run, name: str) -> TargetRun:
    """Return the target of a run on several tasks by the task's name, or by its short form in ids.

    Raises:
        StoreError: if it is none of the run's targets.
    """
    targets = whole.config.targets
    for index, task in enumerate(targets):
        if len(targets) > 1 and name in (task, target_slug(task)):
            return TargetRun(whole, index)
    raise StoreError(f"run {whole.id} has no target task {name!r}: expected one of {', '.join(targets)}")


def split_targets(run: Run) -> list[Run]:
    """Return a run on one task itself, and one for each target of a run on several."""
    count = len(run.config.targets)
    return [run] if count == 1 or isinstance(run, TargetRun) else [TargetRun(run, index) for index in range(count)]


def status_of_target(status: Status, history: RunHistory) -> Status:
    """Return a run's status with the scores of one target, whose history is given."""
    best, baselines, finished = history.best_evaluation, history.baselines, history.finished
    return replace(
        status,
        accuracy=finished.validation if finished else best.accuracy if best else None,
        majority=baselines.majority if baselines else None,
        zero_shot=baselines.zero_shot if baselines else None,
        test=finished.test if finished else None,
    )


def _event_of_target(event: E, target: int) -> E:
    """Return the part of an event that is about one target; the event itself if it has no parts."""
    if isinstance(event, Baselines | Evaluated | Finished) and target < len(event.tasks):
        return event.tasks[target]  # type: ignore[return-value]  # An event's parts are of its own kind.
    return event
