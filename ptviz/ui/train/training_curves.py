"""From a run on disk to what is drawn of it: the live chart, its description in words, and its numbers as CSV."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import streamlit as st

from ptviz.analysis.curves import TrainingCurve
from ptviz.figures.csv_export import table_to_csv
from ptviz.figures.training import draw_run_comparison, draw_training_curve
from ptviz.plots.material import to_training_curve
from ptviz.plots.method_style import method_series_style
from ptviz.runs import Run, RunHistory, RunSummary
from ptviz.ui import scripts
from ptviz.ui.components.formatting import format_percent
from ptviz.ui.components.plotly_chart import plotly_chart

TRAINING_CAPTION = (
    "How to read it: above, the share of validation texts answered right, measured every few steps; a prompt is worth "
    "having once its line is above both grey lines. Below, the loss on each training batch, faint, and smoothed: it "
    "should fall. Drag to zoom, double-click to zoom out."
)
COMPARISON_CAPTION = (
    "How to read it: one line per run, higher is better, and further left is faster. Colour tells the method; runs of "
    "the same method differ in their dashes. Click a name to hide its line."
)


def render_training_curve(run: Run, curve: RunHistory, method: str, weight: float) -> None:
    """The live chart of one run. The zoom is part of the page's address."""
    drawn = to_training_curve(curve, weight)
    figure = draw_training_curve(drawn, method_series_style(method))
    plotly_chart(figure, describe_training_curve(drawn), key=f"curves-{run.id}", name=f"{run.id}-curves",
    zoom_param="zoom",
              python=scripts.training_script(run, weight))  # fmt: skip
    st.caption(TRAINING_CAPTION)


def describe_training_curve(curve: TrainingCurve) -> str:
    """The chart in words, for readers who cannot see it."""
    if not curve.steps:
        return "Training curves: no step has been made yet."
    parts = [f"Training curves after {curve.steps[-1]} of {curve.last_step} steps."]
    if curve.best is not None:
        parts.append(f"Best validation accuracy {format_percent(curve.best[1])} at step {curve.best[0]}.")
    if curve.zero_shot_accuracy is not None and curve.majority_accuracy is not None:
        parts.append(
            f"Zero-shot {format_percent(curve.zero_shot_accuracy)}, majority class {format_percent(curve.majority_accuracy)}."
        )
    parts.append(
        f"Smoothed training loss {curve.smoothed_losses[0]:.2f} at first, {curve.smoothed_losses[-1]:.2f} now."
    )
    return " ".join(parts)


def render_run_comparison(runs: list[tuple[RunSummary, RunHistory]]) -> None:
    """Validation accuracy of several runs over one another."""
    drawn = [
        (summary.name, method_series_style(summary.config.method), to_training_curve(curve)) for summary, curve in runs
    ]
    figure = draw_run_comparison(drawn)
    best = [f"{name}: {format_percent(curve.best[1])}" for name, _, curve in drawn if curve.best is not None]
    alt = "Validation accuracy over steps. Best of each run: " + ("; ".join(best) or "none was evaluated yet") + "."
    python = scripts.run_comparison_script([(summary.id, summary.name) for summary, _ in runs])
    plotly_chart(figure, alt, key="comparison", name="comparison", zoom_param="zoom", python=python)
    st.caption(COMPARISON_CAPTION)


def history_to_csv(runs: Mapping[str, RunHistory]) -> str:
    """Every step and evaluation of some runs by id, unthinned: one row a step, empty where nothing was measured."""
    columns = (
        "run", "position", "stage", "step", "training_loss_nats", "learning_rate", "gradient_norm", "seconds",
        "validation_loss_nats", "validation_accuracy",
    )  # fmt: skip
    return table_to_csv([columns, *([run, *row] for run, curve in runs.items() for row in _history_rows(curve))])


def _history_rows(curve: RunHistory) -> Iterator[list[object]]:
    measured = {(e.stage, e.step): (e.loss, e.accuracy) for e in curve.evaluations}
    columns = (
        curve.global_steps,
        curve.stages,
        curve.steps,
        curve.losses,
        curve.learning_rates,
        curve.gradient_norms,
        curve.seconds,
    )
    for position, stage, step, *numbers in zip(*(c.tolist() for c in columns), strict=True):
        yield [position, stage, step, *numbers, *measured.pop((stage, step), ("", ""))]
    # The last evaluation comes after the last step's loss was told.
    places = {
        (e.stage, e.step): position for e, position in zip(curve.evaluations, curve.evaluation_steps, strict=True)
    }
    for place, values in sorted(measured.items()):
        yield [places[place], *place, "", "", "", "", *values]
