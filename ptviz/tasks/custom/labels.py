"""From the labels of a table to class names: one class for a number or a truth value, however it is written."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Hashable, Iterable, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any

_NUMBER = re.compile(r"[+-]?(\d{1,30}(\.\d{0,30})?|\.\d{1,30})", re.ASCII)
_MAX_SPELLINGS = 5


def label_spelling(label: Any) -> str:
    """Return a label as text, spaces in order; "" if it is missing.

    Raises:
        TypeError: if it is no text, number or truth value.
    """
    if label is None or (isinstance(label, float) and not math.isfinite(label)):
        return ""
    if isinstance(label, str):
        return " ".join(unicodedata.normalize("NFC", label).split())
    if isinstance(label, bool | int | float):
        return str(label)
    if isinstance(label, Decimal):
        return f"{label:f}" if label.is_finite() else ""
    raise TypeError(f"a {type(label).__name__}")


def shorten_floats(values: Sequence[Any], dtype: str) -> Sequence[Any]:
    """Return numbers of a column as they are written shortest in its type: 0.4, not 0.4000000059604645 of float32."""
    if dtype not in ("float32", "float16"):
        return values
    import numpy as np

    kind = np.dtype(dtype).type
    return [None if value is None else float(str(kind(value))) for value in values]


@lru_cache(maxsize=2000, typed=True)
def read_label(label: Hashable) -> tuple[str, str]:
    """Return the class of a label, and the label as it is written; a table repeats its labels in every row.

    Raises:
        TypeError: if it is no text, number or truth value.
    """
    return to_class_name(label), label_spelling(label)


def to_class_name(label: Any) -> str:
    """Return the class of a label: 1, 1.0 and "1" are one class, True and "TRUE" another; "" if it is missing.

    Raises:
        TypeError: if it is no text, number or truth value.
    """
    spelling = label_spelling(label)
    if spelling.lower() in ("true", "false"):
        return spelling.lower()
    plain = spelling.replace("\u2212", "-")
    if _NUMBER.fullmatch(plain):
        number = format(Decimal(plain), "f")
        number = number.rstrip("0").rstrip(".") if "." in number else number
        return "0" if number == "-0" else number
    return spelling


class ClassSpellings:
    """How the labels of each class are written."""

    def __init__(self) -> None:
        self._found: dict[str, list[str]] = {}

    def add(self, name: str, spelling: str) -> None:
        """Record one spelling of a class."""
        known = self._found.setdefault(name, [])
        if spelling not in known and len(known) < _MAX_SPELLINGS:
            known.append(spelling)

    def class_name(self, name: str) -> str:
        """Return the name to show: 007 keeps its zeros where it is always written with them."""
        known = self._found.get(name, [name])
        return known[0] if len(known) == 1 and re.match(r"0\d", known[0]) else name

    def notes(self) -> tuple[str, ...]:
        """Say which labels were taken as one class."""
        merged = {name: known for name, known in self._found.items() if len(known) > 1}
        return tuple(
            f"labels {', '.join(map(repr, sorted(known)))} are one class, {name!r}"
            for name, known in sorted(merged.items())
        )


def sort_class_names(names: Iterable[str]) -> list[str]:
    """Return class names sorted, numbers by value and before words."""

    def key(name: str) -> tuple[bool, Decimal, str]:
        number = bool(_NUMBER.fullmatch(name))
        return not number, Decimal(name) if number else Decimal(0), name

    return sorted(names, key=key)
