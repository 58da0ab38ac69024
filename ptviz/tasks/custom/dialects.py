"""How the cells of a delimited text file are written: delimiter, quoting, header."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

DELIMITERS = (",", ";", "\t", "|")
_QUOTING_SETTINGS: dict[str, dict[str, Any]] = {
    # strict: a quote that is never closed must not swallow the rest of the file.
    "standard": {"strict": True},
    "backslash": {"strict": True, "escapechar": "\\"},
    "none": {"quoting": csv.QUOTE_NONE},
}


@dataclass(frozen=True)
class Dialect:
    """A delimiter, and one of ``options.QUOTINGS``. ``kept_quotes``: quotes at the beginning of cells are text."""

    delimiter: str
    quoting: str
    kept_quotes: bool = False

    def read_cells(self, lines: Iterable[str]) -> Iterator[list[str]]:
        """Return the cells of each row; ``csv.Error`` at a row that cannot be read."""
        return csv.reader(lines, delimiter=self.delimiter, **_QUOTING_SETTINGS[self.quoting])


def split_plainly(line: str, delimiter: str) -> list[str]:
    """Return the cells of a line in which quotes are ordinary characters."""
    return line.rstrip("\r\n").split(delimiter)


def looks_like_row(line: str, delimiter: str, width: int) -> bool:
    """Return whether a line within a quoted cell has as many cells as a row of its own."""
    return width > 1 and line.count(delimiter) == width - 1


@dataclass(frozen=True)
class _Trial:
    """A sample of lines read with one dialect."""

    header: tuple[str, ...]
    share: float
    """Share of the rows that have as many cells as the first; 0 if the sample cannot be read."""
    swallowed: int
    """Lines within quoted cells that look like rows."""


def detect_dialect(
    lines: Sequence[str],
    *,
    tabs_usual: bool,
    names: Iterable[str],
    delimiter: str | None = None,
    quoting: str | None = None,
    truncated: bool = False,
) -> Dialect:
    """Return the dialect of a file by its first lines; ``delimiter`` and ``quoting`` are taken as given.

    The delimiter is the one whose header has the expected ``names`` and whose rows are of one length. Quotes are text
    in a tab-separated file unless they surely enclose cells, and in any file whose lines fit only without quoting.
    ``truncated``: the file goes on after ``lines``.
    """
    wanted = {name.lower() for name in names}

    def rank(candidate: str) -> tuple[int, float, bool, int]:
        trials = [_try_dialect(lines, Dialect(candidate, name), truncated) for name in _QUOTING_SETTINGS]
        best = max(trials, key=lambda trial: trial.share)
        cells = {cell.strip().strip('"').lower() for cell in trials[-1].header}
        usual = tabs_usual and candidate == "\t"
        return len(wanted & cells), round(best.share, 2), usual, len(best.header)

    if delimiter is None:
        usable = [candidate for candidate in DELIMITERS if lines and candidate in lines[0]]
        delimiter = max(usable, key=rank) if usable else ("\t" if tabs_usual else ",")
    if quoting is None:
        quoting = _detect_quoting(lines, delimiter, truncated)
    starts = any(cell.lstrip(" ").startswith('"') for line in lines for cell in split_plainly(line, delimiter))
    return Dialect(delimiter, quoting, kept_quotes=quoting == "none" and starts)


def _detect_quoting(lines: Sequence[str], delimiter: str, truncated: bool) -> str:
    if not any('"' in line for line in lines):
        return "none" if delimiter == "\t" else "standard"
    standard, backslash, plain = (
        _try_dialect(lines, Dialect(delimiter, name), truncated) for name in _QUOTING_SETTINGS
    )
    if delimiter == "\t" and plain.share == 1 and not _is_surely_quoted(lines, delimiter):
        return "none"
    if standard.share == 1 and not standard.swallowed:
        return "standard"
    if backslash.share == 1 and not backslash.swallowed and any('\\"' in line for line in lines):
        return "backslash"
    if plain.share == 1:
        return "none"
    return "none" if delimiter == "\t" and standard.share < plain.share else "standard"


def _try_dialect(lines: Sequence[str], dialect: Dialect, truncated: bool) -> _Trial:
    taken: list[str] = []

    def feed() -> Iterator[str]:
        for line in lines:
            taken.append(line)
            yield line

    header: list[str] = []
    rows = fitting = swallowed = 0
    try:
        for cells in dialect.read_cells(feed()):
            header = header or cells
            rows += bool(cells)
            fitting += bool(cells) and len(cells) == len(header)
            swallowed += sum(looks_like_row(line, dialect.delimiter, len(header)) for line in taken[1:])
            taken.clear()
    except csv.Error:
        # The sample may end within a quoted cell; anything else cannot be read so.
        if not truncated or len(taken) < 2 or taken[-1] is not lines[-1]:
            return _Trial(tuple(header), 0, 0)
        swallowed += sum(looks_like_row(line, dialect.delimiter, len(header)) for line in taken[1:])
    return _Trial(tuple(header), fitting / rows if rows and len(header) > 1 else 0, swallowed)


def _is_surely_quoted(lines: Sequence[str], delimiter: str) -> bool:
    """Return whether quotes enclose cells: all cells of a column, or a cell with every quote within it doubled."""
    rows = [split_plainly(line, delimiter) for line in lines[1:] if line.strip()]
    columns = zip(*rows, strict=False)
    if len(rows) > 2 and any(all(map(_is_enclosed, column)) for column in columns):
        return True
    return any('""' in cell[1:-1] for row in rows for cell in row if _is_enclosed(cell))


def _is_enclosed(cell: str) -> bool:
    return len(cell) > 1 and cell[0] == cell[-1] == '"' and '"' not in cell[1:-1].replace('""', "")


def detect_header(rows: Sequence[Sequence[str]], names: Iterable[str]) -> bool:
    """Return whether the first row names the columns: yes, unless it has a value that comes again below it.

    ``names`` are those asked for and the usual ones; a first row that has one of them is a header.
    """
    if not rows:
        return True
    first = [cell.strip() for cell in rows[0]]
    if {cell.lower() for cell in first} & {name.lower() for name in names}:
        return True
    again = [{row[index].strip() for row in rows[1:] if len(row) == len(first)} for index in range(len(first))]
    return not any(cell and cell in values for cell, values in zip(first, again, strict=True))


def guess_columns(rows: Sequence[Sequence[str]]) -> tuple[int, int] | None:
    """Return the columns of texts and of labels by their contents; None if there are not two different ones.

    Texts are the longest cells; labels, among the other columns, have the fewest different values.
    """
    width = len(rows[0]) if rows else 0
    columns = [[row[index] for row in rows if len(row) == width] for index in range(width)]
    if width < 2:
        return None
    text = max(range(width), key=lambda index: sum(map(len, columns[index])))
    label = min((index for index in range(width) if index != text), key=lambda index: len(set(columns[index])))
    return text, label
