"""The beginning of a table: its columns and a few of its rows, read without the rest of the file."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from ptviz.tasks.custom.assemble import Columns, Row, check_row
from ptviz.tasks.custom.dialects import guess_columns
from ptviz.tasks.custom.errors import table_error
from ptviz.tasks.custom.from_file import LABEL_COLUMN_NAMES, TEXT_COLUMN_NAMES, find_columns
from ptviz.tasks.custom.table_options import LIMITS, MB, TableOptions
from ptviz.tasks.custom.tables import ParquetTable, Table, open_table
from ptviz.tasks.example import TaskError

TARGET_COLUMN_NAMES = (
    "answer",
    "output",
    "response",
    "completion",
    "summary",
    "reference",
    "references",
    "translation",
)
"""Usual names of a column of target texts."""
_LIMITS = replace(LIMITS, detected=MB)
_TRIED_ROWS = 200
"""Rows that are read at least in search of usable ones."""


class TableHead(NamedTuple):
    """The columns of a table that can be named: ``usual`` are taken without a choice, ``likely`` are a guess."""

    columns: tuple[str, ...]
    usual: Columns | None
    likely: Columns


def read_table_head(path: Path, options: TableOptions) -> TableHead:
    """Return the columns of a table; of the task in ``options`` nothing is read.

    Raises:
        TaskError: if the file cannot be read as a table, or has no column that can be named.
    """
    table = open_table(path, options, [*TEXT_COLUMN_NAMES, *LABEL_COLUMN_NAMES], _LIMITS)
    names = tuple(name for name in table.columns if name and table.columns.count(name) == 1)
    if not names:
        raise table_error(path, "expected columns with different names; found none: name them in the first row", 1)
    usual = None
    if table.guessed is not None:
        usual = Columns((table.guessed[0],), table.guessed[1])
    else:
        with suppress(TaskError):
            usual = find_columns(path, table.columns, None, None, TableOptions())
    return TableHead(names, usual, usual or _guess_columns(table, names))


def _guess_columns(table: Table, names: Sequence[str]) -> Columns:
    """Return columns by their names, and by their contents where the names say nothing."""
    lowered = [name.lower() for name in names]
    named = [
        next((lowered.index(name) for name in usual if name in lowered), None)
        for usual in (TEXT_COLUMN_NAMES, (*LABEL_COLUMN_NAMES, *TARGET_COLUMN_NAMES))
    ]
    text, answer = (
        found if found is not None else guess for found, guess in zip(named, _by_contents(table, names), strict=True)
    )
    if text == answer:  # One of them was only guessed.
        rest = [index for index in range(len(names)) if index != text] or [text]
        text, answer = (rest[0], answer) if named[0] is None else (text, rest[-1])
    return Columns((names[text],), names[answer], lowered[answer] in TARGET_COLUMN_NAMES)


def _by_contents(table: Table, names: Sequence[str]) -> tuple[int, int]:
    found = None
    if not isinstance(table, ParquetTable):  # One batch of its rows may be large: pictures, for instance.
        with closing(table.rows(names)) as rows, suppress(TaskError):
            cells = [row.values for row in islice(rows, _TRIED_ROWS) if not isinstance(row.values, TaskError)]
            found = guess_columns([[str(cell) for cell in row] for row in cells])
    return found or (0, len(names) - 1)


def read_first_rows(path: Path, columns: Columns, options: TableOptions, count: int) -> Sequence[Row]:
    """Return up to ``count`` rows from the beginning of a table, without those that cannot be used.

    Raises:
        TaskError: if the file cannot be read as a table.
    """
    names = [*TEXT_COLUMN_NAMES, *LABEL_COLUMN_NAMES, *columns.names]
    found: list[Row] = []
    with closing(open_table(path, options, names, _LIMITS).rows(columns.names)) as rows:
        for number, values in islice(rows, max(_TRIED_ROWS, 2 * count)):
            with suppress(TaskError):
                found.append(check_row(path, number, values, columns)[0])
            if len(found) == count:
                break
    return found
