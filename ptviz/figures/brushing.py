"""Linked brushing: what is picked in one figure stands out in the others, which dim the rest and hide nothing."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import plotly.graph_objects as go

FAINT = 0.15
"""Opacity of what is not picked."""
PICK = "pick"
"""Marks a trace whose points a reader may pick; each point's ``customdata`` is what it stands for."""


def dim(figure: go.Figure, rows: Collection[int], columns: Collection[int] = ()) -> go.Figure:
    """Dim the cells of a figure of one heat map but for those in some rows or columns; returns the figure.

    Nothing is dimmed if nothing is picked.
    """
    if not len(figure.data) or not (rows or columns):
        return figure
    bright = figure.data[0]
    z = np.asarray(bright.z, dtype=np.float32)
    kept = np.zeros(z.shape, dtype=bool)
    kept[[row for row in rows if row < z.shape[0]]] = True
    kept[:, [column for column in columns if column < z.shape[1]]] = True
    low, high = float(np.nanmin(z)), float(np.nanmax(z))
    bright.update(zmin=bright.zmin if bright.zmin is not None else low,
                  zmax=bright.zmax if bright.zmax is not None else high)  # fmt: skip
    figure.add_trace(bright)
    faint = figure.data[-1]
    for trace, cells, opacity in ((bright, kept, 1.0), (faint, ~kept, FAINT * 2)):
        trace.update(z=np.where(cells, z, np.nan), opacity=opacity, hoverongaps=False, showscale=trace is bright)
        if trace.text is not None:
            trace.text = np.where(cells, np.asarray(trace.text, dtype=object), "").tolist()
    return figure


def pickable(figure: go.Figure, numbers: Collection[int]) -> go.Figure:
    """Let a reader pick the rows of a heat map; ``numbers`` are what the rows stand for. Returns the figure."""
    for trace in figure.data:
        if trace.type == "heatmap":
            width = np.asarray(trace.z).shape[1]
            trace.update(customdata=[[number] * width for number in numbers], meta=PICK)
    return figure
