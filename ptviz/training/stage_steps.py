"""Number of updates of each stage of a run."""

from __future__ import annotations

from collections.abc import Sequence

from ptviz.methods.base import Stage
from ptviz.training.config import TrainConfig


def count_stage_steps(stages: Sequence[Stage], config: TrainConfig) -> tuple[int, ...]:
    """Return the number of updates of each stage, at least one.

    Stages on source tasks only get their fraction of ``source_steps``. The others share ``steps``, rounded so that they
    add up; the steps of an extension go to the last of them.
    """
    planned = config.planned_steps or config.steps
    last = max((i for i, stage in enumerate(stages) if stage.tasks != "sources"), default=-1)
    counts, spent = [], 0
    for index, stage in enumerate(stages):
        if stage.tasks == "sources":
            counts.append(max(1, round(stage.step_fraction * config.source_steps)))
            continue
        count = config.steps - spent if index == last else round(stage.step_fraction * planned)
        counts.append(max(1, count))
        spent += counts[-1]
    return tuple(counts)
