"""Measured values with their units, and the small expressions by which a lesson refers to them."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

Unit = Literal["%", "points", "count", "ratio", "number"]
_FORMATS: dict[Unit, str] = {"%": "{:.1f}%", "points": "{:+.1f} points", "count": "{:,.0f}", "ratio": "{:.2g} times"}
_PLACE = re.compile(r"\{([^{}]+)\}")


@dataclass(frozen=True)
class Measure:
    """A measured value in its unit: shares in percent, differences of shares in points."""

    value: float
    unit: Unit = "number"

    def __str__(self) -> str:
        if not math.isfinite(self.value):
            return "not measured"
        return _FORMATS.get(self.unit, "{:.2f}").format(self.value)


Measures = Mapping[str, Measure]


def evaluate_expression(expression: str, measures: Measures) -> Measure:
    """Return a measure by its name, or the difference ``a - b`` or the quotient ``a / b`` of two.

    Raises:
        ValueError: for a name that is not measured.
    """
    names = measure_names(expression)
    if unknown := [name for name in names if name not in measures]:
        raise ValueError(f"expected some of the measures {', '.join(measures)}; got {', '.join(unknown)}")
    first = measures[names[0]]
    if len(names) == 1:
        return first
    second = measures[names[1]]
    if " - " in expression:
        return Measure(first.value - second.value, "points" if first.unit == "%" else first.unit)
    return Measure(first.value / second.value if second.value else math.nan, "ratio")


def measure_names(expression: str) -> list[str]:
    """Return the names of the measures in an expression: one or two."""
    return [name.strip() for name in re.split(r" [-/] ", expression, maxsplit=1)]


def expressions_in(text: str) -> list[str]:
    """Return the expressions in the braces of a text."""
    return _PLACE.findall(text)


def fill_in(text: str, measures: Measures) -> str:
    """Return a text with every ``{expression}`` replaced by its measured value.

    Raises:
        ValueError: as ``evaluate_expression``.
    """
    return _PLACE.sub(lambda found: str(evaluate_expression(found[1], measures)), text)


def check_expressions(where: str, expressions: Collection[str], names: Collection[str]) -> None:
    """Check that expressions refer to known measures only.

    Raises:
        ValueError: naming ``where``, what was expected and what came.
    """
    unknown = [name for expression in expressions for name in measure_names(expression) if name not in names]
    if unknown:
        raise ValueError(f"{where}: expected some of the measures {', '.join(names)}; got {', '.join(unknown)}")
