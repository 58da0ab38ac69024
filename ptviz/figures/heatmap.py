"""Heat maps of matrices, blue below zero, orange above, white at zero; and bars of vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from ptviz.figures.elements import TOP_DOWN, add_note, axis, cell_axis, colour_bar, empty_figure, named_ticks
from ptviz.figures.style import BLUE, PROMPT, escape_text, format_number

DIVERGING = [[0.0, BLUE], [0.5, "#F5F5F5"], [1.0, PROMPT]]
SEQUENTIAL = "Cividis"
ROW_HEIGHT = 30
"""Pixels of a row whose name and values are written."""
_MAX_NAMED, _MAX_TICKS = 40, 15
_MAX_WRITTEN = 20
"""Columns up to which each cell shows its value."""
"""Rows or columns up to which each has a name, and up to which each has a number."""


def add_cells(
    figure: go.Figure,
    values: Any,
    title: str,
    hover: str,
    ends: tuple[float | None, float | None] = (0, 1),
    scale: Any = SEQUENTIAL,
    /,
    gap: Any = 1,
    tickformat: Any = None,
    **settings: Any,
) -> None:
    """Draw a matrix as coloured cells with a colour bar.

    ``title`` is that of the colour bar and ``ends`` are its values, ``hover`` is plotly's template of the text on
    hover, ``gap`` is in pixels, and ``settings`` are further ones of plotly's heat map.
    """
    z = np.asarray(values, dtype=np.float32) if isinstance(values, np.ndarray) else values
    cells = {"z": z, "zmin": ends[0], "zmax": ends[1], "colorscale": scale}
    bar = {"colorbar": colour_bar(title, tickformat=tickformat), "name": title}
    shown = {"hovertemplate": f"{hover}<extra></extra>", "xgap": gap, "ygap": gap}
    figure.add_heatmap(**{**cells, **bar, **shown, **settings})


def cell_hover_texts(
    texts: Sequence[Sequence[str]], tasks: Sequence[str], prompts: Sequence[str], words: str
) -> list[list[str]]:
    """Return the hover text of each cell."""
    rows, columns = ([escape_text(name, 34) for name in names] for names in (tasks, prompts))
    return [
        [words.format(task=task, prompt=prompt, value=text) for prompt, text in zip(columns, row, strict=True)]
        for task, row in zip(rows, texts, strict=True)
    ]


def add_written_cells(
    figure: go.Figure,
    values: Float[np.ndarray, "t n"],
    texts: Sequence[Sequence[str]],
    hover: Sequence[Sequence[str]],
    ends: tuple[float, float],
    scale: Any,
    title: str,
    **settings: Any,
) -> None:
    """Draw cells that show their values, unless there are too many columns."""
    template = "%{text}" if values.shape[1] <= _MAX_WRITTEN else None
    more = {"text": texts, "texttemplate": template, "hovertext": hover, "hoverongaps": False}
    add_cells(figure, values, title, "%{hovertext}", ends, scale, **more, **settings)


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
    ends, scale = ((-largest, largest), DIVERGING) if signed else ((0, largest), SEQUENTIAL)
    gaps = {"xgap": int(values.shape[1] <= _MAX_NAMED), "ygap": int(values.shape[0] <= _MAX_NAMED)}
    add_cells(figure, values, unit, f"{rows} %{{y}}, {columns} %{{x}}: %{{z:.3~r}}", ends, scale, **gaps)
    return figure.update_layout(
        xaxis=cell_axis(columns, **_axis_labels(column_names, values.shape[1])),
        yaxis=cell_axis(rows, **TOP_DOWN, **_axis_labels(row_names, values.shape[0])),
    )


def _axis_labels(names: Sequence[str], count: int) -> dict[str, object]:
    """Return tick labels at integer positions, not as categories: two names may be equal once shortened."""
    if not names or len(names) > _MAX_NAMED:
        return {"dtick": 1} if count <= _MAX_TICKS else {"tickformat": "d"}
    return named_ticks(names, 24)


def describe_heatmap(values: Float[np.ndarray, "rows columns"], rows: str = "row", columns: str = "column") -> str:
    """Describe the matrix: its shape without empty rows and columns, and the positions of its extremes."""
    known = ~np.isnan(values)
    if not known.any():
        return "An empty matrix."
    low, high = (np.unravel_index(find(values), values.shape) for find in (np.nanargmin, np.nanargmax))
    lowest, highest = format_number(values[low]), format_number(values[high])
    return (
        f"A matrix of {known.any(1).sum()} x {known.any(0).sum()}. Lowest {lowest} at {rows} {low[0]}, {columns} "
        f"{low[1]}; highest {highest} at {rows} {high[0]}, {columns} {high[1]}."
    )


def draw_bars(
    values: Float[np.ndarray, " n"],
    axis_title: str = "position",
    unit: str = "value",
    names: Sequence[str] = (),
    numbers: Sequence[int] = (),
) -> go.Figure:
    """Draw a vector as bars around zero; ``numbers`` are those of the bars, 0, 1, 2, ... by default."""
    figure = empty_figure(260)
    if not values.size:
        return add_note(figure, "Nothing to show yet.")
    figure.add_bar(
        x=list(numbers or range(len(values))),
        y=np.asarray(values, dtype=np.float32),
        marker={"color": [PROMPT if value >= 0 else BLUE for value in values.tolist()]},
        name=unit,
        hovertemplate=f"{axis_title} %{{x}}: %{{y:.3~r}}<extra></extra>",
    )
    across = cell_axis(axis_title, **_axis_labels(names, len(values)))
    return figure.update_layout(xaxis=across, yaxis=axis(unit, zeroline=None), showlegend=False)


def describe_bars(values: Float[np.ndarray, " n"], axis: str = "position", numbers: Sequence[int] = ()) -> str:
    """Describe the vector: its extremes and its mean; ``numbers`` as in ``draw_bars``."""
    if not values.size:
        return "No values."
    low, high = int(np.argmin(values)), int(np.argmax(values))
    lowest, highest = format_number(values[low]), format_number(values[high])
    first, last = (numbers[low], numbers[high]) if numbers else (low, high)
    described = f"{len(values)} values, from {lowest} ({axis} {first}) to {highest} ({axis} {last})"
    return f"{described}; mean {format_number(values.mean())}."
