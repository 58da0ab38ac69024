"""Output of the commands: data goes to stdout (tables, or one JSON document), everything else to stderr."""

from __future__ import annotations

import contextlib
import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.cells import cell_len
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from ptviz.analysis.csv_text import table_to_csv
from ptviz.analysis.score_text import format_percent as format_percent
from ptviz.analysis.score_text import format_score as format_score
from ptviz.analysis.text_tables import latex_table as latex_table
from ptviz.analysis.text_tables import markdown_table as markdown_table
from ptviz.atomic_files import atomic_file
from ptviz.safe_text import escape_hidden, escape_hidden_json

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document to stdout.")]


class UsageError(Exception):
    """The input is wrong: exit code 2, with the message as the only line on stderr."""


class RunFailed(Exception):
    """A run or a check failed: exit code 1."""


def print_error(message: str, code: int) -> int:
    """Write one line to stderr; return the exit code."""
    print_line(f"ptviz: {' '.join(message.split())}", error=True)
    return code


def print_line(text: str, *, error: bool = False) -> None:
    """Print text to stdout or stderr. Control characters but line breaks are escaped, as they may come from a file."""
    print(escape_hidden(text, keep="\n"), file=sys.stderr if error else sys.stdout)


@contextlib.contextmanager
def as_usage_error(*kinds: type[Exception]) -> Iterator[None]:
    """Turn a ValueError, or an error of these kinds, raised in the block into a ``UsageError``."""
    try:
        yield
    except Exception as error:
        if isinstance(error, (ValueError, *kinds)):
            raise UsageError(str(error)) from error
        raise


@contextlib.contextmanager
def quiet_libraries() -> Iterator[None]:
    """Send everything that libraries print in the block to stderr, and hide their progress bars.

    Stdout stays one JSON document and stderr shows the progress of the command. Downloads still show progress.
    """
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    with contextlib.redirect_stdout(sys.stderr):
        yield


def print_json(data: Any) -> None:
    """Print one JSON document on one line of stdout; NaN and infinities become null, control characters escapes."""
    print(escape_hidden_json(json.dumps(_to_json_values(data), ensure_ascii=False, allow_nan=False)))


def _to_json_values(data: Any) -> Any:
    if isinstance(data, dict):
        return {str(key): _to_json_values(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_to_json_values(value) for value in data]
    if isinstance(data, float) and not math.isfinite(data):
        return None
    return data


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, split: bool = False) -> None:
    """Print a table to stdout: aligned in a terminal, tab-separated in a pipe.

    Cells are never read as markup, and their control characters, tabs and line breaks are escaped.

    ``split`` is for tables of many short columns: one that is wider than the terminal is printed in parts, each of
    them with the first column.
    """
    columns, *cells = [[escape_hidden(cell) for cell in row] for row in (columns, *rows)]
    console = Console(soft_wrap=not sys.stdout.isatty(), highlight=False)
    if not console.is_terminal:
        for row in (columns, *cells):
            print("\t".join(row))
        return
    parts = _split_columns(columns, cells, console.width) if split else [range(len(columns))]
    for number, part in enumerate(parts):
        grid = Table(*(Column(Text(columns[index])) for index in part), box=None, header_style="bold", pad_edge=False)
        for row in cells:
            grid.add_row(*(Text(row[index]) for index in part))
        if number:
            console.print()
        console.print(grid)


def _split_columns(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[Sequence[int]]:
    """Return the column indices of each part: the first column, then as many others as fit."""
    needs = [max(cell_len(row[index]) for row in (columns, *rows)) for index in range(len(columns))]
    parts: list[list[int]] = [[0]]
    for index in range(1, len(columns)):
        # Two blanks separate two columns.
        if len(parts[-1]) > 1 and sum(needs[i] + 2 for i in (*parts[-1], index)) > width + 2:
            parts.append([0])
        parts[-1].append(index)
    return list(parts)


def write_csv(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, object]]) -> None:
    """Write rows as CSV to the file given with ``--csv``.

    Raises:
        RunFailed: if it cannot be written.
    """
    try:
        table = table_to_csv([columns, *([row.get(name, "") for name in columns] for row in rows)])
        with atomic_file(path) as draft:
            draft.write_text(table, encoding="utf-8", newline="")
    except OSError as error:
        raise RunFailed(f"--csv {path} could not be written: {error.strerror or error}") from error


def progress_console() -> Console:
    """Return the console of progress bars, which is stderr."""
    return Console(stderr=True)
