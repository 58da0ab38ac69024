"""Several methods over several seeds: means, intervals, paired differences, cost and spread.

The statistics are those of ``ptviz.analysis.statistics``: Student's intervals over seeds, a bootstrap over test rows
where there is one seed, and Holm's correction over the pairs of a comparison.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ptviz.analysis.statistics import (
    CONFIDENCE_LEVEL,
    MIN_SEEDS,
    ConfidenceInterval,
    adjust_holm,
    bootstrap_rows,
    student_interval,
    student_p_value,
)
from ptviz.tasks.metrics import ACCURACY

PairVerdict = Literal["better", "worse", "unclear"]


@dataclass(frozen=True)
class RunResult:
    """The results of one finished run.

    ``test``, ``validation`` and ``zero_shot`` are scores by ``metric``; ``seconds`` is the time of training;
    ``trained`` and ``stored`` count parameters; ``memory`` is the peak above the memory before training, in bytes;
    ``length`` counts the positions that the prompt adds to the attention; ``size`` is that of the result's file, in
    bytes. ``accuracies`` are the scores on the validation set after ``evaluated`` updates, counted through all stages.
    ``rows`` are the scores of the test rows, where they were read. Unknown values are None.
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
    metric: str = ACCURACY.name
    rows: tuple[float, ...] = ()


@dataclass(frozen=True)
class MethodSummary:
    """One method over its seeds: ``tests`` are the test scores by ``metric`` in the order of ``seeds``.

    ``sd`` needs two runs, and ``interval`` two seeds, unless the scores of one seed's test ``rows`` are known. Where a
    seed repeats, there is no interval. Seconds and steps are means over runs, memory is the largest; ``steps90`` and
    ``steps95`` are the updates until 90 and 95% of a run's own best validation score.
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
    rows: tuple[float, ...] = ()
    metric: str = ACCURACY.name

    @property
    def seed_count(self) -> int:
        """Return the number of different seeds."""
        return len(set(self.seeds))


@dataclass(frozen=True)
class PairedComparison:
    """``first`` minus ``second`` on their common seeds: differences of test scores, their mean and interval.

    ``p`` is the two-sided p of the paired t test, ``adjusted`` the same corrected for the other pairs of the
    comparison; both are None below two seeds and where all seeds differ by the same.
    """

    first: str
    second: str
    seeds: tuple[int, ...]
    differences: tuple[float, ...]
    mean: float
    interval: ConfidenceInterval | None
    p: float | None = None
    adjusted: float | None = None

    @property
    def verdict(self) -> PairVerdict:
        """Return whether ``first`` is better or worse at 95%, after the correction; unclear with too few seeds."""
        if len(self.seeds) < MIN_SEEDS or self.adjusted is None or self.adjusted >= 1 - CONFIDENCE_LEVEL:
            return "unclear"
        return "better" if self.mean > 0 else "worse"


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

    ``above_zero_shot`` says whether a run's accuracy is above zero-shot on its own test examples, None where that is
    unknown; ``share_above_zero_shot`` is the share of those that are.
    """

    method: str
    learning_rates: tuple[float, ...] = ()
    seeds: tuple[int, ...] = ()
    accuracies: tuple[tuple[float | None, ...], ...] = ()
    above_zero_shot: tuple[tuple[bool | None, ...], ...] = ()
    share_above_zero_shot: float | None = None


def steps_to_reach(evaluated: Sequence[int], accuracies: Sequence[float], share: float) -> int | None:
    """Return the first evaluated step with at least ``share`` of the best score; None without an evaluation.

    Of a best score that is not above zero (a correlation) it is the step of that score.
    """
    if not accuracies:
        return None
    best = max(accuracies)
    goal = share * best if best > 0 else best
    return next(step for step, accuracy in zip(evaluated, accuracies, strict=True) if accuracy >= goal)


