"""Trainable and stored parameters of a method as a hyperparameter varies."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from ptviz.analysis.parameter_cost import CostCurve
from ptviz.figures.style import FROZEN, GREY, PROMPT, add_note, empty_figure, escape_text


def draw_parameter_cost(curve: CostCurve) -> go.Figure:
    """Draw trainable (orange) and stored parameters (blue, dashed) over one hyperparameter; its default is marked."""
    figure = empty_figure(height=260)
    figure.update_layout(
        xaxis={"title": {"text": escape_text(f"{curve.meaning} ({curve.hyperparameter})")}, "rangemode": "tozero"},
        yaxis={"title": {"text": "parameters"}, "rangemode": "tozero", "tickformat": ",~s"},
        margin={"l": 62, "r": 20, "t": 36, "b": 46},
    )
    lines: Sequence[tuple[str, tuple[int, ...], str, str]] = (
        ("trainable", curve.trainable_parameters, PROMPT, "solid"),
        ("stored", curve.stored_parameters, FROZEN, "dash"),
    )
    for name, values, colour, dash in lines:
        figure.add_scatter(
            x=curve.values,
            y=values,
            name=name,
            mode="lines+markers",
            line={"color": colour, "width": 2.5, "dash": dash},
            marker={"size": 6, "symbol": "circle" if name == "trainable" else "square"},
            hovertemplate="%{y:,} " + name + "<extra></extra>",
        )
    if curve.default is not None:
        figure.add_vline(x=curve.default, line={"color": GREY, "width": 1, "dash": "dot"})
        figure.add_annotation(
            x=curve.default,
            y=1,
            yref="paper",
            text=f"default {curve.default}",
            showarrow=False,
            xanchor="left",
            xshift=4,
        )
    return figure if curve.values else add_note(figure, "This hyperparameter cannot be varied here.")
