"""Tasks of other packages, declared as entry points of the group ``ptviz.tasks``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from ptviz.entry_points import load_entry_points, load_named
from ptviz.tasks.benchmark_sets.sets import BENCHMARK_SETS
from ptviz.tasks.builtin.registry import TaskInfo, builtin_task_names
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
    taken = {*builtin_task_names(), *BENCHMARK_SETS}
    return load_entry_points("ptviz.tasks", lambda point: load_named(point, ExternalTask, "task", taken))
