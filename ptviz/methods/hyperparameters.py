"""Hyperparameters as declarations: an ``Annotated`` type gives form, CLI, validation and documentation."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

HyperparameterValue = int | float | str | bool
STORED_KEY = "knobs"
"""Key of a method's hyperparameters in the files of ptviz."""


@dataclass(frozen=True)
class Hyperparameter:
    """The meaning of a constructor argument: the paper's symbol, a description, and bounds (inclusive).

    ``affects_routing`` marks hyperparameters that change how inputs are routed; the page on routing shows them. A text
    must match the whole of the regular expression ``pattern``, if there is one. ``added_later`` marks one that runs of
    earlier versions do not have: they trained with its default.
    """

    symbol: str
    meaning: str
    minimum: int | float | None = None
    maximum: int | float | None = None
    affects_routing: bool = False
    pattern: str = ""
    added_later: bool = False


@dataclass(frozen=True)
class HyperparameterInfo:
    """One hyperparameter of a method: argument name, declaration, type, default, and choices if the list is fixed."""

    name: str
    declaration: Hyperparameter
    value_type: type
    default: HyperparameterValue
    choices: tuple[str, ...] = ()

    def validate(self, value: Any) -> HyperparameterValue:
        """Return the value in this hyperparameter's type.

        Raises:
            ValueError: with the hyperparameter's name, what was expected and what was given.
        """
        if self.choices:
            if value not in self.choices:
                raise ValueError(f"{self.name}: expected one of {', '.join(self.choices)}; got {value!r}")
            return str(value)
        if self.value_type is bool:
            words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
            found = value if isinstance(value, bool) else words.get(str(value).lower())
            if found is None:
                raise ValueError(f"{self.name}: expected true or false; got {value!r}")
            return found
        if self.value_type is str:
            text, pattern = str(value), self.declaration.pattern
            if pattern and not re.fullmatch(pattern, text):
                raise ValueError(f"{self.name}: expected {self.declaration.meaning}; got {value!r}")
            return text
        return self._validate_number(value)

    def _validate_number(self, value: Any) -> int | float:
        expected = "a whole number" if self.value_type is int else "a number"
        low, high = self.declaration.minimum, self.declaration.maximum
        span = f" from {low:g} to {high:g}" if low is not None and high is not None else ""
        try:
            number = float(value) if not isinstance(value, bool) else math.nan
        except (TypeError, ValueError):
            number = math.nan
        whole = self.value_type is not int or number == math.floor(number) if math.isfinite(number) else False
        inside = (low is None or number >= low) and (high is None or number <= high)
        if not (whole and inside):
            raise ValueError(f"{self.name} ({self.declaration.meaning}): expected {expected}{span}; got {value!r}")
        return int(number) if self.value_type is int else number


Length = Annotated[int, Hyperparameter("m", "prompt tokens", 1, 200)]
Rank = Annotated[int, Hyperparameter("r", "rank of the factorisation", 1, 512)]
Experts = Annotated[int, Hyperparameter("k", "prompt experts", 1, 32, affects_routing=True)]
Init = Annotated[
    Literal["vocabulary", "labels", "uniform", "normal", "text"],
    Hyperparameter("init", "initialisation: sampled vocabulary, class labels, uniform or normal noise, or a text"),
]
Text = Annotated[str, Hyperparameter("text", "initial words, for the initialisation text")]


def hyperparameters_of(method: type) -> dict[str, HyperparameterInfo]:
    """Return the hyperparameters of a method, read from its constructor, in order.

    Raises:
        TypeError: if an argument carries no ``Hyperparameter`` or no default.
    """
    return dict(_declared_hyperparameters(method))


@cache
def _declared_hyperparameters(method: type) -> dict[str, HyperparameterInfo]:
    constructor: Any = method.__init__  # type: ignore[misc]  # It is inspected, not called.
    hints = get_type_hints(constructor, include_extras=True)
    found: dict[str, HyperparameterInfo] = {}
    for name, argument in inspect.signature(constructor).parameters.items():
        if name in ("self", "spec"):
            continue
        base, *extras = get_args(hints.get(name)) or (None,)
        hyperparameter = next((extra for extra in extras if isinstance(extra, Hyperparameter)), None)
        if hyperparameter is None or argument.default is inspect.Parameter.empty:
            raise TypeError(f"{method.__name__}.{name} needs Annotated[type, Hyperparameter(...)] and a default")
        choices = tuple(get_args(base)) if get_origin(base) is Literal else ()
        found[name] = HyperparameterInfo(name, hyperparameter, str if choices else base, argument.default, choices)
    return found


def check_hyperparameters(
    known: Mapping[str, HyperparameterInfo], values: Mapping[str, Any], title: str
) -> dict[str, HyperparameterValue]:
    """Return all of a method's ``known`` hyperparameters in their types: the given values, and defaults for the rest.

    Raises:
        ValueError: for an unknown hyperparameter (with the method's ``title``), or a value of the wrong type or out of
            bounds.
    """
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise ValueError(f"unknown hyperparameter {', '.join(unknown)}; {title} has: {', '.join(known)}")
    return {name: info.validate(values.get(name, info.default)) for name, info in known.items()}
