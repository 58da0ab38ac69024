"""What the worker does for letters: class probabilities with and without a prompt, and loading things ahead."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ptviz.backbones import Backbone
from ptviz.methods.base import PromptMethod
from ptviz.runs.config import RunConfig
from ptviz.runs.disk import StoreError
from ptviz.runs.mailbox import Letter
from ptviz.runs.reasons import of_exception, out_of_memory
from ptviz.runs.run import Run
from ptviz.runs.status import ALIVE
from ptviz.runs.store import Store
from ptviz.runs.warm import Warm
from ptviz.runs.work import load
from ptviz.tasks import Task


class Answers:
    """Answers letters with what the worker has in memory."""

    def __init__(self, store: Store, warm: Warm) -> None:
        self.store = store
        self.warm = warm

    def predict(self, letter: Letter) -> dict[str, Any]:
        """``{"classes", "with", "without", "stage", "step"}``, or ``{"error"}`` in words for a person."""
        try:
            return self._predict(**letter.body)
        except Exception as error:
            if out_of_memory(error):
                self.warm.forget()
            return {"error": of_exception(error, None)}

    def _predict(self, run: str, texts: list[str], stage: int | None, step: int | None) -> dict[str, Any]:
        at = opened(self.store, self.warm, run, stage, step)
        length = at.config.training.length
        return {
            "classes": list(at.task.classes),
            "with": self.warm.engine.predict(at.method, at.backbone, at.task, texts, length).tolist(),
            "without": self.warm.engine.predict(None, at.backbone, at.task, texts, length).tolist(),
            **at.place,
        }

    def warm_up(self, letter: Letter) -> str | None:
        """Load a run's backbone and task ahead of it; the backbone's name, or None if that cannot be had."""
        try:
            config = RunConfig.from_json(letter.body)
            self.warm.backbone(config)
            self.warm.task(config)
        except Exception:
            # Only a hint: the run itself will say what is wrong, to the person who wants it.
            return None
        return config.backbone


@dataclass(frozen=True)
class Opened:
    """A run's method as it was at a place (stage and step), ready to answer on its warm backbone and task."""

    config: RunConfig
    backbone: Backbone
    task: Task
    method: PromptMethod
    place: dict[str, int]


def opened(store: Store, warm: Warm, run: str, stage: int | None, step: int | None) -> Opened:
    """Open a run at a step, as ``chosen`` finds it.

    Raises:
        StoreError: if the run has no such prompt, or its shapes do not fit.
    """
    found = store.get(run)
    config = found.config.checked()
    state, stage, step = chosen(found, stage, step)
    backbone, task = warm.backbone(config), warm.task(config)
    method = warm.engine.build(config, backbone, task)
    load(method, state)
    method.eval()
    return Opened(config, backbone, task, method, {"stage": stage, "step": step})


def chosen(run: Run, stage: int | None, step: int | None) -> tuple[dict[str, Any], int, int]:
    """A state dict and its place: the asked one, or the newest of a living run, or the best of a run that is over."""
    snapshots = run.snapshots()
    if step is not None:
        last = snapshots[-1].stage if snapshots else 0
        place = (last if stage is None else stage), step
        return run.snapshot(*place), *place
    status = run.status()
    if status.state in ALIVE and snapshots:
        newest = snapshots[-1]
        return run.snapshot(newest.stage, newest.step), newest.stage, newest.step
    if status.state in ALIVE:
        raise StoreError("this run has no prompt yet: wait for its first snapshot")
    return run.prompt(), status.stage, status.best_step or status.kept or 0
