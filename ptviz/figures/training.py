"""Training curves of one run, and validation accuracy of several runs."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from ptviz.analysis.curves import TrainingCurve
from ptviz.figures.style import DASHES, GREY, SeriesStyle, add_note, empty_figure, escape_text

ACCURACY_AXIS = {"title": {"text": "validation accuracy"}, "tickformat": ".0%", "range": [0, 1.03], "zeroline": False}
MIN_LABEL_GAP = 0.07
"""The labels of two baselines nearer than this (in accuracy) would overlap."""


def draw_training_curve(curve: TrainingCurve, style: SeriesStyle | None = None) -> go.Figure:
    """Draw validation accuracy with its baselines (top) and training loss in nats (bottom) over the steps."""
    style = style or SeriesStyle()
    figure = empty_figure(height=470)
    figure.update_layout(
        xaxis={"title": {"text": "step"}, "anchor": "y2", "range": [0, max(curve.last_step, 1)], "zeroline": False},
        yaxis={**ACCURACY_AXIS, "domain": [0.46, 1]},
        yaxis2={
            "title": {"text": "training loss (nats)"},
            "domain": [0, 0.38],
            "rangemode": "tozero",
            "zeroline": False,
        },
        legend={"y": 1.0},
        hoversubplots="axis",
    )
    _draw_baselines(figure, curve)
    _draw_accuracy(figure, curve, style)
    _draw_loss(figure, curve, style)
    for span in curve.stages[1:]:
        figure.add_vline(x=span.start, line={"color": GREY, "width": 1, "dash": "dot"})
    if len(curve.stages) > 1:
        for span in curve.stages:
            figure.add_annotation(
                text=escape_text(span.name),
                x=span.start + span.steps / 2,
                y=1,
                yref="paper",
                yanchor="top",
                showarrow=False,
            )
    if not curve.steps and not curve.evaluated_steps:
        add_note(figure, "The first step will appear here.")
    return figure


def _draw_baselines(figure: go.Figure, curve: TrainingCurve) -> None:
    lines = [
        ("zero-shot", curve.zero_shot_accuracy, "dash"),
        ("majority class", curve.majority_accuracy, "dot"),
    ]
    known = [(label, level, dash) for label, level, dash in lines if level is not None]
    levels = [level for _, level, _ in known]
    crowded = len(levels) == 2 and abs(levels[0] - levels[1]) < MIN_LABEL_GAP
    for label, level, dash in known:
        below = crowded and level == min(levels) and label != known[0][0]
        # A trace, not a shape: then it is part of the hover text and of the exported data.
        figure.add_scatter(
            x=[0, max(curve.last_step, 1)],
            y=[level, level],
            mode="lines",
            line={"color": GREY, "width": 1.5, "dash": dash},
            name=label,
            hovertemplate=f"{label} {level:.1%}<extra></extra>",
            showlegend=False,
        )
        figure.add_annotation(
            text=f"{label} {level:.0%}",
            x=1,
            xref="x domain",
            y=level,
            xanchor="right",
            yanchor="top" if below else "bottom",
            showarrow=False,
            font={"size": 12},
        )


def _draw_accuracy(figure: go.Figure, curve: TrainingCurve, style: SeriesStyle) -> None:
    figure.add_scatter(
        x=curve.evaluated_steps,
        y=curve.accuracies,
        mode="lines+markers",
        line={"color": style.colour, "width": 2.5},
        marker={"size": 7, "symbol": style.symbol},
        name="validation accuracy",
        cliponaxis=False,
        hovertemplate="validation %{y:.1%}<extra></extra>",
        showlegend=False,
    )
    if curve.best is not None:
        step, accuracy = curve.best
        figure.add_scatter(
            x=[step],
            y=[accuracy],
            mode="markers",
            marker={"size": 15, "symbol": "circle-open", "color": style.colour, "line": {"width": 2.5}},
            name="best so far",
            cliponaxis=False,
            hovertemplate="best so far %{y:.1%}<extra></extra>",
            showlegend=False,
        )


def _draw_loss(figure: go.Figure, curve: TrainingCurve, style: SeriesStyle) -> None:
    figure.add_scatter(
        x=curve.steps,
        y=curve.losses,
        yaxis="y2",
        mode="lines" if len(curve.steps) > 1 else "markers",
        line={"color": style.colour, "width": 1},
        opacity=0.35,
        name="loss of each batch",
        hovertemplate="batch loss %{y:.3f}<extra></extra>",
        showlegend=False,
    )
    figure.add_scatter(
        x=curve.steps,
        y=curve.smoothed_losses,
        yaxis="y2",
        mode="lines",
        line={"color": style.colour, "width": 2.5},
        name="smoothed loss",
        hovertemplate="smoothed loss %{y:.3f}<extra></extra>",
        showlegend=False,
    )


def draw_run_comparison(runs: Sequence[tuple[str, SeriesStyle, TrainingCurve]]) -> go.Figure:
    """Draw validation accuracy of several runs, given as (name, style of the method, curve), over steps.

    Runs of one colour (the same method twice) differ in their dash.
    """
    figure = empty_figure(height=460)
    end = max([1, *(curve.last_step for _, _, curve in runs)])
    figure.update_layout(
        xaxis={"title": {"text": "step"}, "range": [0, end], "zeroline": False},
        yaxis=dict(ACCURACY_AXIS),
        hovermode="closest",
        legend={"y": -0.2, "yanchor": "top"},
    )
    seen: dict[str, int] = {}
    for name, style, curve in runs:
        again = seen[style.colour] = seen.get(style.colour, -1) + 1
        first = DASHES.index(style.dash)
        label = escape_text(name, 40)
        figure.add_scatter(
            x=curve.evaluated_steps,
            y=curve.accuracies,
            mode="lines+markers",
            line={"color": style.colour, "width": 2.5, "dash": DASHES[(first + again) % len(DASHES)]},
            marker={"size": 7, "symbol": style.symbol},
            name=label,
            cliponaxis=False,
            hovertemplate=label.replace("%{", "%&#123;") + "<br>step %{x}: %{y:.1%}<extra></extra>",
            showlegend=True,
        )
    if not any(curve.evaluated_steps for _, _, curve in runs):
        add_note(
            figure, "No selected run has been evaluated yet." if runs else "Select runs in the table to compare them."
        )
    return figure
