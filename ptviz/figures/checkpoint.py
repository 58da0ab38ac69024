"""An opened prompt: a thumbnail heat map of its values, and the norm of each token."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from ptviz.figures.elements import add_note, add_points, axis, cell_axis, empty_figure
from ptviz.figures.heatmap import DIVERGING, add_cells
from ptviz.figures.style import FROZEN, escape_text, series_style


@dataclass(frozen=True)
class PromptThumbnail:
    """A prompt downsampled for a heat map: ``cells`` are block means, rows of tokens and columns of dimensions.

    ``colour_limit`` is the value of the full colour. ``norms`` has one L2 norm per token; ``outlier_rows`` are marked;
    ``vocabulary_norm_range`` is the lowest and highest norm of the vocabulary, if a backbone is chosen. ``width`` is
    the number of dimensions, ``column_label`` what they are.
    """

    name: str
    cells: tuple[tuple[float, ...], ...] = ()
    colour_limit: float = 1.0
    norms: tuple[float, ...] = ()
    outlier_rows: tuple[int, ...] = ()
    vocabulary_norm_range: tuple[float, float] | None = None
    width: int = 0
    column_label: str = "embedding dimension"


def draw_thumbnail(thumbnail: PromptThumbnail) -> go.Figure:
    """Draw the thumbnail: tokens (rows) by dimensions (columns), blue below zero and orange above."""
    figure = empty_figure(280)
    if not thumbnail.cells:
        return add_note(figure, "This file has no prompt of single tokens.")
    rows, columns, limit = len(thumbnail.cells), len(thumbnail.cells[0]), thumbnail.colour_limit
    hover = "token %{y:.0f}, dimension %{x:.0f}: %{z:.3~r}"
    x = [(column + 0.5) * thumbnail.width / columns - 0.5 for column in range(columns)]
    y = [(row + 0.5) * len(thumbnail.norms) / rows - 0.5 for row in range(rows)]
    name = escape_text(thumbnail.name)
    add_cells(figure, thumbnail.cells, "value", hover, (-limit, limit), DIVERGING, gap=None, x=x, y=y, name=name)
    down = cell_axis("prompt token", autorange="reversed")
    return figure.update_layout(xaxis=cell_axis(thumbnail.column_label), yaxis=down)


def draw_norms_compared(thumbnails: Sequence[PromptThumbnail], names: Sequence[str]) -> go.Figure:
    """Draw the L2 norm of each token of several prompts on one logarithmic axis; outliers as diamonds."""
    figure = empty_figure(300)
    drawn = [(one, name) for one, name in zip(thumbnails, names, strict=True) if any(norm > 0 for norm in one.norms)]
    for number, (thumbnail, name) in enumerate(drawn):
        style, title, marked = series_style(number), escape_text(name, 40), set(thumbnail.outlier_rows)
        rows = [row for row, norm in enumerate(thumbnail.norms) if norm > 0]
        look = {
            "marker_symbol": ["diamond" if row in marked else style.symbol for row in rows],
            "marker_size": [11 if row in marked else 6 for row in rows],
        }
        norms = [thumbnail.norms[row] for row in rows]
        add_points(figure, rows, norms, title, f"{title}, token %{{x}}: norm %{{y:.3g}}", style.colour, **look)
    longest = max((len(one.norms) for one, _ in drawn), default=1)
    figure.update_layout(
        xaxis=axis("prompt token", range=[-1, longest]), yaxis=axis("norm (log)", type="log", zeroline=None)
    )
    return figure if drawn else add_note(figure, "Neither has a prompt of single tokens.")


def draw_thumbnail_norms(thumbnail: PromptThumbnail) -> go.Figure:
    """Draw the L2 norm of each token; outliers as diamonds, the vocabulary's range as a blue band."""
    figure = empty_figure(220)
    if not thumbnail.norms:
        return add_note(figure, "This file has no prompt of single tokens.")
    norms, band, marked = thumbnail.norms, thumbnail.vocabulary_norm_range, set(thumbnail.outlier_rows)
    usual = [row for row in range(len(norms)) if row not in marked]
    for name, rows, symbol, size in (("token", usual, "circle", 5), ("outlier or dead", sorted(marked), "diamond", 11)):
        if rows:
            look = {"marker_symbol": symbol, "marker_size": size, "showlegend": False}
            add_points(figure, rows, [norms[row] for row in rows], name, f"{name} %{{x}}: norm %{{y:.3~r}}", **look)
    if band is not None:
        figure.add_hrect(y0=band[0], y1=band[1], fillcolor=FROZEN, opacity=0.15, line_width=0)
    positive = [norm for norm in (*norms, *(band or ())) if norm > 0]
    up = axis("norm", rangemode="tozero")
    # On a linear axis an outlier would hide the differences of all other tokens.
    if positive and max(positive) > 20 * min(positive) and min(norms) > 0:
        low, high = math.log10(min(positive)), math.log10(max(positive))
        up = axis("norm (log)", type="log", range=[low - 0.1, high + 0.1], dtick=1, zeroline=None)
    return figure.update_layout(xaxis=axis("prompt token", range=[-1, len(norms)]), yaxis=up)
