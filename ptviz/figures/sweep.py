"""A sweep of settings: parallel coordinates of its runs, a heat map of two settings, and the importance of each."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float
from plotly.colors import sample_colorscale

from ptviz.analysis.sweep import Setting, SettingImportance, SweepTable, setting_values
from ptviz.figures.elements import (
    INSIDE_TEXT,
    TOP_DOWN,
    add_line,
    add_note,
    add_points,
    add_text,
    axis,
    category_axis,
    colour_bar,
    empty_figure,
    named_ticks,
)
from ptviz.figures.heatmap import SEQUENTIAL, add_cells
from ptviz.figures.style import BLUE, PROMPT, escape_hover, escape_text
from ptviz.tasks.metrics import ACCURACY, Metric

_BINS = 6
"""Groups of runs by score in parallel coordinates: each has a colour, and a width as a second cue."""
_MAX_TICKS, _MAX_LABEL = 8, 18
_NO_VALUE = -0.12
"""Height, below all values, of a run whose method does not have a setting."""


def draw_parallel_coordinates(table: SweepTable, metric: Metric = ACCURACY) -> go.Figure:
    """Draw every finished run as a line through its settings, one vertical axis each, and its validation score.

    Values are evenly spaced in their order. Higher scores have brighter and wider lines; the best run is orange.
    """
    done = table.finished()
    figure = empty_figure(460, showlegend=False, margin={"l": 40, "r": 70, "t": 24, "b": 64})
    if not done.rows or not table.names:
        return add_note(figure, "Parallel coordinates need finished runs whose settings differ.")
    # The values of the first axis stand left of it, outside of the plot.
    longest = max(len(_label(value)) for value in setting_values(table, table.names[0]))
    figure.update_layout(margin={"l": 24 + 6 * min(longest, _MAX_LABEL)})
    scores = np.array([row.score for row in done.rows], dtype=np.float64)
    low, high = float(scores.min()), float(scores.max())
    heights = [_heights(table, name) for name in table.names]
    shares = (scores - low) / (high - low) if high > low else np.full_like(scores, 0.5)
    lines = [
        [place.get(_label(row.settings.get(name)), _NO_VALUE) for place, name in zip(heights, table.names, strict=True)]
        for row in done.rows
    ]
    for line, share in zip(lines, shares, strict=True):
        line.append(float(share))
    across = [*range(len(table.names) + 1)]
    bins = np.minimum((shares * _BINS).astype(int), _BINS - 1)
    for number in range(_BINS):
        chosen = [lines[index] for index in np.flatnonzero(bins == number)]
        if not chosen:
            continue
        x: list[float | None] = [value for _ in chosen for value in (*across, None)]
        y: list[float | None] = [value for line in chosen for value in (*line, None)]
        ends = low + (high - low) * number / _BINS, low + (high - low) * (number + 1) / _BINS
        name = f"{metric.format(ends[0])} to {metric.format(ends[1])}"
        colour = sample_colorscale(SEQUENTIAL, (number + 0.5) / _BINS)[0]
        add_line(figure, x, y, name, "", colour, line_width=0.8 + 0.35 * number, opacity=0.75)
    best = int(scores.argmax())
    words = [f"{name} {_label(done.rows[best].settings.get(name))}" for name in table.names]
    hover = [escape_text(word, 60) for word in (*words, f"validation {metric.format(high)}")]
    look = {"mode": "lines+markers", "line_width": 3.5, "line_color": PROMPT, "customdata": hover, "marker_size": 8}
    add_points(figure, across, lines[best], "best run", "best run: %{customdata}", PROMPT, **look)
    _draw_axes(figure, table, heights, low, high, metric)
    return figure


def _heights(table: SweepTable, name: str) -> dict[str, float]:
    """Return the height of each value of a setting, from 0 to 1."""
    values = setting_values(table, name)
    return {_label(value): index / (len(values) - 1) if len(values) > 1 else 0.5 for index, value in enumerate(values)}


def _draw_axes(
    figure: go.Figure,
    table: SweepTable,
    heights: Sequence[dict[str, float]],
    low: float,
    high: float,
    metric: Metric,
) -> None:
    for index, places in enumerate(heights):
        step = -(-len(places) // _MAX_TICKS)
        for label, height in [*places.items()][::step]:
            settings = {"xanchor": "right", "xshift": -6, "font": {"size": 11}}
            add_text(figure, escape_text(label, _MAX_LABEL), index, height, **settings)
    for share in (0.0, 0.5, 1.0):
        text = metric.format(low + share * (high - low))
        add_text(figure, text, len(table.names), share, xanchor="left", xshift=6, font={"size": 11})
    titles = [*table.names, "validation"]
    ticks = named_ticks(titles, 20) | {"range": [-0.1, len(titles) - 0.75]}
    figure.update_layout(
        xaxis=axis("", **ticks, showgrid=True, gridwidth=2), yaxis=axis("", visible=False, range=[-0.17, 1.06])
    )
    if any(row.settings.get(name) is None for row in table.rows for name in table.names):
        add_text(figure, "none", 0, _NO_VALUE, xanchor="right", xshift=-6, font={"size": 11})


def draw_sweep_heatmap(
    table: SweepTable, x: str, y: str, means: Float[np.ndarray, "rows columns"], metric: Metric = ACCURACY
) -> go.Figure:
    """Draw the mean validation score over two settings as a heat map; pairs without a finished run stay empty."""
    columns, rows = ([_label(value) for value in setting_values(table, name)] for name in (x, y))
    figure = empty_figure(110 + 40 * min(max(len(rows), 3), 14))
    known = means[np.isfinite(means)]
    if not known.size:
        return add_note(figure, "No run with these two settings has finished yet.")
    low = float(known.min())
    ends = low, max(float(known.max()), low + 0.05)
    texts = [[metric.format_short(value) if isfinite(value) else "" for value in row] for row in means.tolist()]
    shown = {"text": texts, "texttemplate": "%{text}"} if len(columns) <= 12 and len(rows) <= 20 else {"text": texts}
    hover = f"{escape_hover(escape_text(y, 40))} %{{y}}, {escape_hover(escape_text(x, 40))} %{{x}}: %{{text}}"
    settings = {**shown, "hoverongaps": False}
    add_cells(figure, means, "validation", hover, ends, SEQUENTIAL, **settings)
    figure.data[0].colorbar = colour_bar(f"validation {metric.noun}", tickformat=metric.tick_format)
    return figure.update_layout(
        xaxis=category_axis(columns, 18, escape_text(x, 40)),
        yaxis=category_axis(rows, 18, escape_text(y, 40), **TOP_DOWN),
    )


def draw_setting_importance(importance: SettingImportance) -> go.Figure:
    """Draw the share of the variance of the score that each setting explains on its own, the largest on top."""
    figure = empty_figure(90 + 34 * max(len(importance.names), 2), showlegend=False, margin={"l": 8})
    if not importance.names:
        return add_note(figure, "Importance needs at least eight finished runs whose settings and scores differ.")
    rows = [*range(len(importance.names))]
    figure.add_bar(
        x=list(importance.shares), y=rows, orientation="h", marker_color=BLUE, name="main effect",
        text=[f"{share:.0%}" for share in importance.shares], **{**INSIDE_TEXT, "textposition": "auto"},
        customdata=[escape_text(name, 40) for name in importance.names],
        hovertemplate="%{customdata}: %{x:.1%} of the variance<extra></extra>",
    )  # fmt: skip
    return figure.update_layout(
        xaxis=axis("share of the variance of the validation score", tickformat=".0%", range=[0, 1]),
        yaxis=category_axis(importance.names, 24, **TOP_DOWN),
    )


def _label(value: Setting) -> str:
    if value is None:
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value)
