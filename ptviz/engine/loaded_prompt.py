"""A trained method in memory, ready to predict: a run at one of its steps, or a saved prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from ptviz.backbones import Backbone
from ptviz.engine.model_cache import ModelCache
from ptviz.methods import list_methods
from ptviz.methods.base import PromptMethod
from ptviz.methods.static_prompt import StaticPrompt
from ptviz.prompt import Prompt
from ptviz.runs import saved_prompts
from ptviz.runs.config import RunConfig
from ptviz.runs.restore_method import restore_method
from ptviz.runs.run import Run
from ptviz.runs.run_file_io import StoreError
from ptviz.runs.status import ACTIVE_STATES
from ptviz.runs.store import Store
from ptviz.runs.target_run import split_targets
from ptviz.tasks import Example, Task
from ptviz.training.batches import EncodedExamples
from ptviz.training.evaluation import subsample_task
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

    def subsampled_task(self) -> Task:
        """Return the task with only the examples that the run uses."""
        return subsample_task(self.task, self.config.training)

    def encode(self, task: Task, examples: Sequence[Example]) -> EncodedExamples:
        """Encode examples of a task as the run does."""
        return EncodedExamples(self.backbone, task, examples, self.method.slots, self.config.training.length)


def load_run_prompt(
    run: Run, model_cache: ModelCache, stage: int | None = None, step: int | None = None
) -> LoadedPrompt:
    """Load a run's trained method with its backbone and task; ``select_state`` says which step is the default.

    Raises:
        StoreError: if the run has no such prompt, or its shapes do not fit.
    """
    config = check_one_target(run).config.checked()
    state, stage, step = select_state(run, stage, step)
    backbone, task = model_cache.backbone(config), model_cache.task(config)
    method = model_cache.backend.build_method(config, backbone, task)
    method = restore_method(method, state).to(backbone.device).eval()
    return LoadedPrompt(config, backbone, task, method, {"stage": stage, "step": step})


def load_saved_prompt(store: Store, model_cache: ModelCache, id: str, task: str) -> LoadedPrompt:
    """Load a saved prompt with its backbone and the texts of a task.

    Raises:
        StoreError: if there is no such prompt, it has no backbone, or its shapes do not fit the backbone.
    """
    method, backbone, config = load_saved_method(store, model_cache, id)
    config = replace(config, task=task)
    return LoadedPrompt(config, backbone, model_cache.task(config), method, {})


def load_saved_method(store: Store, model_cache: ModelCache, id: str) -> tuple[PromptMethod, Backbone, RunConfig]:
    """Load a saved prompt as a static method, its backbone, and a config that names both.

    Raises:
        StoreError: if there is no such prompt, it has no backbone, or its shapes do not fit the backbone.
    """
    saved = saved_prompts.get_saved_prompt(store.prompts_folder, id)
    if not saved.backbone:
        raise StoreError(
            "the backbone of this prompt is unknown: open its checkpoint again, choose the backbone, and save it"
        )
    config = RunConfig(backbone=saved.backbone, method=SOURCE_METHOD)
    backbone = model_cache.backbone(config)
    tensors = saved_prompts.load_prompt_tensors(store.prompts_folder, id)
    return make_static_method(saved_prompts.to_prompt(tensors), backbone), backbone, config


def make_static_method(prompt: Prompt, backbone: Backbone) -> PromptMethod:
    """Return a prompt as a method that nothing trains, on the device of its backbone.

    Raises:
        StoreError: if a shape does not fit the backbone.
    """
    embeddings, key_values = prompt.embeddings, prompt.key_values
    slots = 0 if embeddings is None else embeddings.shape[1]
    checks: list[tuple[str, Tensor, tuple[int, ...]]] = []
    if embeddings is not None:
        checks.append(("embeddings", embeddings[0], (slots, backbone.width)))
    if key_values is not None:
        expected = (backbone.sites, 2, backbone.heads, key_values.shape[4], backbone.head_width)
        checks.append(("key_values", key_values[:, :, 0], expected))
    for name, tensor, shape in checks:
        if tensor.shape != shape:
            raise StoreError(f"{name} of this prompt: expected {shape} for {backbone.name}; got {tuple(tensor.shape)}")
    static = StaticPrompt(list_methods()[SOURCE_METHOD].card, slots, embeddings, key_values)
    return static.to(backbone.device)


def check_one_target(run: Run) -> Run:
    """Return the run if it has one target task.

    Raises:
        StoreError: naming the targets of a run on several.
    """
    names = [one.id for one in split_targets(run)]
    if len(names) > 1:
        raise StoreError(f"run {run.id} has {len(names)} target tasks: name one of them, as in {', '.join(names)}")
    return run


def select_state(run: Run, stage: int | None, step: int | None) -> tuple[dict[str, Any], int, int]:
    """Return a state, its stage and its step: the requested one, an active run's newest, or a run's best."""
    snapshots = run.snapshots()
    if step is not None:
        if stage is None:
            stage = snapshots[-1].stage if snapshots else 0
        return run.snapshot(stage, step, merged=True), stage, step
    status = run.status()
    if status.state in ACTIVE_STATES and snapshots:
        newest = snapshots[-1]
        return run.snapshot(newest.stage, newest.step, merged=True), newest.stage, newest.step
    if status.state in ACTIVE_STATES:
        raise StoreError("this run has no prompt yet: wait for its first snapshot")
    stage, step = status.best_place or (status.stage, status.saved_step or 0)
    return run.prompt(), stage, step
