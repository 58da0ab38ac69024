"""Tasks: real texts with classes, split once and for all, built in or your own."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from ptviz.tasks.builtin.registry import BUILTIN_TASKS, TaskInfo, list_builtin_tasks, load_builtin_task
from ptviz.tasks.custom.from_file import load_table_task
from ptviz.tasks.custom.from_hub import load_hub_task
from ptviz.tasks.custom.tables import TABLE_READERS
from ptviz.tasks.default_sources import default_source_tasks
from ptviz.tasks.example import Example, SplitName, TaskError
from ptviz.tasks.external import ExternalTask, external_tasks
from ptviz.tasks.task import Task
from ptviz.tasks.template import EncodedText, Template

__all__ = [
    "EncodedText",
    "Example",
    "ExternalTask",
    "SplitName",
    "Task",
    "TaskError",
    "TaskInfo",
    "Template",
    "default_source_tasks",
    "list_tasks",
    "load_builtin_task",
    "load_hub_task",
    "load_table_task",
    "load_task",
]


def list_tasks() -> list[TaskInfo]:
    """Return the tasks that have a name: the built-in ones, then those of other packages. Opens no data."""
    return [*list_builtin_tasks(), *(task.info for task in external_tasks().values())]


def load_task(name: str, *, text: str | None = None, label: str | None = None, seed: int = 0) -> Task:
    """A task by its name ("trec6"), by a table's path ("reviews.csv"), or by a hub id ("hub:ag_news").

    ``text`` and ``label`` name the columns of a table or a hub's set; ``seed`` draws the splits.

    Raises:
        TaskError: if there is no such task, its package is missing, or its table cannot be used as it is.
    """
    if name in BUILTIN_TASKS:
        if text is not None or label is not None:
            raise TaskError(f"task {name!r} is built in and has no columns to choose; leave out text and label")
        return load_builtin_task(name, seed)
    if name in external_tasks():
        if text is not None or label is not None:
            raise TaskError(
                f"task {name!r} comes from a package and has no columns to choose; leave out text and label"
            )
        return external_tasks()[name].load(seed)
    path = Path(name)
    if name.startswith("hub:") or path.is_dir():
        return load_hub_task(name, text, label, seed=seed)
    if path.is_file() or path.suffix.lower() in TABLE_READERS:
        return load_table_task(path, text, label, seed=seed)
    known = [*BUILTIN_TASKS, *external_tasks()]
    near = get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise TaskError(
        f"unknown task {name!r}: {hint}expected one of {', '.join(known)}, the path of a CSV, TSV, JSONL or Parquet "
        "file, "
        "or hub:ID"
    )
