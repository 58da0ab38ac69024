"""Several methods over several seeds: who is ahead, how sure that is, what it costs, and how steady it is.

Intervals are percentile bootstraps over seeds (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter
13), exact where all resamples can be written out. With three seeds such an interval reaches from the lowest to the
highest seed and holds the true middle three times in four, not nineteen times in twenty: more seeds, more trust.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from jaxtyping import Float

CONFIDENCE_LEVEL = 0.95
_MAX_EXACT = 6
"""Up to so many values every resample is written out (6 ** 6 of them); beyond, some are drawn."""
_RESAMPLES = 10_000


@dataclass(frozen=True)
class RunResult:
    """One finished run in numbers.

    ``test``, ``validation`` and ``zero_shot`` are accuracies (0 to 1); ``seconds`` worked; ``trained`` and ``stored``
    count scalars; ``memory`` is the peak above what was held before, in bytes; ``length`` counts the positions that
    the prompt adds for the backbone to attend to; ``size`` is that of the result's file, in bytes. ``evaluated`` are
    updates through all stages, ``accuracies`` those on the validation rows. What is not known is None.
    """

    method: str
    seed: int
    run: str = ""
    test: float = math.nan
    validation: float = math.nan
    zero_shot: float | None = None
    seconds: float | None = None
    trained: int | None = None
    stored: int | None = None
    memory: int | None = None
    length: int | None = None
    size: int | None = None
    evaluated: tuple[int, ...] = ()
    accuracies: tuple[float, ...] = ()


@dataclass(frozen=True)
class ConfidenceInterval:
    """The middle 95 % of what resampling the seeds gives."""

    low: float
    high: float


@dataclass(frozen=True)
class MethodSummary:
    """One method over its seeds: ``tests`` are the test accuracies in the order of ``seeds``.

    ``sd`` and ``bootstrap_interval`` need two seeds. Seconds and steps are means over seeds, memory is the largest;
    ``steps90``
    and ``steps95`` are the updates until 90 and 95 % of a run's own best validation accuracy.
    """

    method: str
    seeds: tuple[int, ...]
    tests: tuple[float, ...]
    mean: float
    sd: float | None = None
    interval: ConfidenceInterval | None = None
    zero_shot: float | None = None
    trained: int | None = None
    stored: int | None = None
    seconds: float | None = None
    memory: int | None = None
    length: int | None = None
    size: int | None = None
    steps90: float | None = None
    steps95: float | None = None


@dataclass(frozen=True)
class PairedComparison:
    """``first`` against ``second`` on the seeds both ran: differences of test accuracy, their mean and interval."""

    first: str
    second: str
    seeds: tuple[int, ...]
    differences: tuple[float, ...]
    mean: float
    interval: ConfidenceInterval | None

    @property
    def significant(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.interval is not None and (self.interval.low > 0 or self.interval.high < 0)


@dataclass(frozen=True)
class SeedBand:
    """Validation accuracy of one method over steps: the mean over seeds, and the lowest and highest seed."""

    method: str
    steps: tuple[int, ...] = ()
    mean: tuple[float, ...] = ()
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    seeds: int = 0


@dataclass(frozen=True)
class LearningRateGrid:
    """Test accuracy per learning rate (rows) and seed (columns); None where there is no run.

    ``beating`` is the share of the runs that beat zero-shot.
    """

    method: str
    learning_rates: tuple[float, ...] = ()
    seeds: tuple[int, ...] = ()
    accuracies: tuple[tuple[float | None, ...], ...] = ()
    share_above_zero_shot: float | None = None
    zero_shot: float | None = None


def bootstrap_interval(
    values: Sequence[float] | Float[np.ndarray, " n"], level: float = CONFIDENCE_LEVEL
) -> ConfidenceInterval | None:
    """The bootstrap interval of a mean; None below two values. The same values always give the same interval."""
    array = np.asarray(values, dtype=np.float64)
    n = len(array)
    if n < 2:
        return None
    if n <= _MAX_EXACT:
        drawn = np.array(list(product(range(n), repeat=n)))
    else:
        drawn = np.random.default_rng(0).integers(0, n, (_RESAMPLES, n))
    means = array[drawn].mean(1)
    # The resample at the rank itself, not one between two: with few seeds there is nothing in between.
    low = np.quantile(means, (1 - level) / 2, method="lower")
    high = np.quantile(means, (1 + level) / 2, method="higher")
    return ConfidenceInterval(float(low), float(high))


def steps_to_reach(evaluated: Sequence[int], accuracies: Sequence[float], share: float) -> int | None:
    """The first evaluated step with at least ``share`` of the run's own best accuracy; None without an evaluation."""
    if not accuracies:
        return None
    goal = share * max(accuracies)
    return next(step for step, accuracy in zip(evaluated, accuracies, strict=True) if accuracy >= goal)


def summarise_methods(laps: Iterable[RunResult]) -> tuple[MethodSummary, ...]:
    """The methods of some runs, the best mean first."""
    by_method: dict[str, list[RunResult]] = {}
    for lap in laps:
        by_method.setdefault(lap.method, []).append(lap)
    found = [_summarise_method(method, sorted(own, key=lambda lap: lap.seed)) for method, own in by_method.items()]
    return tuple(sorted(found, key=lambda standing: -standing.mean if math.isfinite(standing.mean) else math.inf))


