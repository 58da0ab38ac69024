"""What a run will be, before it starts: stages, sizes, and an honest guess of its time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ptviz.backbones import catalogue
from ptviz.methods.base import build, learns_from_sources
from ptviz.prompt import Spec
from ptviz.tasks import default_sources
from ptviz.training.config import TrainConfig
from ptviz.training.default_lr import default_rate, record, swept
from ptviz.training.stage_steps import stage_steps


@dataclass(frozen=True)
class Plan:
    """What a run will be.

    Stages as (name, updates); scalars trained and stored; the frozen backbone's scalars; the learning rate that will
    be used; seconds on the machine of the recorded sweep, None where nothing was recorded; and remarks.
    """

    stages: tuple[tuple[str, int], ...]
    trained: int | None
    stored: int | None
    frozen: int | None
    lr: float
    seconds: float | None
    notes: tuple[str, ...]


def plan(
    method: str,
    backbone: str,
    task: str,
    config: TrainConfig,
    knobs: Mapping[str, Any],
    sources: tuple[str, ...] | None = None,
) -> Plan:
    """The plan of a run, without loading a backbone. ``sources`` None takes the default source tasks.

    Raises:
        ValueError: for an unknown method or a bad knob.
    """
    sizes = next((info for info in catalogue() if info.name == backbone), None)
    notes = []
    shape = (sizes.width, sizes.sites, sizes.heads, sizes.head_width) if sizes else (2, 1, 1, 2)
    named = sources if sources is not None else default_sources(task)
    built = build(
        method, Spec.of_shape(*shape, length=config.length, sources=named if learns_from_sources(method) else ()), knobs
    )
    if sizes is None:
        notes.append("The sizes of this backbone are known once it is loaded.")
    if sizes is not None and sizes.random:
        notes.append("This backbone has random weights: it shows how things work, not what they achieve.")
    if config.lr is None and not swept(method, backbone):
        notes.append("No sweep was recorded for this method on this backbone: the learning rate is a first guess.")
    if built.transfers:
        notes.append(f"Source tasks: {', '.join(named)}.")
    if built.library:
        notes.append(
            f"Source prompts of {built.slots} tokens come first, {config.source_steps} steps each; "
            "those that were trained before are reused."
        )
    legs = built.stages()
    stages = tuple((stage.name, count) for stage, count in zip(legs, stage_steps(legs, config), strict=True))
    measured = record().get(backbone, {}).get(method, {}).get("steps_per_second")
    total = sum(steps for _, steps in stages)
    seconds = None
    if measured:
        # The sweep ran 16 rows a step on inputs of its own length; rows scale the time nearly linearly.
        seconds = (
            total / measured * config.batch / 16 + (total / config.evaluate_every + 3) * config.validation_rows * 0.004
        )
        notes.append("Time as on the two-core machine of the recorded sweep.")
    known = sizes is not None
    return Plan(
        stages, built.trained() if known else None, built.stored() if known else None,
        sizes.parameters if sizes and sizes.parameters else None, config.lr or default_rate(method, backbone),
        seconds, tuple(notes),
    )  # fmt: skip
