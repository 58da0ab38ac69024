"""Tasks of other packages, declared as entry points of the group ``ptviz.tasks``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint

from ptviz.entry_points import load_entry_points
from ptviz.tasks.builtin.registry import TaskInfo, builtin_task_names
from ptviz.tasks.named.sets import NAMED_SETS
from ptviz.tasks.task import Task


@dataclass(frozen=True)
class ExternalTask:
    """A task of another package: what lists show, and a function that loads it.

    ``load`` is called with the seed of the splits; a task whose splits are fixed ignores it.
    """

    info: TaskInfo
    load: Callable[[int], Task]


@cache
def external_tasks() -> dict[str, ExternalTask]:
    """Return the tasks of other packages by name; one that is broken is left out with a warning in the log."""
    return load_entry_points("ptviz.tasks", _load_external_task)


def _load_external_task(point: EntryPoint) -> ExternalTask:
    found = point.load()
    if not isinstance(found, ExternalTask):
        raise TypeError(f"expected an ExternalTask; got {found!r}")
    if found.info.name != point.name:
        raise ValueError(f"expected a task with the name of its entry point; got {found.info.name!r}")
    if point.name in builtin_task_names() or point.name in NAMED_SETS:
        raise ValueError("a task of this name exists already; choose another name")
    return found
