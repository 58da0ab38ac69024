"""What the worker does for letters: class probabilities with and without a prompt, and loading things ahead."""

from __future__ import annotations

from typing import Any

from ptviz.runs.config import RunConfig
from ptviz.runs.disk import StoreError
from ptviz.runs.mailbox import Letter
from ptviz.runs.reasons import of_exception, out_of_memory
from ptviz.runs.run import Run
from ptviz.runs.status import ALIVE
from ptviz.runs.store import Store
from ptviz.runs.warm import Warm
from ptviz.runs.work import load


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
        found = self.store.get(run)
        config = found.config.checked()
        state, stage, step = chosen(found, stage, step)
        backbone, task = self.warm.backbone(config), self.warm.task(config)
        method = self.warm.engine.build(config, backbone, task)
        load(method, state)
        length = config.training.length
        return {
            "classes": list(task.classes),
            "with": self.warm.engine.predict(method, backbone, task, texts, length).tolist(),
            "without": self.warm.engine.predict(None, backbone, task, texts, length).tolist(),
            "stage": stage,
            "step": step,
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
