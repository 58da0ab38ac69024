"""The texts of a command: its arguments, a file, or stdin, one a line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ptviz.cli.output import UsageError, print_line

Texts = Annotated[list[str] | None, typer.Argument(metavar="[TEXT]...", help="Default: stdin, one text a line.")]


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


def print_written(text: str, prompted: str, unprompted: str) -> None:
    """Print a text, and what is written after it with a prompt and without."""
    print_line(f"{text}\n  with the prompt: {prompted}\n  without:         {unprompted}")
