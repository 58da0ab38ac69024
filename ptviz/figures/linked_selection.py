"""Linked brushing: what is picked in one figure stands out in the others, which dim the rest and hide nothing."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import plotly.graph_objects as go
from plotly.colors import hex_to_rgb

DIMMED_OPACITY = 0.15
"""Opacity of what is not picked."""
PICKABLE = "pick"
"""Marks a trace whose points a reader may pick; each point's ``customdata`` is what it stands for."""


def dim_cells(figure: go.Figure, rows: Collection[int], columns: Collection[int] = ()) -> go.Figure:
    """Dim the cells of a figure's heat maps but for those in some rows or columns; returns the figure.

    Nothing is dimmed if nothing is picked.
    """
    if not (rows or columns):
        return figure
    for bright in [trace for trace in figure.data if trace.type == "heatmap"]:
        z = np.asarray(bright.z, dtype=np.float32)
        if np.isnan(z).all():
            continue
        kept = np.zeros(z.shape, dtype=bool)
        kept[[row for row in rows if row < z.shape[0]]] = True
        kept[:, [column for column in columns if column < z.shape[1]]] = True
        low, high = float(np.nanmin(z)), float(np.nanmax(z))
        bright.update(zmin=bright.zmin if bright.zmin is not None else low,
                      zmax=bright.zmax if bright.zmax is not None else high)  # fmt: skip
        figure.add_trace(bright)
        faint = figure.data[-1]
        scaled = bright.showscale is not False
        full = 1.0 if bright.opacity is None else float(bright.opacity)
        for trace, cells, opacity in ((bright, kept, full), (faint, ~kept, DIMMED_OPACITY * 2 * full)):
            z_shown = np.where(cells, z, np.nan)
            trace.update(z=z_shown, opacity=opacity, hoverongaps=False, showscale=scaled and trace is bright)
            if trace.text is not None:
                trace.text = np.where(cells, np.asarray(trace.text, dtype=object), "").tolist()
    return figure


def dim_bars(figure: go.Figure, places: Collection[int]) -> go.Figure:
    """Dim the bars of a figure but for those at some places; returns the figure. Nothing picked dims nothing."""
    if places:
        for trace in figure.data:
            if trace.type == "bar":
                trace.update(
                    marker_opacity=[1.0 if place in places else DIMMED_OPACITY * 2 for place in range(len(trace.x))]
                )
    return figure


def dim_traces(figure: go.Figure, places: Collection[int]) -> go.Figure:
    """Dim the traces of a figure but for some of them, by their places; returns the figure."""
    if places:
        for place, trace in enumerate(figure.data):
            if place in places:
                continue
            trace.opacity = DIMMED_OPACITY * 2
            if getattr(trace, "fillcolor", None):  # the opacity of a trace leaves its area as it is
                red, green, blue = hex_to_rgb(trace.fillcolor)
                trace.fillcolor = f"rgba({red}, {green}, {blue}, {DIMMED_OPACITY * 2})"
    return figure


def make_pickable(figure: go.Figure, numbers: Collection[int], *, columns: bool = False) -> go.Figure:
    """Let a reader pick the rows of a heat map, or its ``columns``, and the bars of a bar chart.

    ``numbers`` are what the rows, columns or bars stand for. Returns the figure.
    """
    for trace in figure.data:
        if trace.type == "heatmap":
            height, width = np.asarray(trace.z).shape
            told = [list(numbers)] * height if columns else [[number] * width for number in numbers]
            trace.update(customdata=told, meta=PICKABLE)
        elif trace.type == "bar":
            trace.update(customdata=list(numbers), meta=PICKABLE)
    return figure


def has_pickable_trace(figure: go.Figure) -> bool:
    """Return whether a reader may pick something in a figure."""
    return any(trace.meta == PICKABLE for trace in figure.data)
