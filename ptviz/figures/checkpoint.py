"""A trained prompt at a glance: every number as a colour, and the norm of each token."""

from __future__ import annotations

import math
from dataclasses import dataclass

import plotly.graph_objects as go

from ptviz.figures.style import BLUE, FROZEN, PROMPT, add_note, empty_figure, escape_text

_DIVERGING_SCALE = [[0.0, BLUE], [0.5, "#F4F4F4"], [1.0, PROMPT]]


@dataclass(frozen=True)
class PromptThumbnail:
    """A prompt made small: ``cells`` are block means (rows of tokens, columns of width), ``limit`` the colour's end.

    ``norms`` has one value a token; ``marked`` are rows that stand out; ``band`` is the lowest and highest norm of
    the vocabulary, if a backbone was chosen; ``width`` is how many numbers the columns stand for, ``across`` what these
    are.
    """

    name: str
    cells: tuple[tuple[float, ...], ...] = ()
    colour_limit: float = 1.0
    norms: tuple[float, ...] = ()
    outlier_rows: tuple[int, ...] = ()
    vocabulary_norm_range: tuple[float, float] | None = None
    width: int = 0
    column_label: str = "embedding dimension"


def draw_thumbnail(glance: PromptThumbnail) -> go.Figure:
    """Tokens from top to bottom, embedding dimensions from left to right, blue below zero and orange above."""
    figure = empty_figure(height=280)
    if not glance.cells:
        return add_note(figure, "No prompt of single tokens lies in this file.")
    columns = len(glance.cells[0])
    figure.add_heatmap(
        z=glance.cells,
        x=[(column + 0.5) * glance.width / columns for column in range(columns)],
        y=[(row + 0.5) * len(glance.norms) / len(glance.cells) - 0.5 for row in range(len(glance.cells))],
        zmin=-glance.colour_limit,
        zmax=glance.colour_limit,
        colorscale=_DIVERGING_SCALE,
        colorbar={"thickness": 10, "title": {"text": "value", "side": "right"}},
        hovertemplate="token %{y:.0f}, dimension %{x:.0f}: %{z:.3g}<extra></extra>",
        name=escape_text(glance.name),
    )
    figure.update_layout(
        hovermode="closest",
        xaxis={"title": {"text": glance.column_label}, "zeroline": False, "showgrid": False},
        yaxis={"title": {"text": "prompt token"}, "autorange": "reversed", "zeroline": False, "showgrid": False},
    )
    return figure


def draw_thumbnail_norms(glance: PromptThumbnail) -> go.Figure:
    """The length of each token's vector; rows that stand out as diamonds, the vocabulary's range as a blue band."""
    figure = empty_figure(height=220)
    if not glance.norms:
        return add_note(figure, "No prompt of single tokens lies in this file.")
    marked = set(glance.outlier_rows)
    usual = [row for row in range(len(glance.norms)) if row not in marked]
    for name, rows, symbol, size in (("token", usual, "circle", 5), ("stands out", sorted(marked), "diamond", 11)):
        if rows:
            figure.add_scatter(
                x=rows,
                y=[glance.norms[row] for row in rows],
                mode="markers",
                marker={"color": PROMPT, "symbol": symbol, "size": size},
                name=name,
                hovertemplate=f"{name} %{{x}}: norm %{{y:.3g}}<extra></extra>",
                showlegend=False,
            )
    if glance.vocabulary_norm_range is not None:
        figure.add_hrect(
            y0=glance.vocabulary_norm_range[0],
            y1=glance.vocabulary_norm_range[1],
            fillcolor=FROZEN,
            opacity=0.15,
            line_width=0,
        )
    positive = [norm for norm in (*glance.norms, *(glance.vocabulary_norm_range or ())) if norm > 0]
    # A runaway row would press all others against the axis.
    far = bool(positive) and max(positive) > 20 * min(positive) and min(glance.norms) > 0
    axis: dict[str, object] = {"title": {"text": "norm"}, "zeroline": False, "rangemode": "tozero"}
    if far:
        low, high = math.log10(min(positive)), math.log10(max(positive))
        axis = {"title": {"text": "norm (log)"}, "type": "log", "range": [low - 0.1, high + 0.1], "dtick": 1}
    figure.update_layout(
        hovermode="closest",
        xaxis={"title": {"text": "prompt token"}, "zeroline": False, "range": [-1, len(glance.norms)]},
        yaxis=axis,
    )
    return figure
