"""A finding as data: a claim, the arms that are compared, and which differences would bear it out.

A comparison is of the same seeds, so of the same rows and batches. It "holds" if the whole bootstrap interval of the
mean difference lies on the claim's side, "does not hold" if it lies on the other, and is "unclear" otherwise or below
three seeds. With three seeds the interval reaches from the lowest to the highest difference: it holds if all agree.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from ptviz.analysis.comparison import ConfidenceInterval, bootstrap_interval
from ptviz.methods.hyperparameters import HyperparameterValue
from ptviz.runs.config import RunConfig
from ptviz.training import TrainConfig, default_learning_rate

Verdict = Literal["holds", "does not hold", "unclear", "not run"]
MIN_SEEDS = 3
"""Seeds below which nothing is said."""


@dataclass(frozen=True)
class ArmSetting:
    """One way to train an arm: hyperparameters that differ from the defaults, source tasks, and its learning rate.

    ``factor`` multiplies the default learning rate of method and backbone.
    """

    hyperparameters: Mapping[str, HyperparameterValue] = field(default_factory=dict)
    sources: tuple[str, ...] | None = None
    lr_factor: float = 1.0


@dataclass(frozen=True)
class Arm:
    """One side of a comparison: a method in one setting, or in several whose results are taken together.

    ``metric`` is what this arm alone is measured by; left out, what the comparison asks for.
    """

    label: str
    method: str
    settings: tuple[ArmSetting, ...] = (ArmSetting(),)
    metric: str = ""


@dataclass(frozen=True)
class Comparison:
    """The claim that ``first`` is ahead of ``second`` in a metric, or behind by less than ``margin``.

    ``metric`` is one of ``ptviz.experiments.replication.metrics.METRICS``; ``across`` takes the settings of an arm
    together per seed:
    their mean, or the standard deviation. ``lower`` turns the direction round: less is better.
    """

    first: str
    second: str
    metric: str = "test"
    across: Literal["mean", "sd"] = "mean"
    margin: float = 0.0
    lower: bool = False


@dataclass(frozen=True)
class ReplicationStudy:
    """A published claim and the small experiment that tries it: arms, and the comparisons that all have to hold."""

    id: str
    claim: str
    citation: str
    url: str
    arms: tuple[Arm, ...]
    comparisons: tuple[Comparison, ...]
    task: str = "trec6"
    backbone: str = "minilm-l6"
    steps: int = 200
    note: str = ""

    def __post_init__(self) -> None:
        labels = {arm.label for arm in self.arms}
        if len(labels) < len(self.arms):
            raise ValueError(f"finding {self.id}: expected arms of different labels; got {sorted(labels)}")
        if stray := {label for c in self.comparisons for label in (c.first, c.second)} - labels:
            raise ValueError(f"finding {self.id}: compares {sorted(stray)}; its arms are {sorted(labels)}")

    def get_arm(self, label: str) -> Arm:
        """The arm of that label."""
        return next(arm for arm in self.arms if arm.label == label)

    def run_configs(self, arm: Arm, seed: int) -> tuple[RunConfig, ...]:
        """The runs of one arm and seed, one for each setting.

        Raises:
            ValueError: if the method or a hyperparameter is not known to this version.
        """
        return tuple(self._run_config(arm.method, setting, seed) for setting in arm.settings)

    def _run_config(self, method: str, setting: ArmSetting, seed: int) -> RunConfig:
        rate = None if setting.lr_factor == 1 else default_learning_rate(method, self.backbone) * setting.lr_factor
        training = TrainConfig(steps=self.steps, seed=seed, lr=rate)
        config = RunConfig(self.backbone, self.task, method, dict(setting.hyperparameters), training)
        return (config if setting.sources is None else replace(config, sources=setting.sources)).checked()

    def list_measurements(self) -> tuple[tuple[Arm, str], ...]:
        """Every arm with every metric that some comparison asks of it; arms that none asks with their own, or test."""
        wanted = [(self.get_arm(label), c.metric) for c in self.comparisons for label in (c.first, c.second)]
        asked = {arm.label for arm, _ in wanted}
        wanted += [(arm, "test") for arm in self.arms if arm.label not in asked]
        unique = {(arm.label, arm.metric or metric): arm for arm, metric in wanted}
        return tuple((arm, metric) for (_, metric), arm in unique.items())


@dataclass(frozen=True)
class ComparisonResult:
    """What came out of one comparison: first minus second by seed, turned so that positive bears the claim out."""

    compared: Comparison
    first: float
    second: float
    differences: tuple[float, ...]
    mean: float
    interval: ConfidenceInterval | None
    verdict: Verdict


@dataclass(frozen=True)
class StudyResult:
    """A finding with its verdict: it holds if every comparison does, and fails if any does not."""

    study: ReplicationStudy
    verdict: Verdict
    seeds: int
    differences: tuple[ComparisonResult, ...]


MeasuredValues = Callable[[Arm, str], Mapping[int, tuple[float, ...]]]
"""(arm, metric) -> values by seed, one for each setting; only seeds whose every setting was measured."""


def evaluate_study(finding: ReplicationStudy, values: MeasuredValues) -> StudyResult:
    """Weigh what was measured."""
    found = tuple(_compare_arms(finding, compared, values) for compared in finding.comparisons)
    verdicts = {difference.verdict for difference in found}
    verdict: Verdict = "holds" if verdicts == {"holds"} else "unclear"
    if "does not hold" in verdicts:
        verdict = "does not hold"
    elif "not run" in verdicts:
        verdict = "not run"
    return StudyResult(finding, verdict, min((len(d.differences) for d in found), default=0), found)


def _compare_arms(finding: ReplicationStudy, compared: Comparison, values: MeasuredValues) -> ComparisonResult:
    sides = [
        {seed: _aggregate(compared, told) for seed, told in values(arm, arm.metric or compared.metric).items()}
        for arm in (finding.get_arm(compared.first), finding.get_arm(compared.second))
    ]
    both = sorted(set(sides[0]) & set(sides[1]))
    if not both:
        return ComparisonResult(compared, math.nan, math.nan, (), math.nan, None, "not run")
    sign = -1 if compared.lower else 1
    differences = tuple(sign * (sides[0][seed] - sides[1][seed]) for seed in both)
    means = [statistics.fmean(side[seed] for seed in both) for side in sides]
    span = bootstrap_interval(differences)
    return ComparisonResult(
        compared,
        means[0],
        means[1],
        differences,
        statistics.fmean(differences),
        span,
        _judge_interval(compared, span, len(both)),
    )


def _aggregate(compared: Comparison, told: tuple[float, ...]) -> float:
    return statistics.stdev(told) if compared.across == "sd" else statistics.fmean(told)


def _judge_interval(compared: Comparison, span: ConfidenceInterval | None, seeds: int) -> Verdict:
    if span is None or seeds < MIN_SEEDS:
        return "unclear"
    if span.low > -compared.margin:
        return "holds"
    # At a margin of 0 a tie on every seed bears nothing out.
    return "does not hold" if span.high <= -compared.margin else "unclear"
