"""How the time and the memory of a training step grow with its sizes."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

GrowthSize = Literal["examples", "tokens", "prompt tokens", "layers"]
GROWTH_SIZES: tuple[GrowthSize, ...] = get_args(GrowthSize)
GROWTH_FACTORS = (1, 2, 4, 8)


@dataclass(frozen=True)
class GrowthPoint:
    """One step with ``size`` at ``value``, ``factor`` times its smallest value, and all other sizes at theirs.

    Seconds are medians. Peak memory is above the weights, in MB.
    """

    size: GrowthSize
    factor: int
    value: int
    ours_seconds: float
    peft_seconds: float
    ours_peak_mb: float
    peft_peak_mb: float


def growth_exponent(values: Sequence[float]) -> float:
    """Return the exponent e of the power law ``factor ** e`` that fits values at ``GROWTH_FACTORS`` best.

    It is the slope of the least-squares line through the logarithms: 1 for proportional growth, 0 for none.

    Raises:
        ValueError: if there is not one positive value for each factor.
    """
    if len(values) != len(GROWTH_FACTORS) or min(values) <= 0:
        raise ValueError(f"expected {len(GROWTH_FACTORS)} positive values; got {list(values)}")
    logarithms = [[math.log(value) for value in side] for side in (GROWTH_FACTORS, values)]
    return statistics.linear_regression(*logarithms).slope
