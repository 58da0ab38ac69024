"""Estimate a run before it starts: stages, sizes, and approximate time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ptviz.backbones.listing import named_backbone
from ptviz.methods import list_methods, method_uses_source_tasks
from ptviz.tasks import default_source_tasks
from ptviz.training.config import TrainConfig
from ptviz.training.default_lr import default_learning_rate, has_recorded_lr, load_sweep_winners

if TYPE_CHECKING:
    from ptviz.methods import PromptMethod


@dataclass(frozen=True)
class RunEstimate:
    """The estimated size and cost of a run.

    Stages as (name, updates); scalars trained and stored; the frozen backbone's scalars; the learning rate that will
    be used; seconds on the machine of the recorded sweep, None where nothing was recorded; remarks; and the positions
    that the prompt takes in an input.
    """

    stages: tuple[tuple[str, int], ...]
    trainable_parameters: int | None
    stored_parameters: int | None
    frozen_parameters: int | None
    lr: float
    seconds: float | None
    notes: tuple[str, ...]
    slots: int


def estimate_run(
    method: str,
    backbone: str,
    task: str,
    config: TrainConfig,
    hyperparameters: Mapping[str, Any],
    sources: tuple[str, ...] | None = None,
    targets: int = 1,
) -> RunEstimate:
    """Return the estimate of a run, without loading a backbone. ``sources`` None takes the default source tasks.

    ``targets`` is the number of target tasks, of which ``task`` is the first.

    Raises:
        ValueError: for an unknown method or a bad hyperparameter.
    """
    from ptviz.training.stage_steps import count_stage_steps

    sizes = named_backbone(backbone)
    notes = []
    # Unknown sizes are not counted; a site that the backbone may have is not refused.
    shape = (sizes.width, sizes.sites, sizes.heads, sizes.head_width) if sizes else (2, 10_000, 1, 2)
    named = sources if sources is not None else default_source_tasks(task)
    known = list_methods()
    used = named if method_uses_source_tasks(method) else ()
    checked = known[method].check_hyperparameters(hyperparameters) if method in known else {}
    built = _build_without_values(method, (*shape, config.length, used), targets, tuple(checked.items()))
    if sizes is None:
        notes.append("The sizes of this backbone are known once it is loaded.")
    if sizes is not None and sizes.random:
        notes.append("This backbone has random weights: its results are meaningless.")
    if config.lr is None and not has_recorded_lr(method, backbone):
        notes.append("No sweep was recorded for this method on this backbone: the learning rate is a fallback.")
    if built.uses_source_tasks:
        notes.append(f"Source tasks: {', '.join(named)}.")
    if built.needs_source_prompts:
        each = f"Source prompts of {built.slots} tokens are trained first, {config.source_steps} steps each"
        notes.append(f"{each}; existing ones are reused.")
    planned = built.stages()
    steps = count_stage_steps(planned, config)
    stages = tuple((stage.name, count) for stage, count in zip(planned, steps, strict=True))
    measured = load_sweep_winners().get(backbone, {}).get(method, {}).get("steps_per_second")
    total, seconds = sum(steps), None
    if measured and targets == 1:
        # The sweep used batches of 16; the time is nearly proportional to the number of examples.
        evaluated = (total / config.evaluate_every + 3) * config.validation_rows
        seconds = total / measured * config.batch / 16 + evaluated * 0.004
    return RunEstimate(
        stages, built.trainable_parameters() if sizes else None, built.stored_parameters() if sizes else None,
        sizes.parameters if sizes and sizes.parameters else None, config.lr or default_learning_rate(method, backbone),
        seconds, tuple(notes), built.slots,
    )  # fmt: skip


@lru_cache(maxsize=256)  # A plan has many runs of one method, which differ in seed and learning rate.
def _build_without_values(
    method: str, sizes: tuple[Any, ...], targets: int, hyperparameters: tuple[tuple[str, Any], ...]
) -> PromptMethod:
    from ptviz.methods import build_method
    from ptviz.prompt import Spec

    return build_method(method, replace(Spec.from_sizes(*sizes), targets=targets), dict(hyperparameters))
