"""The data of a figure as CSV, taken from the figure itself: what is exported is what is drawn."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from ptviz.analysis.csv_text import table_to_csv


def figure_to_csv(figure: go.Figure) -> str:
    """Return every point of a figure as a line of CSV: trace, x, y, z and text; cells of a heat map by row and column.

    A position that has a name on its axis is exported as that name, in full. Cells without a value are left out.
    """
    layout = figure.layout.to_plotly_json()
    points = ([trace.name or "", *row] for trace in figure.data for row in _trace_rows(trace, layout))
    return table_to_csv([["trace", "x", "y", "z", "text"], *points])


def _trace_rows(trace: Any, layout: Mapping[str, Any]) -> Iterator[list[object]]:
    columns, rows = (_axis_names(trace, layout, letter) for letter in "xy")
    if trace.type == "heatmap":
        texts = trace.text if trace.hovertext is None else trace.hovertext  # the longer of the two
        for row, values in enumerate(np.asarray(trace.z).tolist()):
            for column, value in enumerate(values):
                if value is None or value != value:
                    continue
                x = column if trace.x is None else trace.x[column]
                y = row if trace.y is None else trace.y[row]
                yield [_named(x, columns), _named(y, rows), value, texts[row][column] if texts is not None else ""]
        return
    x, y, z = ([] if (values := getattr(trace, name, None)) is None else list(values) for name in "xyz")
    text = trace.text if isinstance(trace.text, list | tuple | np.ndarray) else ()
    points = [[_named(value, columns) for value in x], [_named(value, rows) for value in y], z]
    for i in range(max(map(len, points))):
        yield [*(values[i] if i < len(values) else "" for values in points), text[i] if i < len(text) else ""]


def _axis_names(trace: Any, layout: Mapping[str, Any], letter: str) -> Sequence[str]:
    """Return the names of positions 0, 1, 2, ... on the axis that a trace is drawn on; none if it has no names."""
    # Traces in space have no such axis.
    place = (getattr(trace, f"{letter}axis") or letter) if hasattr(trace, f"{letter}axis") else ""
    names = layout.get(f"{letter}axis{place[1:]}", {}).get("categoryarray", ()) if place else ()
    return [html.unescape(name) for name in names]


def _named(value: object, names: Sequence[str]) -> object:
    """Return the name of a position; other values, such as those between two positions, stay."""
    # Integers alone: the branches of a dendrogram above its names are at fractions, some of which are whole.
    if isinstance(value, int | np.integer) and 0 <= value < len(names):
        return names[int(value)]
    return value
