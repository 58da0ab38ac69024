"""The data of a figure as CSV, taken from the figure itself: what is exported is what is drawn."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import plotly.graph_objects as go

from ptviz.analysis.csv_text import table_to_csv


def figure_to_csv(figure: go.Figure) -> str:
    """Return every point of a figure as a line of CSV: trace, x, y, z and text; cells of a heat map by row and column.

    Cells without a value are left out.
    """
    points = ([trace.name or "", *row] for trace in figure.data for row in _trace_rows(trace))
    return table_to_csv([["trace", "x", "y", "z", "text"], *points])


def _trace_rows(trace: Any) -> Iterator[list[object]]:
    if trace.type == "heatmap":
        texts = trace.text if trace.hovertext is None else trace.hovertext  # the longer of the two
        for row, values in enumerate(np.asarray(trace.z).tolist()):
            for column, value in enumerate(values):
                if value is None or value != value:
                    continue
                x = column if trace.x is None else trace.x[column]
                y = row if trace.y is None else trace.y[row]
                yield [x, y, value, texts[row][column] if texts is not None else ""]
        return
    found = [getattr(trace, name, None) for name in "xyz"]
    columns: list[list[object]] = [[] if column is None else list(column) for column in found]
    count = max(len(column) for column in columns)
    text = trace.text if isinstance(trace.text, list | tuple | np.ndarray) else ()
    for i in range(count):
        yield [*(column[i] if i < len(column) else "" for column in columns), text[i] if i < len(text) else ""]
