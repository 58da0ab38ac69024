"""How commands speak: data to stdout (tables, or one JSON document), everything else to stderr."""

from __future__ import annotations

import contextlib
import csv
import json
import math
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

JsonOption = Annotated[bool, typer.Option("--json", help="Answer with one JSON document on stdout.")]


class UsageError(Exception):
    """What was asked for cannot be: exit code 2, and the message is the one line on stderr."""


class RunFailed(Exception):
    """What was asked for was tried and failed: exit code 1."""


def print_error(message: str, code: int) -> int:
    """Write one line to stderr; return the exit code."""
    line = " ".join(message.split())
    print(f"ptviz: {line}", file=sys.stderr)
    return code


@contextlib.contextmanager
def as_usage_error(*kinds: type[Exception]) -> Iterator[None]:
    """Inside this block the library's refusals (ValueError and those given) count as bad input."""
    try:
        yield
    except Exception as error:
        if isinstance(error, (ValueError, *kinds)):
            raise UsageError(str(error)) from error
        raise


@contextlib.contextmanager
def quiet_libraries() -> Iterator[None]:
    """Inside this block libraries keep to themselves: what they print goes to stderr, loading draws no bars.

    So stdout stays one JSON document, and stderr shows our own progress. Downloads still show theirs.
    """
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    with contextlib.redirect_stdout(sys.stderr):
        yield


def print_json(data: Any) -> None:
    """One JSON document on one line of stdout; numbers that JSON does not know become null."""
    print(json.dumps(_to_json_values(data), ensure_ascii=False, allow_nan=False))


def _to_json_values(data: Any) -> Any:
    if isinstance(data, dict):
        return {str(key): _to_json_values(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_to_json_values(value) for value in data]
    if isinstance(data, float) and not math.isfinite(data):
        return None
    return data


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, parted: bool = False) -> None:
    """A table for people on stdout; names and texts are shown as they are, never as markup.

    ``parted`` is for tables of many short columns: one wider than the terminal is shown in parts, one below the
    other, each with the first column.
    """
    console = Console(soft_wrap=not sys.stdout.isatty(), highlight=False)
    if not console.is_terminal:
        for row in (columns, *rows):
            print("\t".join(str(cell) for cell in row))
        return
    whole = range(len(columns))
    for turn, part in enumerate(_split_columns(columns, rows, console.width) if parted else [whole]):
        grid = Table(*(columns[place] for place in part), box=None, header_style="bold", pad_edge=False)
        for row in rows:
            grid.add_row(*(Text(str(row[place])) for place in part))
        if turn:
            console.print()
        console.print(grid)


def _split_columns(columns: Sequence[str], rows: Sequence[Sequence[object]], width: int) -> list[Sequence[int]]:
    """The places of the columns of each part: as many as fit, after the first column."""
    needs = [max(cell_len(str(row[place])) for row in (columns, *rows)) for place in range(len(columns))]
    parts: list[list[int]] = [[0]]
    for place in range(1, len(columns)):
        # Two empty cells part two columns.
        if len(parts[-1]) > 1 and sum(needs[i] + 2 for i in (*parts[-1], place)) > width + 2:
            parts.append([0])
        parts[-1].append(place)
    return list(parts)


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table; what would be markup in a cell is shown as it is."""

    def cell(value: object) -> str:
        return re.sub(r"([\\`*_\[\]<>|~])", r"\\\1", " ".join(str(value).split()))

    lines = [columns, ["---"] * len(columns)]
    told = ["| " + " | ".join(line) + " |" for line in lines]
    return "\n".join([*told, *("| " + " | ".join(map(cell, row)) + " |" for row in rows)])


def write_csv(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, object]]) -> None:
    """Write rows as CSV to the place a person asked for with ``--csv``.

    Raises:
        RunFailed: if it cannot be written.
    """
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            sheet = csv.DictWriter(file, columns, lineterminator="\n")
            sheet.writeheader()
            sheet.writerows(rows)
    except OSError as error:
        raise RunFailed(f"--csv {path} could not be written: {error.strerror or error}") from error


def progress_console() -> Console:
    """Where progress bars are drawn: stderr."""
    return Console(stderr=True)


def format_percent(share: float | None) -> str:
    """An accuracy for people: 0.8375 as 83.8 %, nothing as a dash."""
    return "-" if share is None or not math.isfinite(share) else f"{100 * share:.1f} %"