def _summarise_method(method: str, laps: list[RunResult]) -> MethodSummary:
    tests = tuple(lap.test for lap in laps)
    several = len(tests) > 1
    reached = {share: [steps_to_reach(lap.evaluated, lap.accuracies, share) for lap in laps] for share in (0.9, 0.95)}
    memories = [lap.memory for lap in laps if lap.memory is not None]
    return MethodSummary(
        method,
        tuple(lap.seed for lap in laps),
        tests,
        float(np.mean(tests)),
        float(np.std(tests, ddof=1)) if several else None,
        bootstrap_interval(tests),
        _mean(lap.zero_shot for lap in laps),
        next((lap.trained for lap in laps if lap.trained is not None), None),
        next((lap.stored for lap in laps if lap.stored is not None), None),
        _mean(lap.seconds for lap in laps),
        max(memories) if memories else None,
        next((lap.length for lap in laps if lap.length is not None), None),
        next((lap.size for lap in laps if lap.size is not None), None),
        _mean(reached[0.9]),
        _mean(reached[0.95]),
    )


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def compare_paired(first: MethodSummary, second: MethodSummary) -> PairedComparison:
    """Two methods on the seeds that both ran: the same rows and batches, so the differences are steadier than each."""
    theirs = dict(zip(second.seeds, second.tests, strict=True))
    both = [(seed, test) for seed, test in zip(first.seeds, first.tests, strict=True) if seed in theirs]
    differences = tuple(test - theirs[seed] for seed, test in both)
    mean = float(np.mean(differences)) if differences else math.nan
    return PairedComparison(
        first.method, second.method, tuple(seed for seed, _ in both), differences, mean, bootstrap_interval(differences)
    )


def compute_seed_bands(laps: Iterable[RunResult]) -> tuple[SeedBand, ...]:
    """The curves of each method, in the order in which methods first come; seeds are read at every step any has.

    Between two evaluations the last one stands; a seed counts from its first to its last evaluation.
    """
    by_method: dict[str, list[RunResult]] = {}
    for lap in laps:
        by_method.setdefault(lap.method, [])
        if lap.accuracies:
            by_method[lap.method].append(lap)
    return tuple(_seed_band(method, own) for method, own in by_method.items())


def _seed_band(method: str, laps: list[RunResult]) -> SeedBand:
    if not laps:
        return SeedBand(method)
    steps = sorted({step for lap in laps for step in lap.evaluated})
    table = np.full((len(laps), len(steps)), np.nan)
    for row, lap in zip(table, laps, strict=True):
        place = np.searchsorted(lap.evaluated, steps, side="right") - 1
        inside = (place >= 0) & (np.asarray(steps) <= lap.evaluated[-1])
        row[inside] = np.asarray(lap.accuracies)[place[inside]]
    mean, low, high = (tuple(how(table, axis=0).tolist()) for how in (np.nanmean, np.nanmin, np.nanmax))
    return SeedBand(method, tuple(steps), mean, low, high, len(laps))


def pareto_front(costs: Sequence[float | None], gains: Sequence[float]) -> tuple[int, ...]:
    """Which points nobody beats in both: cheaper and better. Their places, the cheapest first; unknown costs lose."""
    known = [
        (cost, -gain, place) for place, (cost, gain) in enumerate(zip(costs, gains, strict=True)) if _is_finite(cost)
    ]
    best, found = -math.inf, []
    for _, loss, place in sorted(known, key=lambda point: (point[0] or 0.0, point[1])):
        if -loss > best:
            best = -loss
            found.append(place)
    return tuple(found)


def _is_finite(cost: float | None) -> bool:
    return cost is not None and math.isfinite(cost)


def build_learning_rate_grid(method: str, runs: Iterable[tuple[float, int, float, float | None]]) -> LearningRateGrid:
    """Runs of one method, given as (learning rate, seed, test accuracy, zero-shot accuracy), as a grid."""
    told = list(runs)
    rates = tuple(sorted({rate for rate, *_ in told}))
    seeds = tuple(sorted({seed for _, seed, *_ in told}))
    cells: Mapping[tuple[float, int], float] = {(rate, seed): test for rate, seed, test, _ in told}
    table = tuple(tuple(cells.get((rate, seed)) for seed in seeds) for rate in rates)
    judged = [test > zero for *_, test, zero in told if zero is not None]
    share = sum(judged) / len(judged) if judged else None
    return LearningRateGrid(method, rates, seeds, table, share, _mean(zero for *_, zero in told))


def to_mebibytes(size: int | None) -> float | None:
    """Bytes in units of 2**20; None stays None."""
    return None if size is None else size / 2**20


TABLE_COLUMNS = (
    "method", "seeds", "test_mean", "test_sd", "test_low", "test_high", "zero_shot", "trained", "stored", "seconds",
    "memory_mb", "length", "file_mb", "steps_to_90", "steps_to_95",
)  # fmt: skip
"""The columns of a race's table as data."""


def table_rows(found: Iterable[MethodSummary]) -> list[dict[str, object]]:
    """The table of a race as plain data, one row a method; accuracies from 0 to 1, None where not known."""
    return [
        dict(zip(TABLE_COLUMNS, (
            one.method, len(one.seeds), one.mean, one.sd, one.interval.low if one.interval else None,
            one.interval.high if one.interval else None, one.zero_shot, one.trained, one.stored, one.seconds,
            to_mebibytes(one.memory), one.length, to_mebibytes(one.size), one.steps90, one.steps95,
        ), strict=True))
        for one in found
    ]  # fmt: skip
