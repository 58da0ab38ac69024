"""How commands speak: data to stdout (tables, or one JSON document), everything else to stderr."""

from __future__ import annotations

import contextlib
import json
import math
import sys
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

Json = Annotated[bool, typer.Option("--json", help="Answer with one JSON document on stdout.")]


class BadInput(Exception):
    """What was asked for cannot be: exit code 2, and the message is the one line on stderr."""


class RunFailed(Exception):
    """What was asked for was tried and failed: exit code 1."""


def complain(message: str, code: int) -> int:
    """Write one line to stderr; return the exit code."""
    line = " ".join(message.split())
    print(f"ptviz: {line}", file=sys.stderr)
    return code


@contextlib.contextmanager
def bad_input(*kinds: type[Exception]) -> Iterator[None]:
    """Inside this block the library's refusals (ValueError and those given) count as bad input."""
    try:
        yield
    except Exception as error:
        if isinstance(error, (ValueError, *kinds)):
            raise BadInput(str(error)) from error
        raise


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Inside this block libraries keep to themselves: what they print goes to stderr, loading draws no bars.

    So stdout stays one JSON document, and stderr shows our own progress. Downloads still show theirs.
    """
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    with contextlib.redirect_stdout(sys.stderr):
        yield


def emit(data: Any) -> None:
    """One JSON document on one line of stdout; numbers that JSON does not know become null."""
    print(json.dumps(_plain(data), ensure_ascii=False, allow_nan=False))


def _plain(data: Any) -> Any:
    if isinstance(data, dict):
        return {str(key): _plain(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_plain(value) for value in data]
    if isinstance(data, float) and not math.isfinite(data):
        return None
    return data


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table for people on stdout; names and texts are shown as they are, never as markup."""
    console = Console(soft_wrap=not sys.stdout.isatty(), highlight=False)
    if not console.is_terminal:
        for row in (columns, *rows):
            print("\t".join(str(cell) for cell in row))
        return
    grid = Table(*columns, box=None, header_style="bold", pad_edge=False)
    for row in rows:
        grid.add_row(*(Text(str(cell)) for cell in row))
    console.print(grid)


def progress_console() -> Console:
    """Where progress bars are drawn: stderr."""
    return Console(stderr=True)


def percent(share: float | None) -> str:
    """An accuracy for people: 0.8375 as 83.8 %, nothing as a dash."""
    return "-" if share is None or not math.isfinite(share) else f"{100 * share:.1f} %"
