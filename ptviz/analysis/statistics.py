"""Statistics over seeds and over test rows: intervals, paired tests, correction for several pairs, verdicts.

A mean over seeds has Student's interval, which is exact for few seeds too if the values are normal (Student, "The
Probable Error of a Mean", Biometrika 1908, https://doi.org/10.1093/biomet/6.1.1). Several pairs of one comparison are
corrected by Holm's step-down procedure (Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian
Journal of Statistics 1979, https://www.jstor.org/stable/4615733). Where there is one seed, its test rows are drawn
again with replacement (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13): that covers the
choice of the rows, and nothing of what another seed would change.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

CONFIDENCE_LEVEL = 0.95
MIN_SEEDS = 5
"""Fewest seeds for a verdict."""
_RESAMPLES = 10_000

INTERVAL_MARKS = {"seeds": "", "rows": " (examples)"}
"""What follows an interval where it is printed, by what it is over."""

Verdict = Literal["holds", "does not hold", "unclear"]


@dataclass(frozen=True)
class ConfidenceInterval:
    """A 95% interval of a mean; ``over`` says what was drawn: seeds, or the test rows of one seed."""

    low: float
    high: float
    over: Literal["seeds", "rows"] = "seeds"


def student_interval(values: Sequence[float], level: float = CONFIDENCE_LEVEL) -> ConfidenceInterval | None:
    """Return Student's interval of a mean over seeds; None for fewer than two values or a value that is not finite.

    Equal values give an interval without width, which says that the seeds did not vary, not that the mean is certain.
    """
    array = np.asarray(values, dtype=np.float64)
    if len(array) < 2 or not np.isfinite(array).all():
        return None
    from scipy.stats import t

    mean = float(array.mean())
    reach = float(t.ppf((1 + level) / 2, len(array) - 1) * array.std(ddof=1) / math.sqrt(len(array)))
    return ConfidenceInterval(mean - reach, mean + reach)


def student_p_value(differences: Sequence[float]) -> float | None:
    """Return the two-sided p of the paired t test against a mean of 0.

    None for fewer than two differences, and for equal ones: without a spread there is no test.
    """
    array = np.asarray(differences, dtype=np.float64)
    if len(array) < 2 or not np.isfinite(array).all() or do_not_vary(array):
        return None
    from scipy.stats import ttest_1samp

    return float(ttest_1samp(array, 0.0).pvalue)


def do_not_vary(values: Sequence[float] | Float[np.ndarray, " n"]) -> bool:
    """Return whether all values are equal but for rounding errors."""
    array = np.asarray(values, dtype=np.float64)
    return len(array) == 0 or float(np.ptp(array)) <= 1e-12 * max(1.0, float(np.abs(array).max()))


def adjust_holm(p_values: Sequence[float | None]) -> tuple[float | None, ...]:
    """Return p values corrected by Holm's step-down procedure; None stays None and counts as no test."""
    order = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for rank, (p, index) in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * p))
        adjusted[index] = highest
    return tuple(adjusted)


def bootstrap_rows(
    scores: Sequence[float] | Float[np.ndarray, " n"], level: float = CONFIDENCE_LEVEL
) -> ConfidenceInterval | None:
    """Return the percentile bootstrap interval of the mean score of test rows; None for fewer than two rows.

    The draws come from a fixed seed: equal scores give equal intervals.
    """
    array = np.asarray(scores, dtype=np.float64)
    if len(array) < 2 or not np.isfinite(array).all():
        return None
    draw = np.random.default_rng(0)
    # How often each score is drawn, not which rows: most scores are 0 or 1, and 10,000 times the rows of a large test
    # set would fill the memory.
    values, counts = np.unique(array, return_counts=True)
    means = np.concatenate([
        draw.multinomial(len(array), counts / len(array), size=200) @ values / len(array)
        for _ in range(_RESAMPLES // 200)
    ])  # fmt: skip
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return ConfidenceInterval(float(low), float(high), "rows")


def wilson_interval(hits: int, count: int, level: float = CONFIDENCE_LEVEL) -> ConfidenceInterval:
    """Return Wilson's interval of a share over test rows ("Probable Inference", JASA 1927, 10.2307/2276774).

    Raises:
        ValueError: unless ``count`` is at least 1 and ``hits`` is from 0 to ``count``.
    """
    from scipy.stats import binomtest

    found = binomtest(hits, count).proportion_ci(level, method="wilson")
    return ConfidenceInterval(float(found.low), float(found.high), "rows")


def judge_claim(
    differences: Sequence[float], margin: float = 0.0, exact: bool = False, level: float = CONFIDENCE_LEVEL
) -> Verdict:
    """Return whether a mean difference over seeds lies above ``-margin``, with 95% confidence or that of ``level``.

    It holds if the whole interval does, does not hold if none of it does, and is unclear otherwise, with fewer than
    ``MIN_SEEDS`` seeds, and where the seeds did not vary at all. ``exact`` values, such as counts of parameters, are
    the same for every seed and need no interval.
    """
    if exact and differences and do_not_vary(differences):
        low = high = float(differences[0])
    else:
        interval = student_interval(differences, level)
        if interval is None or len(differences) < MIN_SEEDS or do_not_vary(differences):
            return "unclear"
        low, high = interval.low, interval.high
    if low > -margin:
        return "holds"
    # At a margin of 0 an exact tie does not support the claim.
    return "does not hold" if high <= -margin else "unclear"
