"""A replication study as data: a claim, the arms to compare, and the differences that support it.

Arms are compared on the same seeds, so on the same examples and batches. A comparison "holds" if the whole 95%
interval of the mean difference (Student's, over seeds) lies on the claim's side, "does not hold" if it lies on the
other, and is "unclear" otherwise, below five seeds, and where all seeds gave the same difference. A study holds only if
each of its comparisons does, which needs no correction for their number. It does not hold if one comparison does not,
at a level that is divided by their number (Bonferroni).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

from ptviz.methods.hyperparameters import HyperparameterValue
from ptviz.runs.config import RunConfig
from ptviz.tasks import TableOptions
from ptviz.tasks.template import Place
from ptviz.training import TrainConfig, default_learning_rate


@dataclass(frozen=True)
class ArmSetting:
    """One way to train an arm: changed hyperparameters, source tasks, and a factor on the default learning rate.

    ``lr_factor`` multiplies the default learning rate of method and backbone. With ``own_sources`` each seed trains
    source prompts of its own, where otherwise all seeds share theirs. ``seed_offset`` is added to the seed; soft tokens
    stand at ``place``.
    """

    hyperparameters: Mapping[str, HyperparameterValue] = field(default_factory=dict)
    sources: tuple[str, ...] | None = None
    lr_factor: float = 1.0
    own_sources: bool = False
    seed_offset: int = 0
    place: Place = "prefix"


@dataclass(frozen=True)
class Arm:
    """One side of a comparison: a method in one setting, or in several whose results are aggregated.

    ``metric`` replaces the comparison's metric for this arm. One of ``GROUP_METRICS`` measures all its settings
    together.
    """

    label: str
    method: str
    settings: tuple[ArmSetting, ...] = (ArmSetting(),)
    metric: str = ""


@dataclass(frozen=True)
class Comparison:
    """The claim that ``first`` exceeds ``second`` in a metric, or is below it by less than ``margin``.

    ``metric`` is a key of ``ptviz.experiments.replication.metrics.METRICS``; ``across`` aggregates the settings of an
    arm for each seed: their mean, the standard deviation, or the setting of the best validation score. ``lower`` claims
    that ``first`` is the smaller one.
    """

    first: str
    second: str
    metric: str = "test"
    across: Literal["mean", "sd", "best"] = "mean"
    margin: float = 0.0
    lower: bool = False


@dataclass(frozen=True)
class ReplicationStudy:
    """A published claim and a small experiment that tests it: arms, and comparisons that all have to hold."""

    id: str
    claim: str
    citation: str
    url: str
    arms: tuple[Arm, ...]
    comparisons: tuple[Comparison, ...]
    task: str = "trec6"
    backbone: str = "minilm-l6"
    steps: int = 200
    shots: int = 0
    note: str = ""

    def __post_init__(self) -> None:
        labels = {arm.label for arm in self.arms}
        if len(labels) < len(self.arms):
            raise ValueError(f"finding {self.id}: expected arms of different labels; got {sorted(labels)}")
        if unknown := {label for c in self.comparisons for label in (c.first, c.second)} - labels:
            raise ValueError(f"finding {self.id}: compares {sorted(unknown)}; its arms are {sorted(labels)}")

    def get_arm(self, label: str) -> Arm:
        """Return the arm with a label."""
        return next(arm for arm in self.arms if arm.label == label)

    def run_configs(self, arm: Arm, seed: int) -> tuple[RunConfig, ...]:
        """Return the configs of one arm and seed, one for each setting.

        Raises:
            ValueError: if this version lacks the method or a hyperparameter.
        """
        if (known := self._configs.get((arm.label, seed))) is not None:
            return known
        return self._configs.setdefault(
            (arm.label, seed), tuple(self._run_config(arm.method, setting, seed) for setting in arm.settings)
        )

    @cached_property
    def _configs(self) -> dict[tuple[str, int], tuple[RunConfig, ...]]:
        """What ``run_configs`` returned, by label and seed: the page of findings asks for each many times."""
        return {}

    def _run_config(self, method: str, setting: ArmSetting, seed: int) -> RunConfig:
        lr = None if setting.lr_factor == 1 else default_learning_rate(method, self.backbone) * setting.lr_factor
        training = TrainConfig(
            steps=self.steps,
            seed=seed + setting.seed_offset,
            lr=lr,
            source_seed=seed if setting.own_sources else 0,
            shots=self.shots,
        )
        config = RunConfig(
            self.backbone, self.task, method, dict(setting.hyperparameters), training,
            table=TableOptions(place=setting.place),
        )  # fmt: skip
        return (config if setting.sources is None else replace(config, sources=setting.sources)).checked()

    def list_measurements(self) -> tuple[tuple[Arm, str], ...]:
        """Return every arm with each metric to measure on it; "test" for an arm in no comparison."""
        pairs = [(self.get_arm(label), c.metric) for c in self.comparisons for label in (c.first, c.second)]
        for c in self.comparisons:
            if c.across == "best":
                pairs += [(self.get_arm(label), "validation") for label in (c.first, c.second)]
        compared = {arm.label for arm, _ in pairs}
        pairs += [(arm, "test") for arm in self.arms if arm.label not in compared]
        unique = {(arm.label, metric if metric == "validation" else arm.metric or metric): arm for arm, metric in pairs}
        return tuple((arm, metric) for (_, metric), arm in unique.items())
