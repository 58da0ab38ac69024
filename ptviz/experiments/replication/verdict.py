"""Judge a replication study from its measured values: differences by seed, their interval, and the verdict."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from ptviz.analysis.statistics import CONFIDENCE_LEVEL, ConfidenceInterval, Verdict, judge_claim, student_interval
from ptviz.experiments.replication.study import Arm, Comparison, ReplicationStudy

StudyVerdict = Verdict | Literal["not run"]
EXACT_METRICS = ("trained",)
"""Metrics that are the same for every seed, so that no interval is needed."""


@dataclass(frozen=True)
class ComparisonResult:
    """The result of one comparison; differences by seed, positive where they support the claim."""

    compared: Comparison
    first: float
    second: float
    differences: tuple[float, ...]
    mean: float
    interval: ConfidenceInterval | None
    verdict: StudyVerdict


@dataclass(frozen=True)
class StudyResult:
    """A study with its verdict: it holds if every comparison does, and does not if one fails after a correction."""

    study: ReplicationStudy
    verdict: StudyVerdict
    seeds: int
    differences: tuple[ComparisonResult, ...]


MeasuredValues = Callable[[Arm, str], Mapping[int, tuple[float, ...]]]
"""(arm, metric) -> values by seed, one for each setting; only seeds whose every setting was measured."""


def evaluate_study(study: ReplicationStudy, values: MeasuredValues) -> StudyResult:
    """Return the result of a study for these measured values."""
    found = tuple(_compare_arms(study, compared, values) for compared in study.comparisons)
    verdicts = {difference.verdict for difference in found}
    verdict: StudyVerdict = "holds" if verdicts == {"holds"} else "unclear"
    if any(_fails(difference, len(found)) for difference in found):
        verdict = "does not hold"
    elif "not run" in verdicts:
        verdict = "not run"
    return StudyResult(study, verdict, min((len(d.differences) for d in found), default=0), found)


def _fails(result: ComparisonResult, comparisons: int) -> bool:
    """Return whether a comparison does not hold at a level divided by their number (Bonferroni): any would do."""
    compared, level = result.compared, 1 - (1 - CONFIDENCE_LEVEL) / comparisons
    exact = compared.metric in EXACT_METRICS
    return judge_claim(result.differences, compared.margin, exact, level) == "does not hold"


def _compare_arms(study: ReplicationStudy, compared: Comparison, values: MeasuredValues) -> ComparisonResult:
    sides = [_measure_side(study.get_arm(label), compared, values) for label in (compared.first, compared.second)]
    both = sorted(set(sides[0]) & set(sides[1]))
    if not both:
        return ComparisonResult(compared, math.nan, math.nan, (), math.nan, None, "not run")
    sign = -1 if compared.lower else 1
    differences = tuple(sign * (sides[0][seed] - sides[1][seed]) for seed in both)
    means = [statistics.fmean(side[seed] for seed in both) for side in sides]
    interval = student_interval(differences)
    verdict = judge_claim(differences, compared.margin, exact=compared.metric in EXACT_METRICS)
    first, second = means
    return ComparisonResult(compared, first, second, differences, statistics.fmean(differences), interval, verdict)


def _measure_side(arm: Arm, compared: Comparison, values: MeasuredValues) -> dict[int, float]:
    """Return one value for each seed whose every setting was measured."""
    found = values(arm, arm.metric or compared.metric)
    if compared.across == "best":
        validation = values(arm, "validation")
        return {
            seed: max(zip(validation[seed], scores, strict=True), key=lambda pair: pair[0])[1]
            for seed, scores in found.items()
            if seed in validation
        }
    aggregate = statistics.stdev if compared.across == "sd" else statistics.fmean
    return {seed: aggregate(scores) for seed, scores in found.items()}
