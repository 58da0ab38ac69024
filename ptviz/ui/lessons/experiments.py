"""The kinds of experiment that a lesson can name: which runs each needs, what it measures on them, and its figure.

A kind is a class here with a tag, listed in ``EXPERIMENT_KINDS``. Its fields are what a lesson's file may set; figures
and numbers come from ``ptviz.plots`` and ``ptviz.analysis``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, get_args

import msgspec
import numpy as np
import streamlit as st
from msgspec import Meta

from ptviz.analysis.comparison import compare_paired, steps_to_reach, summarise_methods
from ptviz.analysis.prompt_similarity import SIMILARITY_METRICS
from ptviz.experiments.replication import STUDIES, ReplicationStudy, StudyRecord
from ptviz.experiments.replication.metrics import COUNT_METRICS
from ptviz.experiments.replication.record import DEFAULT_SEEDS
from ptviz.experiments.run_results import load_result
from ptviz.experiments.transfer_gain import TransferGainSettings
from ptviz.methods.hyperparameters import HyperparameterValue
from ptviz.methods.listing import NO_ROUTING
from ptviz.nearest_tokens import nearest_tokens
from ptviz.plots import (
    plot_expert_loads,
    plot_findings,
    plot_nearest_words_over_steps,
    plot_run_comparison,
    plot_seeds,
    plot_similarity_vs_transfer,
    plot_spectrum,
    plot_training,
)
from ptviz.plots.prompt_set import load_prompt_set
from ptviz.plots.routing import load_expert_loads
from ptviz.plots.run_tensors import load_tensor_history, load_words
from ptviz.plots.transfer import ZERO_SHOT_GAIN, correlations
from ptviz.prompt_statistics import effective_rank
from ptviz.runs import Run, RunConfig, StoreError
from ptviz.runs.forward_pass import read_forward_pass
from ptviz.training import TrainConfig
from ptviz.ui.components.figure_panel import render_plot
from ptviz.ui.components.forward_pass import render_forward_pass
from ptviz.ui.lessons.measures import Measure

_DEAD_PERCENT = 1.0
Steps = Annotated[int, Meta(ge=1, le=10_000)]
Seeds = Annotated[tuple[Annotated[int, Meta(ge=0)], ...], Meta(min_length=2, max_length=20)]


class Experiment(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True, tag_field="kind"):
    """What all kinds share: the sentence above the figure, and how to read the figure.

    ``names`` are those of the measures, "*." before those that every arm has.
    """

    text: str
    caption: str
    names: ClassVar[tuple[str, ...]] = ()

    def measure_names(self) -> tuple[str, ...]:
        """Return the names of what ``measure`` returns."""
        return self.names

    def run_configs(self) -> tuple[RunConfig, ...]:
        """Return the runs that it needs; none if it reads a record instead.

        Raises:
            ValueError: for an unknown method, hyperparameter or value.
        """
        return ()

    def repeat_configs(self) -> tuple[RunConfig, ...]:
        """Return the runs that repeat the experiment: those that it needs, unless it reads a record.

        Raises:
            ValueError: as ``run_configs``.
        """
        return self.run_configs()

    def measure(self, runs: Sequence[Run]) -> dict[str, Measure]:
        """Return what is measured on the finished runs of ``run_configs``, in their order.

        Raises:
            StoreError: if a run cannot be read.
        """
        raise NotImplementedError

    def render(self, runs: Sequence[Run], key: str) -> None:
        """Show the figure of the same runs; ``key`` is unique on the page."""
        raise NotImplementedError


class OneRun(Experiment, frozen=True):
    """An experiment on one run: a method in its default setting, unless hyperparameters are given."""

    method: str = "prompt-tuning"
    hyperparameters: dict[str, HyperparameterValue] = {}
    task: str = "trec6"
    backbone: str = "minilm-l6"
    steps: Steps = 200
    seed: Annotated[int, Meta(ge=0)] = 0

    def run_configs(self) -> tuple[RunConfig, ...]:
        """Return the one run."""
        training = TrainConfig(steps=self.steps, seed=self.seed)
        return (RunConfig(self.backbone, self.task, self.method, self.hyperparameters, training).checked(),)


class CurveOfARun(OneRun, frozen=True, tag="curve-of-a-run"):
    """Validation accuracy and loss over the steps of one run."""

    names: ClassVar[tuple[str, ...]] = ("majority", "zero-shot", "start", "best", "test", "parameters", "steps-to-95")

    def measure(self, runs: Sequence[Run]) -> dict[str, Measure]:
        """Return the scores of the run: without a prompt, before the first update, at best, and on the test set."""
        (run,) = runs
        history, baselines = run.history(), run.history().baselines
        if baselines is None:
            raise StoreError(f"run {run.id} has no baselines: they are measured before its first step")
        without = {"majority": _percent(baselines.majority), "zero-shot": _percent(baselines.zero_shot)}
        return without | _scores(run) | {"steps-to-95": _steps_to_95(history.evaluation_steps, _accuracies(run))}

    def render(self, runs: Sequence[Run], key: str) -> None:
        """Show the training curve."""
        render_plot(plot_training, runs[0], key=key, caption=self.caption, filename=f"{runs[0].id}-curves")


class NearestWordsByStep(OneRun, frozen=True, tag="nearest-words-by-step"):
    """The nearest word of every prompt token, from the first snapshot to the best one."""

    names: ClassVar[tuple[str, ...]] = ("tokens", "unchanged", "cosine-start", "cosine-end")

    def measure(self, runs: Sequence[Run]) -> dict[str, Measure]:
        """Return how many tokens keep their nearest word, and the mean cosine to it at both ends."""
        history = load_tensor_history(runs[0])
        table = load_words(runs[0].config.backbone).table
        ends = history.values[0], history.current
        first, last = history.cached("nearest word", lambda: [nearest_tokens(vectors, table, 1) for vectors in ends])
        return {
            "tokens": Measure(len(history.current), "count"),
            "unchanged": Measure(int((first.ids[:, 0] == last.ids[:, 0]).sum()), "count"),
            "cosine-start": Measure(float(first.scores.mean())),
            "cosine-end": Measure(float(last.scores.mean())),
        }

    def render(self, runs: Sequence[Run], key: str) -> None:
        """Show the nearest words over the steps."""
        render_plot(
            plot_nearest_words_over_steps, runs[0], key=key, caption=self.caption, filename=f"{runs[0].id}-words"
        )


class EffectiveRank(OneRun, frozen=True, tag="effective-rank"):
    """The singular values of a prompt at its start and at its best step."""

    names: ClassVar[tuple[str, ...]] = ("tokens", "largest", "rank-start", "rank-end")

    def measure(self, runs: Sequence[Run]) -> dict[str, Measure]:
        """Return the effective rank at both ends without the mean token, and the largest that is possible."""
        history = load_tensor_history(runs[0])
        m, width = history.current.shape
        return {
            "tokens": Measure(m, "count"),
            "largest": Measure(min(m - 1, width), "count"),
            "rank-start": Measure(effective_rank(history.values[0], centred=True)),
            "rank-end": Measure(effective_rank(history.current, centred=True)),
        }

    def render(self, runs: Sequence[Run], key: str) -> None:
        """Show the singular values."""
        render_plot(plot_spectrum, runs[0], key=key, caption=self.caption, filename=f"{runs[0].id}-spectrum")


class RoutingLoad(OneRun, frozen=True, tag="routing-load"):
    """The share of the training texts that every expert gets, over the steps of a routed method."""

    method: str = "smop"
    names: ClassVar[tuple[str, ...]] = ("experts", "even", "largest", "smallest", "dead", "used-start", "used-end")

    def measure(self, runs: Sequence[Run]) -> dict[str, Measure]:
        """Return the smoothed shares at the last step, and how many experts the load amounts to at both ends."""
        loads = load_expert_loads(runs[0])
        if loads is None:
            raise StoreError(f"run {runs[0].id}: {NO_ROUTING}")
        shares, k = 100 * loads.smoothed_loads[-1], loads.loads.shape[1]
        return {
            "experts": Measure(k, "count"),
            "even": Measure(100 / k, "%"),
            "largest": Measure(float(shares.max()), "%"),
            "smallest": Measure(float(shares.min()), "%"),
            "dead": Measure(int((shares < _DEAD_PERCENT).sum()), "count"),
            "used-start": Measure(float(k * loads.balance[0])),
            "used-end": Measure(float(k * loads.balance[-1])),
        }

    def render(self, runs: Sequence[Run], key: str) -> None:
        """Show the load of the experts."""
        render_plot(plot_expert_loads, runs[0], key=key, caption=self.caption, filename=f"{runs[0].id}-load")


class ForwardPassOfARun(OneRun, frozen=True, tag="forward-pass"):
    """One text on its way through the backbone with the prompt of each snapshot, as a run recorded it."""

    names: ClassVar[tuple[str, ...]] = ("tokens", "layers", "alone", "start", "end")

    def measure(self, runs: Sequence[Run]) -> dict[str, Measure]:
        """Return the sizes, and the probability of the last prompt's answer: without a prompt, at the first, the last.

        Raises:
            StoreError: if the run recorded no forward pass.
        """
        found = read_forward_pass(runs[0])
        if found is None:
            raise StoreError(
                f"run {runs[0].id} has no recorded forward pass; measure it with python -m ptviz.probes.forward_pass"
            )
        first, last = found.steps[0].probabilities, found.steps[-1].probabilities
        answer = last.index(max(last))
        return {
            "tokens": Measure(len(found.prompt), "count"),
            "layers": Measure(found.layers, "count"),
            "alone": _percent(found.alone[answer]),
            "start": _percent(first[answer]),
            "end": _percent(last[answer]),
        }

    def render(self, runs: Sequence[Run], key: str) -> None:
        """Show the drawing that moves."""
        render_forward_pass(runs[0], key=key)
        st.caption(self.caption)


class ExperimentArm(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """One side of a comparison of runs: ``label`` is its name on the page."""

    label: str
    method: str = "prompt-tuning"
    hyperparameters: dict[str, HyperparameterValue] = {}


class SeveralRuns(Experiment, frozen=True):
    """An experiment on several arms, whose names begin those of their measures, as in ``long.test``."""

    arms: Annotated[dict[str, ExperimentArm], Meta(min_length=2, max_length=8)]
    task: str = "trec6"
    backbone: str = "minilm-l6"
    steps: Steps = 200

    def measure_names(self) -> tuple[str, ...]:
        """Return the names of what ``measure`` returns: some for each arm, and those of all together."""
        own = [name.removeprefix("*.") for name in self.names if name.startswith("*.")]
        together = [name for name in self.names if not name.startswith("*.")]
        return (*(f"{arm}.{name}" for arm in self.arms for name in own), *together)

    def _configs_of(self, arm: ExperimentArm, seeds: Sequence[int]) -> tuple[RunConfig, ...]:
        return tuple(
            RunConfig(
                self.backbone, self.task, arm.method, arm.hyperparameters, TrainConfig(steps=self.steps, seed=seed)
            ).checked()
            for seed in seeds
        )


class CompareRuns(SeveralRuns, frozen=True, tag="compare-runs"):
    """Validation accuracy over the steps of several runs, one for each arm."""

    seed: Annotated[int, Meta(ge=0)] = 0
    names: ClassVar[tuple[str, ...]] = ("*.start", "*.best", "*.test", "*.parameters")

    def run_configs(self) -> tuple[RunConfig, ...]:
        """Return one run for each arm."""
        return tuple(config for arm in self.arms.values() for config in self._configs_of(arm, (self.seed,)))

    def measure(self, runs: Sequence[Run]) -> dict[str, Measure]:
        """Return the scores of every arm."""
        scores = zip(self.arms, map(_scores, runs), strict=True)
        return {f"{arm}.{name}": value for arm, own in scores for name, value in own.items()}

    def render(self, runs: Sequence[Run], key: str) -> None:
        """Show one line for each arm, and the table of its scores."""
        render_plot(plot_run_comparison, list(runs), key=key, caption=self.caption, filename=f"lesson-{key}")


class SeedsWithIntervals(SeveralRuns, frozen=True, tag="seeds-with-intervals"):
    """The test score of every seed of several methods, with means and 95% intervals; each arm has its own method."""

    seeds: Seeds = (0, 1, 2)
    names: ClassVar[tuple[str, ...]] = (
        "*.mean", "*.lowest", "*.highest", "*.low", "*.high", "*.parameters",
        "seeds", "difference", "difference.low", "difference.high",
    )  # fmt: skip

    def __post_init__(self) -> None:
        methods = [arm.method for arm in self.arms.values()]
        if len(set(methods)) < len(methods):
            raise ValueError(f"expected arms of different methods, which the figure groups by; got {methods}")

    def run_configs(self) -> tuple[RunConfig, ...]:
        """Return one run for each arm and seed."""
        return tuple(config for arm in self.arms.values() for config in self._configs_of(arm, self.seeds))

    def measure(self, runs: Sequence[Run]) -> dict[str, Measure]:
        """Return the mean and Student's interval of every arm, and the paired difference of the first two."""
        results = [result for run in runs if (result := load_result(run)) is not None]
        by_method = {summary.method: summary for summary in summarise_methods(results)}
        found: dict[str, Measure] = {}
        for name, arm in self.arms.items():
            summary = by_method[arm.method]
            low, high = (summary.interval.low, summary.interval.high) if summary.interval else (None, None)
            values = {
                "mean": summary.mean,
                "lowest": min(summary.tests),
                "highest": max(summary.tests),
                "low": low,
                "high": high,
            }
            found |= {f"{name}.{what}": _percent(value) for what, value in values.items()}
            found[f"{name}.parameters"] = Measure(_number(summary.trained), "count")
        pair = compare_paired(*(by_method[arm.method] for arm in list(self.arms.values())[:2]))
        return found | {
            "seeds": Measure(len(pair.seeds), "count"),
            "difference": _points(pair.mean),
            "difference.low": _points(pair.interval.low if pair.interval else None),
            "difference.high": _points(pair.interval.high if pair.interval else None),
        }

    def render(self, runs: Sequence[Run], key: str) -> None:
        """Show the seeds with their intervals."""
        render_plot(plot_seeds, list(runs), key=key, caption=self.caption, filename=f"lesson-{key}")


