"""What a method costs as one of its knobs grows: scalars trained and stored, counted on live modules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class CostCurve:
    """Scalars trained and stored at each value of one knob, the others at their defaults; ``usual`` is its default."""

    hyperparameter: str
    meaning: str
    values: tuple[int, ...] = ()
    trainable_parameters: tuple[int, ...] = ()
    stored_parameters: tuple[int, ...] = ()
    default: int | None = None


def value_grid(low: int, high: int, usual: int, most: int = 12) -> tuple[int, ...]:
    """A few whole numbers from ``low`` to ``high``, closer together at the small end, ``usual`` among them."""
    if high <= low:
        return (low,)
    ratio = (high / max(low, 1)) ** (1 / (most - 1))
    steps = {min(high, round(max(low, 1) * ratio**i)) for i in range(most)}
    return tuple(sorted(steps | {low, high, min(max(usual, low), high)}))


def compute_cost_curve(
    knob: str, meaning: str, at: Sequence[int], count: Callable[[int], tuple[int, int]], usual: int | None = None
) -> CostCurve:
    """Count a method at each value of a knob; ``count`` returns (trained, stored). Values it refuses are left out."""
    kept, trained, stored = [], [], []
    for value in at:
        try:
            one, other = count(value)
        except ValueError:
            continue
        kept.append(value)
        trained.append(one)
        stored.append(other)
    return CostCurve(knob, meaning, tuple(kept), tuple(trained), tuple(stored), usual)
