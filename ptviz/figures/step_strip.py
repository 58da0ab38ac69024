"""A narrow training curve with a cursor at the selected step."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

from ptviz.analysis.training_curves import TrainingCurve
from ptviz.figures.elements import add_line, add_note, axis, cell_axis, empty_figure, score_range
from ptviz.figures.style import PROMPT, SeriesStyle
from ptviz.tasks.metrics import ACCURACY, Metric


def draw_step_strip(
    curve: TrainingCurve, at: int | None, style: SeriesStyle | None = None, metric: Metric = ACCURACY
) -> go.Figure:
    """Draw smoothed training loss (nats, left) and validation score (right) over the steps, with a cursor ``at``."""
    style = style or SeriesStyle()
    right: dict[str, Any] = {"overlaying": "y", "side": "right", "range": score_range(metric, curve.accuracies)}
    right |= {"tickformat": metric.tick_format, "nticks": 3}
    figure = empty_figure(
        140,
        hovermode="x unified",
        margin={"l": 56, "r": 60, "t": 8, "b": 24},
        xaxis=axis(range=[0, max(curve.last_step, 1)]),
        yaxis=axis("loss", rangemode="tozero", nticks=3),
        yaxis2=cell_axis(metric.noun, **right),
        showlegend=False,
    )
    add_line(figure, curve.steps, curve.smoothed_losses, "smoothed loss", "loss %{y:.3f}", style.colour, line_width=2)
    look = {"mode": "lines+markers", "line_width": 1.5, "line_dash": "dot", "marker_size": 5}
    look |= {"yaxis": "y2", "marker_symbol": style.symbol}
    x, y, name = curve.evaluated_steps, curve.accuracies, f"validation {metric.noun}"
    add_line(figure, x, y, name, f"validation %{{y:{metric.value_format}}}", style.colour, **look)
    if at is not None:
        figure.add_vline(x=at, line={"color": PROMPT, "width": 3})
    return figure if curve.steps else add_note(figure, "No step yet.")


def describe_step_strip(curve: TrainingCurve, at: int | None) -> str:
    """Describe the strip: the selected step and its loss."""
    if at is None or not curve.steps:
        return "Training curve: no snapshot yet."
    loss = curve.smoothed_losses[min(range(len(curve.steps)), key=lambda i: abs(curve.steps[i] - at))]
    return f"Training curve of {curve.last_step} steps; selected is step {at}, smoothed loss {loss:z.2f}."
