"""How a grid of learning rates grows until its best lies inside, on seeds that no table reports."""

from __future__ import annotations

from collections.abc import Mapping

TUNING_SEEDS = (100, 101, 102)
"""Seeds that rates are chosen on with ``--tune``; no reported mean contains them."""
MOST_RATES = 9
"""Rates of one method at most: a score that keeps rising has no winner inside the grid, and the record says so."""


def next_rate(means: Mapping[float, float]) -> float | None:
    """Return a rate to add beyond the edge of the grid where its best rate is; None if that lies inside.

    It continues the ratio of the two outermost rates, to two significant digits.
    """
    rates = sorted(means)
    if len(rates) < 2:
        return None
    best = max(rates, key=lambda rate: means[rate])
    if best == rates[-1]:
        return float(f"{best * best / rates[-2]:.2g}")
    return float(f"{best * best / rates[1]:.2g}") if best == rates[0] else None
