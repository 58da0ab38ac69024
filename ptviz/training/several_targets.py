"""One run on several target tasks: its events hold the means over the tasks, and in ``tasks`` the event of each.

The mean of the tasks' scores chooses the best step. It is the plain mean, as in the averages of GLUE and SuperGLUE that
ATTEMPT (https://arxiv.org/abs/2205.11961) and MPT (https://arxiv.org/abs/2303.02861) report. With one task an event is
that task's own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any, TypeVar

from ptviz.methods import check_target_count
from ptviz.tasks import Task
from ptviz.training.events import Baselines, Evaluated, Finished

E = TypeVar("E", Baselines, Evaluated, Finished)
_MEAN_FIELDS = (
    "majority", "zero_shot", "zero_shot_loss", "loss", "accuracy", "validation", "test", "test_loss"
)  # fmt: skip
_FIELDS_OF_ONE_TASK = ("copying", "in_context", "shown", "inputs", "references", "unprompted", "written")


def mean_event(events: Sequence[E]) -> E:
    """Return the event of a run on several tasks from those of its tasks, in order: the means, and all of them."""
    if len(events) == 1:
        return events[0]
    changes: dict[str, Any] = {"tasks": tuple(events)}
    for field in fields(events[0]):
        if field.name in _MEAN_FIELDS:
            changes[field.name] = math.fsum(getattr(event, field.name) for event in events) / len(events)
        elif field.name in _FIELDS_OF_ONE_TASK:
            changes[field.name] = field.default
    return replace(events[0], **changes)


def mark_best(evaluated: Evaluated) -> Evaluated:
    """Return an evaluation as that of the best prompt so far, on each of its tasks too."""
    return replace(evaluated, best=True, tasks=tuple(replace(one, best=True) for one in evaluated.tasks))


def check_targets(method: str, targets: Sequence[Task], sources: Sequence[Task]) -> None:
    """Check that a method can be trained on these target tasks at once.

    Raises:
        ValueError: if it trains one at a time, or tasks share a name.
    """
    check_target_count(method, len(targets))
    names = [task.name for task in (*targets, *sources)]
    if len(targets) > 1 and (twins := sorted({name for name in names if names.count(name) > 1})):
        raise ValueError(
            f"task: expected target and source tasks of different names; got {twins[0]!r} {names.count(twins[0])} times"
        )
