"""Errors that name the file, the row and the column of a table."""

from __future__ import annotations

from pathlib import Path

from ptviz.tasks.example import TaskError


def table_error(file: Path | str, problem: str, row: int | None = None, column: str | None = None) -> TaskError:
    """Return an error that names the location: ``reviews.csv, row 17, column 'label': ...``."""
    return TaskError(f"{', '.join([table_name(file), *location(row, column)])}: {problem}")


def table_name(file: Path | str) -> str:
    """Return the name of a table in messages: the file's name, its control characters escaped."""
    name = file.name if isinstance(file, Path) else file
    return name if name.isprintable() else repr(name)


def location(row: int | None, column: str | None) -> list[str]:
    """Return the row and the column as they stand in messages."""
    place = [f"row {row}"] if row is not None else []
    return place + ([f"column {column[:80]!r}"] if column is not None else [])
