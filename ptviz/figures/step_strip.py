"""A narrow training curve with a cursor at the selected step."""

from __future__ import annotations

import plotly.graph_objects as go

from ptviz.analysis.curves import TrainingCurve
from ptviz.figures.style import PROMPT, SeriesStyle, add_note, empty_figure


def draw_step_strip(curve: TrainingCurve, at: int | None, style: SeriesStyle | None = None) -> go.Figure:
    """Draw smoothed training loss (nats, left) and validation accuracy (right) over the steps, with a cursor ``at``."""
    style = style or SeriesStyle()
    figure = empty_figure(140)
    figure.update_layout(
        margin={"l": 56, "r": 60, "t": 8, "b": 24},
        xaxis={"range": [0, max(curve.last_step, 1)], "zeroline": False},
        yaxis={"title": {"text": "loss"}, "rangemode": "tozero", "zeroline": False, "nticks": 3},
        yaxis2={
            "title": {"text": "accuracy"},
            "overlaying": "y",
            "side": "right",
            "range": [0, 1.03],
            "tickformat": ".0%",
            "showgrid": False,
            "zeroline": False,
            "nticks": 3,
        },
        showlegend=False,
    )
    figure.add_scatter(
        x=curve.steps, y=curve.smoothed_losses, mode="lines", line={"color": style.colour, "width": 2},
        name="smoothed loss",
        hovertemplate="loss %{y:.3f}<extra></extra>",
    )  # fmt: skip
    figure.add_scatter(
        x=curve.evaluated_steps, y=curve.accuracies, yaxis="y2", mode="lines+markers", name="validation accuracy",
        line={"color": style.colour, "width": 1.5, "dash": "dot"}, marker={"size": 5, "symbol": style.symbol},
        hovertemplate="validation %{y:.1%}<extra></extra>",
    )  # fmt: skip
    if at is not None:
        figure.add_vline(x=at, line={"color": PROMPT, "width": 3})
    if not curve.steps:
        add_note(figure, "No step yet.")
    return figure


def describe_step_strip(curve: TrainingCurve, at: int | None) -> str:
    """Describe the strip: the selected step and its loss."""
    if at is None or not curve.steps:
        return "Training curve: no snapshot yet."
    loss = curve.smoothed_losses[min(range(len(curve.steps)), key=lambda i: abs(curve.steps[i] - at))]
    return f"Training curve of {curve.last_step} steps; selected is step {at}, smoothed loss {loss:.2f}."
