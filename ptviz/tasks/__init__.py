"""Tasks: real texts with classes, targets or choices, split once and for all, built in or your own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from difflib import get_close_matches
from functools import partial

from ptviz.paths import expand_user
from ptviz.safe_text import safe_text
from ptviz.tasks.benchmark_sets.listing import list_benchmark_tasks
from ptviz.tasks.benchmark_sets.load import load_benchmark_task
from ptviz.tasks.benchmark_sets.sets import BENCHMARK_SETS, BenchmarkSet
from ptviz.tasks.builtin.records import RecordTask
from ptviz.tasks.builtin.registry import (
    BUILTIN_TASKS,
    FETCHED_PACKAGES,
    RECORD_TASKS,
    BuiltinTask,
    TaskInfo,
    builtin_task_names,
    list_builtin_tasks,
    load_builtin_task,
)
from ptviz.tasks.custom.containers import TABLE_ENDINGS, is_table_name
from ptviz.tasks.custom.from_file import load_table_task
from ptviz.tasks.custom.from_hub import load_hub_task
from ptviz.tasks.custom.table_options import TableLimits, TableOptions
from ptviz.tasks.default_sources import default_source_tasks
from ptviz.tasks.example import Example, SplitName, TaskError
from ptviz.tasks.external import ExternalTask, external_tasks
from ptviz.tasks.task import Task
from ptviz.tasks.template import EncodedText, Template

__all__ = [
    "ELSEWHERE_PREFIX",
    "FETCHED_PACKAGES",
    "EncodedText",
    "Example",
    "ExternalTask",
    "SplitName",
    "TableLimits",
    "TableOptions",
    "Task",
    "TaskError",
    "TaskInfo",
    "Template",
    "default_source_tasks",
    "list_benchmark_tasks",
    "list_tasks",
    "load_benchmark_task",
    "load_builtin_task",
    "load_hub_task",
    "load_table_task",
    "load_task",
    "named_task",
]

NamedTask = BuiltinTask | RecordTask | BenchmarkSet | TaskInfo


ELSEWHERE_PREFIX = "elsewhere:"
"""Begins the name of a task that an imported run had on another machine. Its path or id is only shown, never opened."""


def list_tasks() -> list[TaskInfo]:
    """Return the tasks of packages: the built-in ones, then those of other packages. Opens no data."""
    return [*list_builtin_tasks(), *(task.info for task in external_tasks().values())]


def named_task(name: str) -> NamedTask | None:
    """Return the definition of a named task, with title and kind; None for any other name. Looks for no data."""
    external = external_tasks()
    return (
        BUILTIN_TASKS.get(name)
        or RECORD_TASKS.get(name)
        or BENCHMARK_SETS.get(name)
        or (external[name].info if name in external else None)
    )


def load_task(
    name: str,
    *,
    text: str | None = None,
    label: str | None = None,
    options: TableOptions | None = None,
    seed: int = 0,
) -> Task:
    """Return a task by its name ("trec6", "glue:mnli"), a table's path ("reviews.csv"), or a Hub id ("hub:ag_news").

    ``text`` and ``label`` name the columns of a table or of a Hub data set, ``options`` say how a table is read and
    its classes are worded; ``seed`` draws the splits. Their ``chat`` and ``place`` are for every task.

    Raises:
        TaskError: if there is no such task, its package is missing, or its table cannot be used as it is.
    """
    if options is not None and (usual := replace(options, chat=False, place="prefix")) != options:
        own = load_task(name, text=text, label=label, options=usual, seed=seed)
        return replace(own, chat=options.chat, place=options.place)
    if name.startswith(ELSEWHERE_PREFIX):
        raise TaskError(
            f"the task is {safe_text(name.removeprefix(ELSEWHERE_PREFIX), 200)!r} on another machine: it is never "
            "opened. Import the run again and name your copy of it: ptviz import BUNDLE --task PATH"
        )
    builtin = builtin_task_names()
    loaders: dict[str, Callable[[int], Task]] = {
        **dict.fromkeys(BENCHMARK_SETS, partial(load_benchmark_task, name)),
        **{own: task.load for own, task in external_tasks().items()},
        **dict.fromkeys(builtin, partial(load_builtin_task, name)),
    }
    if name in loaders:
        if text is not None or label is not None or options not in (None, TableOptions()):
            raise TaskError(f"task {name!r}: its columns and words are fixed; leave out text, label and options")
        return loaders[name](seed)
    path = expand_user(name)
    if name.startswith("hub:") or path.is_dir():
        return load_hub_task(name, text, label, options=options, seed=seed)
    if path.is_file() or is_table_name(name):
        return load_table_task(path, text, label, options=options, seed=seed)
    known = [*builtin, *external_tasks(), *BENCHMARK_SETS]
    near = get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise TaskError(
        f"unknown task {name!r}: {hint}expected one of {', '.join(known)}, hub:ID, or the path of a file "
        f"({', '.join(TABLE_ENDINGS)}, compressed or not)"
    )
