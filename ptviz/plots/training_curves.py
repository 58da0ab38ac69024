"""Training curves: one run, several runs, and the strip that shows which step is selected."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import plotly.graph_objects as go

from ptviz.analysis.training_curves import TrainingCurve, build_training_curve, locate_stages
from ptviz.figures.step_strip import describe_step_strip, draw_step_strip
from ptviz.figures.training_curves import draw_run_comparison, draw_training_curve
from ptviz.plots.alt_text import with_alt
from ptviz.plots.method_style import method_series_style
from ptviz.plots.run_argument import RunOrId, get_run, get_runs
from ptviz.runs import Run, RunHistory, SnapshotInfo
from ptviz.runs.config import target_slug
from ptviz.tasks.metrics import ACCURACY, Metric, shared_metric
from ptviz.training.events import Baselines

SMOOTHING = 0.9
"""Weight of the past in the exponential moving average of the loss."""


def plot_training(run: RunOrId, *, smoothing: float = SMOOTHING, step: int | None = None) -> go.Figure:
    """Draw the validation score with its baselines above the training loss (nats), over the steps of a run.

    The score is by the metric of the run's task, which the axis names; of several tasks it is the mean,
    with a thin line for each. ``smoothing`` is the weight of the past in the
    exponential moving average of the loss, in [0, 1). The curves end at ``step`` of the whole run; None draws all.
    """
    run = get_run(run)
    history = run.history() if step is None else run.history().until(step)
    curve = replace(to_training_curve(history, smoothing), by_task=_scores_by_task(run, history))
    figure = draw_training_curve(curve, method_series_style(run.config.method), run.metric)
    return with_alt(figure, describe_training_curve(curve, run.metric))


def plot_run_comparison(runs: Sequence[RunOrId], *, smoothing: float = SMOOTHING) -> go.Figure:
    """Draw the validation score of several runs above their smoothed training loss (nats), over their steps.

    ``smoothing`` is the weight of the past in the exponential moving average of the loss, in [0, 1).

    Raises:
        ValueError: if the metrics of their tasks differ.
    """
    found = get_runs(runs)
    metric = shared_metric(run.metric for run in found)
    curves = [
        (run.config.name or run.id, method_series_style(run.config.method), to_training_curve(run.history(), smoothing))
        for run in found
    ]
    best = [f"{name}: {metric.format(curve.best[1])}" for name, _, curve in curves if curve.best is not None]
    alt = (
        f"Validation {metric.noun} and smoothed training loss over steps. Best score of each run: "
        f"{'; '.join(best) or 'none was evaluated yet'}."
    )
    return with_alt(draw_run_comparison(curves, metric), alt)


def plot_step_strip(run: RunOrId, position: int) -> go.Figure:
    """Draw smoothed loss and validation score as a thin strip, with a cursor at a step of the whole run."""
    run = get_run(run)
    curve = to_training_curve(run.history())
    figure = draw_step_strip(curve, position, method_series_style(run.config.method), run.metric)
    how_to_read = (
        f"How to read it: the solid line is the smoothed training loss, the dotted one the validation "
        f"{run.metric.noun}; the orange cursor is the step that every panel of this page shows."
    )
    return with_alt(figure, f"{describe_step_strip(curve, position)} {how_to_read}")


def describe_training_curve(curve: TrainingCurve, metric: Metric = ACCURACY) -> str:
    """Return the training chart in words."""
    if not curve.steps:
        return "Training curves: no step has been made yet."
    made = min(curve.steps[-1] + 1, curve.last_step)  # Steps count from 0.
    parts = [f"Training curves after {made} of {curve.last_step} steps."]
    if curve.best is not None:
        parts.append(f"Best validation {metric.noun} {metric.format(curve.best[1])} at step {curve.best[0]}.")
    if curve.zero_shot_accuracy is not None and curve.majority_accuracy is not None:
        zero_shot, majority = metric.format(curve.zero_shot_accuracy), metric.format(curve.majority_accuracy)
        parts.append(f"Zero-shot {zero_shot}, {metric.constant_answer} {majority}.")
    parts += [f"{name[:1].upper()}{name[1:]}: {metric.format(score)}." for name, score in curve.further_baselines]
    parts += [f"{name}: {scores[-1]:.1%} now." for name, scores in curve.by_task if scores]
    first, last = curve.smoothed_losses[0], curve.smoothed_losses[-1]
    parts.append(f"Smoothed training loss {first:.2f} at first, {last:.2f} now.")
    return " ".join(parts)


def to_training_curve(curve: RunHistory, weight: float = SMOOTHING) -> TrainingCurve:
    """Return a run's history as a curve; ``weight`` is the weight of the past in the smoothed loss."""
    stages = [(stage.index, stage.name, stage.steps) for stage in curve.stages_started]
    baselines = (curve.baselines.majority, curve.baselines.zero_shot) if curve.baselines else None
    made = build_training_curve(
        curve.global_steps,
        curve.losses,
        curve.evaluation_steps,
        [evaluation.accuracy for evaluation in curve.evaluations],
        stages=locate_stages(stages, curve.global_steps, curve.stages, curve.steps),
        baselines=baselines,
        weight=weight,
    )
    return replace(made, further_baselines=_further_baselines(curve.baselines))


def _scores_by_task(run: Run, history: RunHistory) -> tuple[tuple[str, tuple[float, ...]], ...]:
    """Return the validation scores on each of several target tasks, as (name, scores); nothing for one task."""
    if not run.config.more_tasks:
        return ()
    evaluations = history.evaluations
    return tuple(
        (target_slug(name), tuple(e.tasks[index].accuracy for e in evaluations if e.tasks))
        for index, name in enumerate(run.config.targets)
    )


def _further_baselines(baselines: Baselines | None) -> tuple[tuple[str, float], ...]:
    if baselines is None:
        return ()
    named = {"the input copied": baselines.copying, f"{baselines.shown} examples in context": baselines.in_context}
    return tuple((name, score) for name, score in named.items() if score is not None)


def snapshot_positions(curve: TrainingCurve, snapshots: Iterable[SnapshotInfo]) -> tuple[int, ...]:
    """Return the steps of the whole run at which snapshots were taken; stages follow one another."""
    starts = {index: span.start for index, span in enumerate(curve.stages)}
    return tuple(starts.get(info.stage, 0) + info.step for info in snapshots)


def run_position(run: Run, stage: int, step: int | None) -> int | None:
    """Return the step of the whole run at which a step of a stage is; None without a step."""
    if step is None:
        return None
    stages = to_training_curve(run.history()).stages
    return (stages[stage].start if stage < len(stages) else 0) + step
