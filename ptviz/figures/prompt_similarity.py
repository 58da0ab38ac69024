"""Similarity of prompts with their clusters, and prompts as points."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from ptviz.analysis.projection import Projection
from ptviz.analysis.prompt_clusters import Dendrogram
from ptviz.analysis.prompt_similarity import RandomSimilarity
from ptviz.figures.elements import (
    add_line,
    add_note,
    add_points,
    axis,
    category_axis,
    cell_axis,
    empty_figure,
)
from ptviz.figures.heatmap import DIVERGING, ROW_HEIGHT, add_written_cells, cell_hover_texts
from ptviz.figures.label_placement import label_points
from ptviz.figures.style import GREY, escape_text, format_number, series_style

_SEQUENTIAL_SCALE = [[0.0, DIVERGING[1][1]], [1.0, DIVERGING[2][1]]]


_MAX_NAMED = 40
"""Points up to which a projection labels each."""


def draw_similarity(
    values: Float[np.ndarray, "n n"],
    names: Sequence[str],
    tree: Dendrogram,
    metric: str,
    unrelated: RandomSimilarity | None = None,
) -> go.Figure:
    """Draw similarities as a heat map in the order of the clustering, with its dendrogram on top.

    The colours end at the largest value off the diagonal, which is the same for every prompt. The title of the colour
    bar gives the median of ``unrelated``, random prompts. Cells without a value stay empty.
    """
    count = len(values)
    figure = empty_figure(170 + ROW_HEIGHT * max(count, 4))
    if count < 2:
        return add_note(figure, "At least two prompts are needed.")
    order = list(tree.order)
    away = values[~np.eye(count, dtype=bool) & np.isfinite(values)]
    if not away.size:
        return add_note(figure, f"{metric} is not defined for prompts of so few tokens.")
    limit, least = float(np.abs(away).max()) or 1.0, float(away.min())
    # Blue is for negative similarity; a measure without any uses all of its colours for the values there are.
    unlike = least < -limit / 10
    low = -limit if unlike else least if limit > least > limit / 2 else 0.0
    shown = values[np.ix_(order, order)]
    texts = [[_similarity_text(value, limit) for value in row] for row in shown.tolist()]
    if unrelated is not None and math.isfinite(unrelated.median):
        metric = f"{metric}<br>(random: {_similarity_text(unrelated.median, limit)})"
    titles, scale = [names[i] for i in order], DIVERGING if unlike else _SEQUENTIAL_SCALE
    add_written_cells(figure, shown, texts, cell_hover_texts(texts, titles, titles, "{task} and {prompt}: {value}"),
                (low, limit), scale, metric)  # fmt: skip
    look = {"yaxis": "y2", "line_width": 1.6, "showlegend": False}
    for x, height in zip(tree.positions.tolist(), tree.heights.tolist(), strict=True):
        add_line(figure, x, height, "dendrogram", "", GREY, **look)
    share = 70 / (126 + ROW_HEIGHT * max(count, 4))
    # Above the heat map, with the same horizontal axis.
    above = {"domain": [1 - share, 1], "anchor": "x", "nticks": 3, "range": _dendrogram_range(tree.heights)}
    down = category_axis(titles, 34, range=[count - 0.5, -0.5], automargin=True, domain=[0, 0.98 - share])
    across = category_axis(titles, 34, range=[-0.5, count - 0.5], tickangle=40, automargin=True)
    return figure.update_layout(xaxis=across, yaxis=down, yaxis2=cell_axis("distance", **above))


def _similarity_text(value: float, limit: float) -> str:
    if not math.isfinite(value):
        return ""
    return f"{value:z.2f}" if limit >= 0.1 else f"{value:.2g}"


def _dendrogram_range(heights: Float[np.ndarray, "links 4"]) -> list[float]:
    """Return the range of a dendrogram's axis: from 0, unless all links would then be near its top."""
    low, high = float(heights.max(1).min()), float(heights.max())
    span = high - low
    base = low - 0.5 * span if 0 < span < high / 3 else 0.0
    return [base, (high + 0.05 * (high - base)) or 1.0]


def describe_similarity(
    values: Float[np.ndarray, "n n"],
    names: Sequence[str],
    tree: Dendrogram,
    metric: str,
    unrelated: RandomSimilarity | None = None,
) -> str:
    """Describe the heat map: the most and least similar pair, random prompts, and the order of the clustering."""
    if len(values) < 2:
        return "Fewer than two prompts: nothing to compare."
    rows, columns = np.triu_indices(len(values), 1)
    pairs = values[rows, columns]
    if not np.isfinite(pairs).any():
        return f"Similarity ({metric}) of {len(values)} prompts: not defined for so few tokens."
    most, least = int(np.nanargmax(pairs)), int(np.nanargmin(pairs))
    random = "" if unrelated is None else f" {describe_random_similarity(unrelated)}"
    order = ", ".join(names[i] for i in tree.order)
    return (
        f"Similarity ({metric}) of {len(values)} prompts, clustered. Most similar: {names[rows[most]]} and "
        f"{names[columns[most]]}, {format_number(pairs[most])}; least: {names[rows[least]]} and "
        f"{names[columns[least]]}, {format_number(pairs[least])}.{random} In the order of the clusters: {order}."
    )


def describe_random_similarity(found: RandomSimilarity) -> str:
    """Say what a measure gives for random prompts; "" if that is not known."""
    if not math.isfinite(found.median):
        return ""
    limit = max(abs(found.low), abs(found.high))
    median, low, high = (_similarity_text(value, limit) for value in (found.median, found.low, found.high))
    return (
        f"Random prompts of the same shapes have {median} ({low} to {high} in 95% of {found.pairs} pairs, "
        f"seed {found.seed})."
    )


def draw_prompt_projection(found: Projection, names: Sequence[str], groups: Sequence[int]) -> go.Figure:
    """Draw prompts as points in a projection to two dimensions, each at its mean token; a ``group`` shares a style."""
    titles, shares = ["axis 1", "axis 2"], found.explained_variance or ()
    titles = [f"{one} ({share:.0%} of the variance)" for one, share in zip(titles, shares, strict=False)] or titles
    # No equal scales: the axes of a PCA differ in their variance, and labels need room.
    across, up = (axis(title, automargin=True) for title in titles)
    figure = empty_figure(430, xaxis=across, yaxis=up)
    points = found.background[:, :2].tolist()
    for (x, y), name, group in zip(points, names, groups, strict=True):
        style = series_style(group)
        look = {"marker_size": 11, "marker_symbol": style.symbol, "showlegend": False, "cliponaxis": False}
        text = [escape_text(name, 28)]
        add_points(figure, [x], [y], escape_text(name, 40), "%{text}", style.colour, text=text, **look)
    if len(names) <= _MAX_NAMED:
        label_points(figure, points, {index: escape_text(name, 28) for index, name in enumerate(names)})
    return figure if names else add_note(figure, "No prompt to show.")


def describe_prompt_projection(found: Projection, names: Sequence[str]) -> str:
    """Describe the projection: its prompts and its share of the variance."""
    share = (
        f" Its two axes hold {sum(found.explained_variance):.0%} of the variance." if found.explained_variance else ""
    )
    return f"{found.kind} projection of the mean tokens of {len(names)} prompts: {', '.join(names)}.{share}"