class TransferScatter(Experiment, frozen=True, tag="transfer-scatter"):
    """The similarity of two tasks' prompts against what the one gains from the other's, one point per pair."""

    tasks: Annotated[tuple[str, ...], Meta(min_length=4, max_length=40)]
    metric: str = SIMILARITY_METRICS[0]
    method: str = "prompt-tuning"
    backbone: str = "minilm-l6"
    names: ClassVar[tuple[str, ...]] = ("pairs", "helped", "pearson", "spearman", "spearman.low", "spearman.high")

    def __post_init__(self) -> None:
        if self.metric not in SIMILARITY_METRICS:
            raise ValueError(f"metric: expected one of {', '.join(SIMILARITY_METRICS)}; got {self.metric!r}")

    def run_configs(self) -> tuple[RunConfig, ...]:
        """Return one run for each task."""
        return tuple(RunConfig(self.backbone, task, self.method).checked() for task in self.tasks)

    def measure(self, runs: Sequence[Run]) -> dict[str, Measure]:
        """Return the correlations and the share of pairs in which the other task's prompt beats no prompt."""
        found = load_prompt_set(list(runs))
        setting = TransferGainSettings()
        result = correlations(found, (self.metric,), ZERO_SHOT_GAIN, False, False, setting)[self.metric]
        if not len(result.transfer):
            raise StoreError("no transfer was measured between these prompts; measure it on the page Transfer")
        return {
            "pairs": Measure(len(result.transfer), "count"),
            "helped": Measure(100 * float(np.mean(result.transfer > 0)), "%"),
            "pearson": Measure(result.pearson.value),
            "spearman": Measure(result.spearman.value),
            "spearman.low": Measure(result.spearman.low),
            "spearman.high": Measure(result.spearman.high),
        }

    def render(self, runs: Sequence[Run], key: str) -> None:
        """Show one point for each pair of tasks."""
        render_plot(
            plot_similarity_vs_transfer,
            list(runs),
            metric=self.metric,
            against=ZERO_SHOT_GAIN,
            key=key,
            caption=self.caption,
            filename=f"lesson-{key}",
        )