def summarise_methods(results: Iterable[RunResult]) -> tuple[MethodSummary, ...]:
    """Return one summary per method, the best mean test score first."""
    by_method: dict[str, list[RunResult]] = {}
    for result in results:
        by_method.setdefault(result.method, []).append(result)
    summaries = [_summarise_method(method, sorted(own, key=lambda run: run.seed)) for method, own in by_method.items()]
    return tuple(sorted(summaries, key=lambda summary: -summary.mean if math.isfinite(summary.mean) else math.inf))


def _summarise_method(method: str, results: list[RunResult]) -> MethodSummary:
    tests = tuple(run.test for run in results)
    memories = [run.memory for run in results if run.memory is not None]
    seeds = tuple(run.seed for run in results)
    # Runs that share a seed are no sample of seeds: an interval would be too narrow.
    over_seeds = student_interval(tests) if len(set(seeds)) == len(seeds) else None
    return MethodSummary(
        method=method,
        seeds=seeds,
        tests=tests,
        mean=float(np.mean(tests)),
        sd=float(np.std(tests, ddof=1)) if len(tests) > 1 else None,
        interval=over_seeds if len(tests) > 1 else bootstrap_rows(results[0].rows),
        zero_shot=_mean(run.zero_shot for run in results),
        trained=next((run.trained for run in results if run.trained is not None), None),
        stored=next((run.stored for run in results if run.stored is not None), None),
        seconds=_mean(run.seconds for run in results),
        memory=max(memories, default=None),
        length=next((run.length for run in results if run.length is not None), None),
        size=next((run.size for run in results if run.size is not None), None),
        steps90=_mean(steps_to_reach(run.evaluated, run.accuracies, 0.9) for run in results),
        steps95=_mean(steps_to_reach(run.evaluated, run.accuracies, 0.95) for run in results),
        rows=results[0].rows if len(results) == 1 else (),
        metric=results[0].metric,
    )


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def compare_paired(first: MethodSummary, second: MethodSummary) -> PairedComparison:
    """Compare two methods on their common seeds; on their common test rows where each has the same one seed.

    Runs of one seed share examples and batches, so the differences vary less than the scores. A seed counts once: where
    it repeats, its scores are averaged.
    """
    second_tests = _mean_by_seed(second)
    common = [(seed, test) for seed, test in _mean_by_seed(first).items() if seed in second_tests]
    differences = tuple(test - second_tests[seed] for seed, test in common)
    interval = student_interval(differences)
    if first.seeds == second.seeds and len(common) == 1 and first.rows and len(first.rows) == len(second.rows):
        interval = bootstrap_rows(np.subtract(first.rows, second.rows))
    return PairedComparison(
        first=first.method,
        second=second.method,
        seeds=tuple(seed for seed, _ in common),
        differences=differences,
        mean=float(np.mean(differences)) if differences else math.nan,
        interval=interval,
        p=(p := student_p_value(differences)),
        adjusted=p,
    )


def _mean_by_seed(summary: MethodSummary) -> dict[int, float]:
    by_seed: dict[int, list[float]] = {}
    for seed, test in zip(summary.seeds, summary.tests, strict=True):
        by_seed.setdefault(seed, []).append(test)
    return {seed: float(np.mean(tests)) for seed, tests in by_seed.items()}


def compare_with_each(first: MethodSummary, others: Iterable[MethodSummary]) -> tuple[PairedComparison, ...]:
    """Compare one method with each other one, with p values corrected by Holm over these pairs."""
    pairs = [compare_paired(first, other) for other in others]
    adjusted = adjust_holm([pair.p for pair in pairs])
    return tuple(replace(pair, adjusted=p) for pair, p in zip(pairs, adjusted, strict=True))


def compute_seed_bands(results: Iterable[RunResult]) -> tuple[SeedBand, ...]:
    """Return one band per method, in order of first appearance, over all steps at which any seed was evaluated.

    Between two evaluations of a seed the earlier one counts; outside of its evaluations the seed does not.
    """
    by_method: dict[str, list[RunResult]] = {}
    for result in results:
        by_method.setdefault(result.method, [])
        if result.accuracies:
            by_method[result.method].append(result)
    return tuple(_seed_band(method, own) for method, own in by_method.items())


