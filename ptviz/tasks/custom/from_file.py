"""People's own tables as tasks: CSV, TSV, JSON Lines, Parquet."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from ptviz.tasks.custom.assemble import MAX_ROWS, collect_examples, custom_task, label_examples, sampling_note
from ptviz.tasks.custom.tables import open_table, table_error
from ptviz.tasks.splits import stratified_split
from ptviz.tasks.task import Task

TEXT_COLUMN_NAMES = (
    "text",
    "sentence",
    "content",
    "review",
    "question",
    "utterance",
    "tweet",
    "message",
    "document",
    "title",
)
LABEL_COLUMN_NAMES = ("label", "class", "category", "target", "intent", "sentiment", "topic", "labels", "coarse_label")


def load_table_task(
    path: str | Path,
    text: str | None = None,
    label: str | None = None,
    pair: str | None = None,
    *,
    name: str | None = None,
    seed: int = 0,
    limit: int = MAX_ROWS,
) -> Task:
    """A CSV, TSV, JSON Lines or Parquet file as a task, split 70/15/15 by ``seed``, each class alike.

    ``text`` and ``label`` name the columns (without: "text", "label" and other usual names); ``pair`` the column of a
    second text, joined to the first. Of more than ``limit`` rows a uniform sample is kept, and the task's notes say so.

    Raises:
        TaskError: naming file, row and column, for a file that cannot be used as it is.
    """
    path = Path(path)
    table = open_table(path)
    columns = [
        find_column(path, table.columns, "text", text, TEXT_COLUMN_NAMES),
        find_column(path, table.columns, "label", label, LABEL_COLUMN_NAMES),
    ]
    if pair is not None:
        columns.append(find_column(path, table.columns, "pair", pair, ()))
    if len(set(columns)) < len(columns):
        raise table_error(
            path, f"expected different columns for texts and labels; got {', '.join(columns)}", 1, columns[0]
        )
    found = collect_examples(path, table.rows(columns), columns, limit, seed)
    classes, rows, notes = label_examples(found, path.name, columns[1])
    source = f"{path.name} (columns {', '.join(columns)})"
    notes = sampling_note(found, path.name) + notes
    return custom_task(name or slugify(path.stem), classes, stratified_split(rows, seed), source, notes)


def find_column(source: Path | str, columns: Sequence[str], role: str, wanted: str | None, usual: Sequence[str]) -> str:
    """The column of a role: the one asked for, or the first of the usual names that is there, in any case.

    Raises:
        TaskError: if there is no such column, or it is there twice, with the columns there are.
    """
    if wanted is None:
        lowered = [column.lower() for column in columns]
        wanted = next((columns[lowered.index(name)] for name in usual if name in lowered), None)
    if wanted is None or wanted not in columns:
        sought = repr(wanted) if wanted is not None else f"{usual[0]!r}"
        listed = ", ".join(repr(column[:40]) for column in columns[:20]) + (", ..." if len(columns) > 20 else "")
        problem = f"expected a column {sought} for the {role}; the columns are {listed}: name the right one"
        raise table_error(source, problem, 1, wanted or usual[0])
    if list(columns).count(wanted) > 1:
        raise table_error(source, "expected different names for all columns; this one comes twice", 1, wanted)
    return wanted


def slugify(stem: str) -> str:
    """A short name for a file: ``My reviews (2)`` as my-reviews-2."""
    return re.sub(r"[^\w]+", "-", stem.casefold()).strip("-_")[:40] or "table"