class RecordedFinding(Experiment, frozen=True, tag="recorded-finding"):
    """The comparisons of one replicated finding, from the record in the package and the reader's own runs.

    ``finding`` is an id of ``ptviz findings``. The measures begin with the number of the comparison, as in
    ``1.difference``.
    """

    finding: str
    names: ClassVar[tuple[str, ...]] = ("first", "second", "difference", "low", "high", "seeds")

    def __post_init__(self) -> None:
        self._study()

    def _study(self) -> ReplicationStudy:
        known = {study.id: study for study in STUDIES}
        if self.finding not in known:
            raise ValueError(f"finding: expected one of {', '.join(known)}; got {self.finding!r}")
        return known[self.finding]

    def measure_names(self) -> tuple[str, ...]:
        """Return the names of what ``measure`` returns, those of the first comparison first."""
        count = len(self._study().comparisons)
        return tuple(f"{number}.{name}" for number in range(1, count + 1) for name in self.names)

    def repeat_configs(self) -> tuple[RunConfig, ...]:
        """Return the runs that repeat the finding."""
        study = self._study()
        return tuple(config for arm in study.arms for seed in DEFAULT_SEEDS for config in study.run_configs(arm, seed))

    def measure(self, runs: Sequence[Run]) -> dict[str, Measure]:
        """Return means, difference and interval of every comparison; NaN where nothing was recorded."""
        found: dict[str, Measure] = {}
        for number, result in enumerate(StudyRecord().evaluate(self._study()).differences, start=1):
            exact = result.compared.metric in COUNT_METRICS
            one, apart = (_count, _count) if exact else (_percent, _points)
            values: Mapping[str, Any] = {
                "first": one(result.first),
                "second": one(result.second),
                "difference": apart(result.mean),
                "low": apart(result.interval.low if result.interval else None),
                "high": apart(result.interval.high if result.interval else None),
                "seeds": Measure(len(result.differences), "count"),
            }
            found |= {f"{number}.{name}": value for name, value in values.items()}
        return found

    def render(self, runs: Sequence[Run], key: str) -> None:
        """Show the differences with their intervals."""
        render_plot(plot_findings, [self.finding], key=key, caption=self.caption, filename=f"lesson-{key}")


