"""An opened prompt: a thumbnail heat map of its values, and the norm of each token."""

from __future__ import annotations

import math
from dataclasses import dataclass

import plotly.graph_objects as go

from ptviz.figures.style import BLUE, FROZEN, PROMPT, add_note, empty_figure, escape_text

_DIVERGING_SCALE = [[0.0, BLUE], [0.5, "#F4F4F4"], [1.0, PROMPT]]


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
    figure = empty_figure(height=280)
    if not thumbnail.cells:
        return add_note(figure, "This file has no prompt of single tokens.")
    columns = len(thumbnail.cells[0])
    figure.add_heatmap(
        z=thumbnail.cells,
        x=[(column + 0.5) * thumbnail.width / columns for column in range(columns)],
        y=[(row + 0.5) * len(thumbnail.norms) / len(thumbnail.cells) - 0.5 for row in range(len(thumbnail.cells))],
        zmin=-thumbnail.colour_limit,
        zmax=thumbnail.colour_limit,
        colorscale=_DIVERGING_SCALE,
        colorbar={"thickness": 10, "title": {"text": "value", "side": "right"}},
        hovertemplate="token %{y:.0f}, dimension %{x:.0f}: %{z:.3g}<extra></extra>",
        name=escape_text(thumbnail.name),
    )
    figure.update_layout(
        hovermode="closest",
        xaxis={"title": {"text": thumbnail.column_label}, "zeroline": False, "showgrid": False},
        yaxis={"title": {"text": "prompt token"}, "autorange": "reversed", "zeroline": False, "showgrid": False},
    )
    return figure


def draw_thumbnail_norms(thumbnail: PromptThumbnail) -> go.Figure:
    """Draw the L2 norm of each token; outliers as diamonds, the vocabulary's range as a blue band."""
    figure = empty_figure(height=220)
    if not thumbnail.norms:
        return add_note(figure, "This file has no prompt of single tokens.")
    marked = set(thumbnail.outlier_rows)
    usual = [row for row in range(len(thumbnail.norms)) if row not in marked]
    for name, rows, symbol, size in (("token", usual, "circle", 5), ("outlier or dead", sorted(marked), "diamond", 11)):
        if rows:
            figure.add_scatter(
                x=rows,
                y=[thumbnail.norms[row] for row in rows],
                mode="markers",
                marker={"color": PROMPT, "symbol": symbol, "size": size},
                name=name,
                hovertemplate=f"{name} %{{x}}: norm %{{y:.3g}}<extra></extra>",
                showlegend=False,
            )
    if thumbnail.vocabulary_norm_range is not None:
        figure.add_hrect(
            y0=thumbnail.vocabulary_norm_range[0],
            y1=thumbnail.vocabulary_norm_range[1],
            fillcolor=FROZEN,
            opacity=0.15,
            line_width=0,
        )
    positive = [norm for norm in (*thumbnail.norms, *(thumbnail.vocabulary_norm_range or ())) if norm > 0]
    # On a linear axis an outlier would hide the differences of all other tokens.
    far = bool(positive) and max(positive) > 20 * min(positive) and min(thumbnail.norms) > 0
    axis: dict[str, object] = {"title": {"text": "norm"}, "zeroline": False, "rangemode": "tozero"}
    if far:
        low, high = math.log10(min(positive)), math.log10(max(positive))
        axis = {"title": {"text": "norm (log)"}, "type": "log", "range": [low - 0.1, high + 0.1], "dtick": 1}
    figure.update_layout(
        hovermode="closest",
        xaxis={"title": {"text": "prompt token"}, "zeroline": False, "range": [-1, len(thumbnail.norms)]},
        yaxis=axis,
    )
    return figure
