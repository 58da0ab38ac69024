"""Trainable and stored parameters of a method as one of its hyperparameters varies, counted on live modules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass


@dataclass(frozen=True)
class CostCurve:
    """Trainable and stored parameters at each value of one hyperparameter, the others at their defaults."""

    hyperparameter: str
    meaning: str
    values: tuple[int, ...] = ()
    trainable_parameters: tuple[int, ...] = ()
    stored_parameters: tuple[int, ...] = ()
    default: int | None = None


def value_grid(low: int, high: int, default: int, most: int = 12) -> tuple[int, ...]:
    """Return integers from ``low`` to ``high``, evenly spaced by their logarithms, with ``default`` among them."""
    if high <= low:
        return (low,)
    ratio = (high / max(low, 1)) ** (1 / (most - 1))
    steps = {min(high, round(max(low, 1) * ratio**i)) for i in range(most)}
    return tuple(sorted(steps | {low, high, min(max(default, low), high)}))


def compute_cost_curve(
    hyperparameter: str,
    meaning: str,
    values: Sequence[int],
    count: Callable[[int], tuple[int, int]],
    default: int | None = None,
) -> CostCurve:
    """Count a method's parameters at each value of a hyperparameter.

    ``count`` returns (trainable, stored) parameters, or raises ValueError for a value that the method does not accept;
    such values are left out.
    """
    counts: dict[int, tuple[int, int]] = {}
    for value in values:
        with suppress(ValueError):
            counts[value] = count(value)
    return CostCurve(
        hyperparameter=hyperparameter,
        meaning=meaning,
        values=tuple(counts),
        trainable_parameters=tuple(trainable for trainable, _ in counts.values()),
        stored_parameters=tuple(stored for _, stored in counts.values()),
        default=default,
    )
