"""Linked brushing: what is selected in one figure is highlighted in the others, which dim the rest."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import plotly.graph_objects as go

from ptviz.figures.style import with_alpha

DIMMED_OPACITY = 0.15
"""Opacity of what is not selected."""
PICKABLE = "pick"
"""The ``meta`` of a trace whose points can be selected by a click; each point's ``customdata`` is its number."""


def dim_cells(figure: go.Figure, rows: Collection[int], columns: Collection[int] = ()) -> go.Figure:
    """Dim the cells of a figure's heat maps except those in some rows or columns; return the figure.

    Nothing is dimmed if nothing is selected.
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


def dim_bars(figure: go.Figure, indices: Collection[int]) -> go.Figure:
    """Dim the bars of a figure except those at some indices; return the figure. No index dims nothing."""
    if indices:
        for trace in figure.data:
            if trace.type == "bar":
                trace.update(
                    marker_opacity=[1.0 if index in indices else DIMMED_OPACITY * 2 for index in range(len(trace.x))]
                )
    return figure


def dim_traces(figure: go.Figure, indices: Collection[int]) -> go.Figure:
    """Dim the traces of a figure except those at some indices; return the figure. No index dims nothing."""
    if indices:
        for index, trace in enumerate(figure.data):
            if index in indices:
                continue
            trace.opacity = DIMMED_OPACITY * 2
            if getattr(trace, "fillcolor", None):  # the opacity of a trace leaves its area as it is
                trace.fillcolor = with_alpha(trace.fillcolor, DIMMED_OPACITY * 2)
    return figure


def make_pickable(figure: go.Figure, numbers: Collection[int], *, columns: bool = False) -> go.Figure:
    """Make the rows of a heat map, or its ``columns``, and the bars of a bar chart selectable; return the figure.

    ``numbers`` are the numbers of the rows, columns or bars, which ``customdata`` carries.
    """
    for trace in figure.data:
        if trace.type == "heatmap":
            height, width = np.asarray(trace.z).shape
            cells = [list(numbers)] * height if columns else [[number] * width for number in numbers]
            trace.update(customdata=cells, meta=PICKABLE)
        elif trace.type == "bar":
            trace.update(customdata=list(numbers), meta=PICKABLE)
    return figure


def has_pickable_trace(figure: go.Figure) -> bool:
    """Return whether a reader may pick something in a figure."""
    return any(trace.meta == PICKABLE for trace in figure.data)
