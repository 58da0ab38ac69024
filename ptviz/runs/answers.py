"""What the worker does for letters: class probabilities with and without a prompt, and loading things ahead."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ptviz.backbones import Backbone
from ptviz.methods import REGISTRY
from ptviz.methods.base import PromptMethod
from ptviz.methods.folded import Folded
from ptviz.runs import prompts
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
from ptviz.training.library import METHOD


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
    """A run's method as it was at a place (stage and step), ready to answer on its warm backbone and task.

    A kept prompt has no place.
    """

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


def opened_kept(store: Store, warm: Warm, id: str, task: str) -> Opened:
    """Open the kept prompt called ``id`` in front of the backbone it is for, to answer about the texts of a task.

    Raises:
        StoreError: if there is no such prompt, nobody said which backbone it is for, or its shapes do not fit that.
    """
    one = prompts.get(store, id)
    if not one.backbone:
        raise StoreError(
            "nobody said which backbone this prompt is for, and without one no text can meet it: open its checkpoint "
            "again, choose the backbone, and keep it"
        )
    config = RunConfig(one.backbone, task, METHOD)
    backbone, own = warm.backbone(config), warm.task(config)
    wanted = {
        "embeddings": (one.m, backbone.width),
        "key_values": (backbone.sites, 2, backbone.heads, one.m, backbone.head_width),
    }
    for name, shape in one.shapes.items():
        if shape != wanted[name]:
            raise StoreError(f"{name} of this prompt: expected {wanted[name]} for {one.backbone}; got {shape}")
    whole = prompts.whole(prompts.tensors(store, id))
    slots = 0 if whole.embeddings is None else one.m
    method = Folded(REGISTRY[METHOD].card, slots, whole.embeddings, whole.key_values).to(backbone.device)
    return Opened(config, backbone, own, method, {})


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