AnyExperiment = (
    CurveOfARun
    | ForwardPassOfARun
    | CompareRuns
    | NearestWordsByStep
    | EffectiveRank
    | RoutingLoad
    | TransferScatter
    | SeedsWithIntervals
    | RecordedFinding
)
EXPERIMENT_KINDS: dict[str, type[Experiment]] = {
    str(kind.__struct_config__.tag): kind for kind in get_args(AnyExperiment)
}
"""The kinds by the names that lessons use."""


def _scores(run: Run) -> dict[str, Measure]:
    """Return the scores of a finished run: before its first update, at best, on the test set; and its size."""
    result, accuracies = load_result(run), _accuracies(run)
    if result is None or not accuracies:
        raise StoreError(f"run {run.id} has not finished: wait for it, or resume it, or was never evaluated")
    return {
        "start": _percent(accuracies[0]),
        "best": _percent(max(accuracies)),
        "test": _percent(result.test),
        "parameters": Measure(_number(result.trained), "count"),
    }


def _accuracies(run: Run) -> list[float]:
    return [evaluation.accuracy for evaluation in run.history().evaluations]


def _steps_to_95(steps: Sequence[int], accuracies: Sequence[float]) -> Measure:
    return Measure(_number(steps_to_reach(steps, accuracies, 0.95)), "count")


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def _percent(share: float | None) -> Measure:
    return Measure(100 * _number(share), "%")


def _points(share: float | None) -> Measure:
    return Measure(100 * _number(share), "points")


def _count(value: float | None) -> Measure:
    return Measure(_number(value), "count")
