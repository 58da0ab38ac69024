"""Tasks: real texts with classes, split once and for all, built in or your own."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from ptviz.tasks.builtin.registry import BUILTIN, TaskInfo, catalogue, load_builtin
from ptviz.tasks.custom.from_file import read_table
from ptviz.tasks.custom.from_hub import from_hub
from ptviz.tasks.custom.tables import KINDS
from ptviz.tasks.default_sources import default_sources
from ptviz.tasks.example import Row, Split, TaskError
from ptviz.tasks.task import Task
from ptviz.tasks.template import Encoded, Template

__all__ = [
    "Encoded",
    "Row",
    "Split",
    "Task",
    "TaskError",
    "TaskInfo",
    "Template",
    "catalogue",
    "default_sources",
    "from_hub",
    "load_builtin",
    "load_task",
    "read_table",
]


def load_task(name: str, *, text: str | None = None, label: str | None = None, seed: int = 0) -> Task:
    """A task by its name ("trec6"), by a table's path ("reviews.csv"), or by a hub id ("hub:ag_news").

    ``text`` and ``label`` name the columns of a table or a hub's set; ``seed`` draws the splits.

    Raises:
        TaskError: if there is no such task, its package is missing, or its table cannot be used as it is.
    """
    if name in BUILTIN:
        if text is not None or label is not None:
            raise TaskError(f"task {name!r} is built in and has no columns to choose; leave out text and label")
        return load_builtin(name, seed)
    path = Path(name)
    if name.startswith("hub:") or path.is_dir():
        return from_hub(name, text, label, seed=seed)
    if path.is_file() or path.suffix.lower() in KINDS:
        return read_table(path, text, label, seed=seed)
    near = get_close_matches(name, BUILTIN, 1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise TaskError(
        f"unknown task {name!r}: {hint}expected one of {', '.join(BUILTIN)}, the path of a CSV, TSV, JSONL or Parquet "
        "file, or hub:ID"
    )