def _seed_band(method: str, results: list[RunResult]) -> SeedBand:
    if not results:
        return SeedBand(method)
    steps = sorted({step for run in results for step in run.evaluated})
    table = np.full((len(results), len(steps)), np.nan)
    for row, run in zip(table, results, strict=True):
        index = np.searchsorted(run.evaluated, steps, side="right") - 1
        inside = (index >= 0) & (np.asarray(steps) <= run.evaluated[-1])
        row[inside] = np.asarray(run.accuracies)[index[inside]]
    mean, low, high = (tuple(reduce(table, axis=0).tolist()) for reduce in (np.nanmean, np.nanmin, np.nanmax))
    return SeedBand(
        method=method,
        steps=tuple(steps),
        mean=mean,
        low=low,
        high=high,
        seeds=len({run.seed for run in results}),
    )


def pareto_front(costs: Sequence[float | None], gains: Sequence[float]) -> tuple[int, ...]:
    """Return the indices of the Pareto-optimal points, the cheapest first; points of unknown cost are left out."""
    known = [
        (cost, -gain, index) for index, (cost, gain) in enumerate(zip(costs, gains, strict=True)) if _is_finite(cost)
    ]
    best, front = -math.inf, []
    for _, loss, index in sorted(known, key=lambda point: (point[0] or 0.0, point[1])):
        if -loss > best:
            best = -loss
            front.append(index)
    return tuple(front)


def _is_finite(cost: float | None) -> bool:
    return cost is not None and math.isfinite(cost)


def build_learning_rate_grid(method: str, runs: Iterable[tuple[float, int, float, float | None]]) -> LearningRateGrid:
    """Build the grid of one method from (learning rate, seed, test accuracy, zero-shot accuracy) of its runs."""
    rows = list(runs)
    learning_rates = tuple(sorted({lr for lr, *_ in rows}))
    seeds = tuple(sorted({seed for _, seed, *_ in rows}))
    cells: Mapping[tuple[float, int], float] = {(lr, seed): test for lr, seed, test, _ in rows}
    # Scores of other precision may differ in the last digits of a float.
    above = {(lr, seed): test > zero + 1e-9 for lr, seed, test, zero in rows if zero is not None}
    return LearningRateGrid(
        method=method,
        learning_rates=learning_rates,
        seeds=seeds,
        accuracies=tuple(tuple(cells.get((lr, seed)) for seed in seeds) for lr in learning_rates),
        above_zero_shot=tuple(tuple(above.get((lr, seed)) for seed in seeds) for lr in learning_rates),
        share_above_zero_shot=sum(above.values()) / len(above) if above else None,
    )


def to_mebibytes(size: int | None) -> float | None:
    """Convert bytes to units of 2**20 bytes; None stays None."""
    return None if size is None else size / 2**20


TABLE_COLUMNS = (
    "method", "seeds", "test_mean", "test_sd", "test_low", "test_high", "interval_over", "zero_shot", "trained",
    "stored", "seconds", "memory_mb", "length", "file_mb", "steps_to_90", "steps_to_95", "metric",
)  # fmt: skip
"""The columns of ``table_rows``; stable names, for files that other programs read."""


def table_rows(summaries: Iterable[MethodSummary]) -> list[dict[str, object]]:
    """Return the table of a comparison as plain data, one row a method; scores by its metric, None if unknown."""
    return [
        dict(zip(TABLE_COLUMNS, (
            one.method, one.seed_count, one.mean, one.sd, one.interval.low if one.interval else None,
            one.interval.high if one.interval else None, one.interval.over if one.interval else None, one.zero_shot,
            one.trained, one.stored, one.seconds, to_mebibytes(one.memory), one.length, to_mebibytes(one.size),
            one.steps90, one.steps95, one.metric,
        ), strict=True))
        for one in summaries
    ]  # fmt: skip
