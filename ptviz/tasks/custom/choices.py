"""The right choice of each row of a table: which of several ways of naming it the whole column uses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ptviz.tasks.custom.errors import table_error
from ptviz.tasks.custom.labels import label_spelling, to_class_name

MAX_CHOICES = 26
"""Choices of a row at most: as many as there are letters to name them."""
CHOICE_LABEL_NAMES = ("answer", "answerkey", "answer_key", "correct", "gold", "right")
"""Usual names of a column that names the right choice, besides those of labels."""

_Reading = Callable[[str, Sequence[str], Sequence[str]], int | None]


def read_choices(source: Path | str, number: int, names: Sequence[str], cells: Sequence[Any]) -> tuple[str, ...]:
    """Return the choices of a row in order, "" where a cell is empty: those of several columns, or of a list in one.

    An object with a list ``text``, as several data sets of the Hub have it, is read as this list.

    Raises:
        TaskError: naming row and column, for anything but two to 26 different texts.
    """
    column = names[0]
    values = list(cells)
    if len(names) == 1:
        own = cells[0].get("text") if isinstance(cells[0], Mapping) else cells[0]
        if not isinstance(own, list):
            problem = "expected a list of choices; name several columns with commas, or use JSON or Parquet; got "
            raise table_error(source, problem + f"{str(cells[0])[:40]!r}", number, column)
        values = own
    try:
        found = tuple(label_spelling(value) for value in values)
    except TypeError as error:
        raise table_error(source, f"expected choices as texts or numbers; got {error}", number, column) from None
    given = [choice for choice in found if choice]
    if not 2 <= len(given) <= MAX_CHOICES:
        problem = f"expected 2 to {MAX_CHOICES} choices that are not empty; got {len(given)}"
        raise table_error(source, problem, number, column)
    if len(set(given)) < len(given):
        twice = next(choice for choice in given if given.count(choice) > 1)
        raise table_error(source, f"expected different choices; {twice[:40]!r} comes twice", number, column)
    return found


def _by_text(label: str, choices: Sequence[str], names: Sequence[str]) -> int | None:
    return choices.index(label) if label in choices else None


def _by_column(label: str, choices: Sequence[str], names: Sequence[str]) -> int | None:
    return names.index(label) if len(names) > 1 and label in names else None


def _by_letter(label: str, choices: Sequence[str], names: Sequence[str]) -> int | None:
    return ord(label.upper()) - ord("A") if len(label) == 1 and label.isascii() and label.isalpha() else None


def _by_number(first: int) -> _Reading:
    def read(label: str, choices: Sequence[str], names: Sequence[str]) -> int | None:
        plain = to_class_name(label)
        return int(plain) - first if plain.isascii() and plain.isdigit() and len(plain) < 4 else None

    return read


READINGS: Mapping[str, _Reading] = {
    "the texts of the right choices": _by_text,
    "the columns of the right choices": _by_column,
    "letters of the right choices, A for the first": _by_letter,
    "numbers of the right choices, 0 for the first": _by_number(0),
    "numbers of the right choices, 1 for the first": _by_number(1),
}
"""The ways in which a column may name the right choices; the first that fits every row is taken."""


def resolve_labels(rows: Sequence[tuple[str, Sequence[str]]], names: Sequence[str]) -> tuple[str, list[int | None]]:
    """Return the reading of ``READINGS`` that fits most rows, and the place of each right choice, None for a misfit.

    ``rows`` are labels with the choices of their row, empty ones included; ``names`` are the columns of the choices.

    Raises:
        ValueError: if numbers may begin at 0 or at 1.
    """
    found = {
        title: [_place(read, label, choices, names) for label, choices in rows] for title, read in READINGS.items()
    }
    misfits = {title: places.count(None) for title, places in found.items()}
    best = min(found, key=lambda title: misfits[title])
    from_zero, from_one = [*READINGS][3:]
    if best == from_zero and misfits[from_one] == misfits[from_zero] < len(rows):
        raise ValueError("may begin at 0 or at 1: no row has the first or the last choice")
    return best, found[best]


def _place(read: _Reading, label: str, choices: Sequence[str], names: Sequence[str]) -> int | None:
    place = read(label, choices, names) if label else None
    return place if place is not None and 0 <= place < len(choices) and choices[place] else None
