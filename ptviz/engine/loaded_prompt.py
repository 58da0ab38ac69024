"""A trained method in memory, ready to answer: a run at one of its steps, or a saved prompt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ptviz.backbones import Backbone
from ptviz.engine.model_cache import ModelCache
from ptviz.methods import REGISTRY
from ptviz.methods.base import PromptMethod
from ptviz.methods.static_prompt import StaticPrompt
from ptviz.runs import saved_prompts
from ptviz.runs.atomic_io import StoreError
from ptviz.runs.config import RunConfig
from ptviz.runs.load_state import load_state
from ptviz.runs.run import Run
from ptviz.runs.status import ACTIVE_STATES
from ptviz.runs.store import Store
from ptviz.tasks import Task
from ptviz.training.source_prompts import SOURCE_METHOD


@dataclass(frozen=True)
class LoadedPrompt:
    """A trained method at one stage and step, with its backbone and task.

    ``position`` holds "stage" and "step"; it is empty for a saved prompt.
    """

    config: RunConfig
    backbone: Backbone
    task: Task
    method: PromptMethod
    position: dict[str, int]


def load_run_prompt(
    run: Run, model_cache: ModelCache, stage: int | None = None, step: int | None = None
) -> LoadedPrompt:
    """Load a run's trained method with its backbone and task; ``select_state`` says which step is the default.

    Raises:
        StoreError: if the run has no such prompt, or its shapes do not fit.
    """
    config = run.config.checked()
    state, stage, step = select_state(run, stage, step)
    backbone, task = model_cache.backbone(config), model_cache.task(config)
    method = model_cache.backend.build_method(config, backbone, task)
    load_state(method, state)
    method.eval()
    return LoadedPrompt(config, backbone, task, method, {"stage": stage, "step": step})


def load_saved_prompt(store: Store, model_cache: ModelCache, id: str, task: str) -> LoadedPrompt:
    """Load a saved prompt with its backbone and the texts of a task.

    Raises:
        StoreError: if there is no such prompt, no backbone is set for it, or its shapes do not fit that.
    """
    one = saved_prompts.get_saved_prompt(store.prompts_folder, id)
    if not one.backbone:
        raise StoreError(
            "it is not known for which backbone this prompt is: open its checkpoint again, choose the backbone, "
            "and save it"
        )
    config = RunConfig(one.backbone, task, SOURCE_METHOD)
    backbone, own = model_cache.backbone(config), model_cache.task(config)
    wanted = {
        "embeddings": (one.m, backbone.width),
        "key_values": (backbone.sites, 2, backbone.heads, one.m, backbone.head_width),
    }
    for name, shape in one.shapes.items():
        if shape != wanted[name]:
            raise StoreError(f"{name} of this prompt: expected {wanted[name]} for {one.backbone}; got {shape}")
    whole = saved_prompts.to_prompt(saved_prompts.load_prompt_tensors(store.prompts_folder, id))
    slots = 0 if whole.embeddings is None else one.m
    method = StaticPrompt(REGISTRY[SOURCE_METHOD].card, slots, whole.embeddings, whole.key_values).to(backbone.device)
    return LoadedPrompt(config, backbone, own, method, {})


def select_state(run: Run, stage: int | None, step: int | None) -> tuple[dict[str, Any], int, int]:
    """A state dict and its place: the asked one, or the newest of a living run, or the best of a run that is over."""
    snapshots = run.snapshots()
    if step is not None:
        last = snapshots[-1].stage if snapshots else 0
        place = (last if stage is None else stage), step
        return run.snapshot(*place), *place
    status = run.status()
    if status.state in ACTIVE_STATES and snapshots:
        newest = snapshots[-1]
        return run.snapshot(newest.stage, newest.step), newest.stage, newest.step
    if status.state in ACTIVE_STATES:
        raise StoreError("this run has no prompt yet: wait for its first snapshot")
    return run.prompt(), status.stage, status.best_step or status.kept or 0
