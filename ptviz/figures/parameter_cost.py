"""How many numbers a method trains and stores as a knob grows."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from ptviz.analysis.parameter_cost import CostCurve
from ptviz.figures.style import FROZEN, GREY, PROMPT, canvas, note, plain


def draw_cost(curve: CostCurve) -> go.Figure:
    """Two lines over one knob: trained in orange, stored in blue and dashed; the default is marked."""
    figure = canvas(height=260)
    figure.update_layout(
        xaxis={"title": {"text": plain(f"{curve.meaning} ({curve.knob})")}, "rangemode": "tozero"},
        yaxis={"title": {"text": "numbers"}, "rangemode": "tozero", "tickformat": ",~s"},
        margin={"l": 62, "r": 20, "t": 36, "b": 46},
    )
    lines: Sequence[tuple[str, tuple[int, ...], str, str]] = (
        ("trained", curve.trained, PROMPT, "solid"),
        ("stored", curve.stored, FROZEN, "dash"),
    )
    for name, values, colour, dash in lines:
        figure.add_scatter(
            x=curve.at,
            y=values,
            name=name,
            mode="lines+markers",
            line={"color": colour, "width": 2.5, "dash": dash},
            marker={"size": 6, "symbol": "circle" if name == "trained" else "square"},
            hovertemplate="%{y:,} " + name + "<extra></extra>",
        )
    if curve.usual is not None:
        figure.add_vline(x=curve.usual, line={"color": GREY, "width": 1, "dash": "dot"})
        figure.add_annotation(
            x=curve.usual, y=1, yref="paper", text=f"default {curve.usual}", showarrow=False, xanchor="left", xshift=4
        )
    return figure if curve.at else note(figure, "This knob could not be varied here.")
