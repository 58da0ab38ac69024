"""From a run on disk to what is drawn of it: the live chart, its description in words, and its numbers as CSV."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import streamlit as st

from ptviz.analysis.curves import TrainingCurve
from ptviz.figures.csv_export import table_csv
from ptviz.figures.training import draw_comparison, draw_training
from ptviz.plots.material import curve_of
from ptviz.plots.method_style import mark_of
from ptviz.runs import Curve, Run, Summary
from ptviz.ui import scripts
from ptviz.ui.components.formatting import percent
from ptviz.ui.components.plotly_chart import live_plot

READ_TRAINING = (
    "How to read it: above, the share of validation texts answered right, measured every few steps; a prompt is worth "
    "having once its line is above both grey lines. Below, the loss on each training batch, faint, and smoothed: it "
    "should fall. Drag to zoom, double-click to zoom out."
)
READ_COMPARISON = (
    "How to read it: one line per run, higher is better, and further left is faster. Colour tells the method; runs of "
    "the same method differ in their dashes. Click a name to hide its line."
)


def training_figure(run: Run, curve: Curve, method: str, weight: float) -> None:
    """The live chart of one run. The zoom is part of the page's address."""
    drawn = curve_of(curve, weight)
    figure = draw_training(drawn, mark_of(method))
    live_plot(figure, described(drawn), key=f"curves-{run.id}", name=f"{run.id}-curves", zoom_param="zoom",
              python=scripts.training(run, weight))  # fmt: skip
    st.caption(READ_TRAINING)


def described(curve: TrainingCurve) -> str:
    """The chart in words, for readers who cannot see it."""
    if not curve.steps:
        return "Training curves: no step has been made yet."
    parts = [f"Training curves after {curve.steps[-1]} of {curve.end} steps."]
    if curve.best is not None:
        parts.append(f"Best validation accuracy {percent(curve.best[1])} at step {curve.best[0]}.")
    if curve.zero_shot is not None and curve.majority is not None:
        parts.append(f"Zero-shot {percent(curve.zero_shot)}, majority class {percent(curve.majority)}.")
    parts.append(f"Smoothed training loss {curve.smooth[0]:.2f} at first, {curve.smooth[-1]:.2f} now.")
    return " ".join(parts)


def comparison_figure(runs: list[tuple[Summary, Curve]]) -> None:
    """Validation accuracy of several runs over one another."""
    drawn = [(summary.name, mark_of(summary.config.method), curve_of(curve)) for summary, curve in runs]
    figure = draw_comparison(drawn)
    best = [f"{name}: {percent(curve.best[1])}" for name, _, curve in drawn if curve.best is not None]
    alt = "Validation accuracy over steps. Best of each run: " + ("; ".join(best) or "none was evaluated yet") + "."
    python = scripts.comparison([(summary.id, summary.name) for summary, _ in runs])
    live_plot(figure, alt, key="comparison", name="comparison", zoom_param="zoom", python=python)
    st.caption(READ_COMPARISON)


def as_csv(runs: Mapping[str, Curve]) -> str:
    """Every step and evaluation of some runs by id, unthinned: one row a step, empty where nothing was measured."""
    columns = (
        "run", "position", "stage", "step", "training_loss_nats", "learning_rate", "gradient_norm", "seconds",
        "validation_loss_nats", "validation_accuracy",
    )  # fmt: skip
    return table_csv([columns, *([run, *row] for run, curve in runs.items() for row in _rows(curve))])


def _rows(curve: Curve) -> Iterator[list[object]]:
    measured = {(e.stage, e.step): (e.loss, e.accuracy) for e in curve.evaluations}
    columns = (curve.positions, curve.stages, curve.steps, curve.losses, curve.rates, curve.norms, curve.seconds)
    for position, stage, step, *numbers in zip(*(c.tolist() for c in columns), strict=True):
        yield [position, stage, step, *numbers, *measured.pop((stage, step), ("", ""))]
    # The last evaluation comes after the last step's loss was told.
    places = {(e.stage, e.step): position for e, position in zip(curve.evaluations, curve.evaluated, strict=True)}
    for place, values in sorted(measured.items()):
        yield [places[place], *place, "", "", "", "", *values]
