"""Heat maps of matrices, blue below zero, orange above, white at zero; and bars of vectors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from ptviz.figures.style import BLUE, PROMPT, add_note, colour_bar, empty_figure, escape_text

DIVERGING = [[0.0, BLUE], [0.5, "#F5F5F5"], [1.0, PROMPT]]
SEQUENTIAL = "Cividis"
_MAX_NAMED, _MAX_TICKS = 40, 15
"""Rows or columns up to which each has a name, and up to which each has a number."""


def draw_heatmap(
    values: Float[np.ndarray, "rows columns"],
    rows: str = "row",
    columns: str = "column",
    *,
    row_names: Sequence[str] = (),
    column_names: Sequence[str] = (),
    limit: float | None = None,
    signed: bool = True,
    unit: str = "value",
    height: int = 380,
) -> go.Figure:
    """Draw a matrix as a heat map; ``rows`` and ``columns`` are the titles of its axes.

    ``signed`` colours around zero, up to ``limit`` (the largest magnitude by default); otherwise from 0 upwards.
    """
    figure = empty_figure(height)
    if not values.size:
        return add_note(figure, "Nothing to show yet.")
    largest = limit if limit is not None else float(np.nanmax(np.abs(values))) or 1.0
    figure.add_heatmap(
        z=np.asarray(values, dtype=np.float32),
        zmin=-largest if signed else 0,
        zmax=largest,
        colorscale=DIVERGING if signed else SEQUENTIAL,
        colorbar=colour_bar(unit),
        name=unit,
        hovertemplate=f"{rows} %{{y}}, {columns} %{{x}}: %{{z:.3g}}<extra></extra>",
        xgap=1 if values.shape[1] <= _MAX_NAMED else 0,
        ygap=1 if values.shape[0] <= _MAX_NAMED else 0,
    )
    figure.update_layout(
        hovermode="closest",
        xaxis={
            "title": {"text": columns},
            "showgrid": False,
            "zeroline": False,
            **_axis_labels(column_names, values.shape[1]),
        },
        yaxis={
            "title": {"text": rows},
            "autorange": "reversed",
            "showgrid": False,
            "zeroline": False,
            "automargin": True,
            **_axis_labels(row_names, values.shape[0]),
        },
    )
    return figure


def _axis_labels(names: Sequence[str], count: int) -> dict[str, object]:
    """Return tick labels at integer positions, not as categories: two names may be equal once shortened."""
    if not names or len(names) > _MAX_NAMED:
        return {"dtick": 1} if count <= _MAX_TICKS else {"tickformat": "d"}
    return {"tickvals": list(range(len(names))), "ticktext": [escape_text(name, 24) for name in names]}


def describe_heatmap(values: Float[np.ndarray, "rows columns"], rows: str = "row", columns: str = "column") -> str:
    """Describe the matrix: its shape, and the positions of its extremes."""
    if not values.size:
        return "An empty matrix."
    low, high = (np.unravel_index(find(values), values.shape) for find in (np.nanargmin, np.nanargmax))
    return (
        f"A matrix of {values.shape[0]} x {values.shape[1]}. Lowest {values[low]:.3g} at {rows} {low[0]}, {columns} "
        f"{low[1]}; highest {values[high]:.3g} at {rows} {high[0]}, {columns} {high[1]}."
    )


def draw_bars(
    values: Float[np.ndarray, " n"], axis: str = "position", unit: str = "value", names: Sequence[str] = ()
) -> go.Figure:
    """Draw a vector as bars around zero."""
    figure = empty_figure(260)
    if not values.size:
        return add_note(figure, "Nothing to show yet.")
    positions = list(range(len(values)))
    colours = [PROMPT if value >= 0 else BLUE for value in values.tolist()]
    figure.add_bar(
        x=positions,
        y=np.asarray(values, dtype=np.float32),
        marker={"color": colours},
        name=unit,
        hovertemplate=f"{axis} %{{x}}: %{{y:.3g}}<extra></extra>",
    )
    figure.update_layout(
        hovermode="closest",
        xaxis={"title": {"text": axis}, "zeroline": False, "showgrid": False, **_axis_labels(names, len(values))},
        yaxis={"title": {"text": unit}},
        showlegend=False,
    )
    return figure


def describe_bars(values: Float[np.ndarray, " n"], axis: str = "position") -> str:
    """Describe the vector: its extremes and its mean."""
    if not values.size:
        return "No values."
    low, high = int(np.argmin(values)), int(np.argmax(values))
    described = f"{len(values)} values, from {values[low]:.3g} ({axis} {low}) to {values[high]:.3g} ({axis} {high})"
    return f"{described}; mean {values.mean():.3g}."
