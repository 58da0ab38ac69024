"""Trainable and stored parameters of a method as a hyperparameter varies."""

from __future__ import annotations

import plotly.graph_objects as go

from ptviz.analysis.parameter_cost import CostCurve
from ptviz.figures.elements import add_line, add_note, add_text, axis, empty_figure
from ptviz.figures.style import FROZEN, GREY, PROMPT, escape_text


def draw_parameter_cost(curve: CostCurve) -> go.Figure:
    """Draw trainable (orange) and stored parameters (blue, dashed) over one hyperparameter; its default is marked."""
    title = escape_text(f"{curve.meaning} ({curve.hyperparameter})")
    figure = empty_figure(
        260,
        hovermode="x unified",
        xaxis=axis(title, rangemode="tozero", zeroline=None),
        yaxis=axis("parameters", rangemode="tozero", tickformat=",~s", zeroline=None),
        margin={"l": 62, "r": 20, "t": 36, "b": 46},
    )
    for name, values, colour, dash, symbol in (
        ("trainable", curve.trainable_parameters, PROMPT, "solid", "circle"),
        ("stored", curve.stored_parameters, FROZEN, "dash", "square"),
    ):
        look = {"mode": "lines+markers", "line_dash": dash, "marker_size": 6, "marker_symbol": symbol}
        add_line(figure, curve.values, values, name, "%{y:,} " + name, colour, **look)
    if curve.default is not None:
        figure.add_vline(x=curve.default, line={"color": GREY, "width": 1, "dash": "dot"})
        add_text(figure, f"default {curve.default}", curve.default, 1, yref="paper", xanchor="left", xshift=4)
    return figure if curve.values else add_note(figure, "This hyperparameter cannot be varied here.")
