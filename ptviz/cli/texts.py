"""The texts of a command: its arguments, a file, or stdin, one a line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ptviz.cli.output import UsageError, print_line
from ptviz.tasks.custom.containers import is_table_name

Texts = Annotated[list[str] | None, typer.Argument(metavar="[TEXT]...", help="Default: stdin, one text a line.")]

TextsFile = Annotated[
    Path | None,
    typer.Option(
        help="Texts: a .txt file with one a line, or a table (CSV, TSV, JSON, Parquet) with a column text, and task "
        "for a run on several tasks."
    ),
]


def find_table(texts: list[str] | None, file: Path | None) -> Path | None:
    """Return ``file`` if it is a table; None if it holds one text a line, as files that end in .txt do.

    With texts beside it, which ``read_texts`` refuses, it is None.
    """
    if texts or file is None or file.suffix.lower() == ".txt" or not is_table_name(file.name):
        return None
    return file


def read_texts(texts: list[str] | None, example: str, file: Path | None = None) -> list[str]:
    """Return the texts of a command; ``example`` is one that it takes.

    Raises:
        UsageError: if there are none, or both texts and a file.
        StoreError: if the file is no UTF-8 text, or has no line with a text.
        OSError: if it cannot be read.
    """
    from ptviz.engine.text_generation import read_inputs

    if texts and file is not None:
        raise UsageError("expected texts or --file; got both")
    if file is not None:
        return read_inputs(file)
    if not texts and not sys.stdin.isatty():
        texts = [line.strip() for line in sys.stdin if line.strip()]
    if not texts:
        raise UsageError(f"expected at least one text, as in: {example}")
    return texts


def read_table_texts(path: Path, *, needs_task: bool) -> list[tuple[str, str]]:
    """Return task and text of each row of a table; the task is empty for a run on one task, whose table has none.

    Raises:
        TaskError: if the table has no such column, a row cannot be read, or there is no row.
    """
    from ptviz.tasks import TaskError
    from ptviz.tasks.custom.errors import table_error
    from ptviz.tasks.custom.from_file import find_column
    from ptviz.tasks.custom.tables import open_table

    table, rows = open_table(path, names=("task", "text")), []
    columns = [find_column(path, table.columns, "text", None, ("text",))]
    if needs_task:
        columns.append(find_column(path, table.columns, "task", None, ("task",)))
    for number, values in table.rows(columns):
        if isinstance(values, TaskError):
            raise values
        text, task = (str(value or "").strip() for value in (*values, "")[:2])
        if not text or (needs_task and not task):
            raise table_error(path, f"expected a {' and a '.join(columns)}; got an empty cell", number)
        rows.append((task, text))
    if not rows:
        raise table_error(path, "expected at least one row")
    return rows


def print_written(text: str, prompted: str, unprompted: str) -> None:
    """Print a text, and what is written after it with a prompt and without."""
    print_line(f"{text}\n  with the prompt: {prompted}\n  without:         {unprompted}")
