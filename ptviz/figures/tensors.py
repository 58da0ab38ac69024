"""The tensors of a method: a gallery of all, two compared row by row, and measurements of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Bool, Float
from plotly.subplots import make_subplots

from ptviz.analysis.tensor_comparison import RowComparison, SharedEnergy
from ptviz.figures.elements import (
    INSIDE_TEXT,
    TOP_DOWN,
    add_line,
    add_note,
    axis,
    category_axis,
    cell_axis,
    empty_figure,
    hatching,
)
from ptviz.figures.heatmap import DIVERGING, add_cells
from ptviz.figures.style import BLUE, FROZEN, GREEN, GREY, PROMPT, escape_text, format_number

_GALLERY_COLUMNS = 3
_FEW_VALUES = 8
"""Values up to which a tensor of the gallery is written out."""


def draw_gallery(parts: Sequence[tuple[str, Sequence[str], Float[np.ndarray, ...]]]) -> go.Figure:
    """Draw every tensor, given as (symbol, names of its axes, values), as a heat map of its rows; leading axes stacked.

    Each has its own scale, from minus to plus its largest magnitude, and its colour bar. Tensors of a few values have
    the scale of the largest magnitude of all, and their values are written: a bias of two would look strongest.
    """
    shown = [(escape_text(name, 24), axes, values) for name, axes, values in parts if values.size]
    if not shown:
        return add_note(empty_figure(200), "No tensor to show yet.")
    down = math.ceil(len(shown) / _GALLERY_COLUMNS)
    titles = [
        f"<b>{name}</b>  {' x '.join(escape_text(axis, 12) for axis in axes) or 'one value'}"
        f" = {' x '.join(map(str, values.shape)) or format_number(float(values))}"
        for name, axes, values in shown
    ]
    gap = {"horizontal_spacing": 0.11}  # room for a colour bar
    figure = make_subplots(down, _GALLERY_COLUMNS, subplot_titles=titles, vertical_spacing=min(0.16, 0.5 / down), **gap)
    base = empty_figure(60 + 150 * down, showlegend=False, margin={"l": 30, "r": 56, "t": 30, "b": 34})
    figure.update_layout({**base.layout.to_plotly_json(), "annotations": figure.layout.annotations})
    for index, (name, axes, values) in enumerate(shown):
        flat = values.reshape(-1, values.shape[-1]) if values.ndim else values.reshape(1, 1)
        few = values.size <= _FEW_VALUES
        largest = float(max(np.abs(one).max() for _, _, one in shown) if few else np.abs(flat).max()) or 1.0
        at = {"row": index // _GALLERY_COLUMNS + 1, "col": index % _GALLERY_COLUMNS + 1}
        hover = f"{name} row %{{y}}, {escape_text(axes[-1], 12) if axes else 'value'} %{{x}}: %{{z:.3~r}}"
        look: dict[str, Any] = {
            "gap": None,
            "colorbar": _gallery_colour_bar(figure, largest, index),
            "showscale": not few,
        }
        if few:
            numbers = [[format_number(value, 2) for value in row] for row in flat.tolist()]
            look |= {"text": numbers, "texttemplate": "%{text}"}
        add_cells(figure, flat, name, hover, (-largest, largest), DIVERGING, **look, **at)
        one_row = {"showticklabels": False} if len(flat) == 1 else {}  # it needs no number
        figure.update_yaxes(autorange="reversed", **one_row, **at)
    figure.update_xaxes(showgrid=False, zeroline=False, tickformat="d", nticks=4)
    figure.update_yaxes(showgrid=False, zeroline=False, autorange="reversed", tickformat="d", nticks=4)
    return figure.update_annotations(font={"size": 12})


def _gallery_colour_bar(figure: go.Figure, largest: float, index: int) -> dict[str, Any]:
    """Return plotly's settings of a colour bar as high as the heat map at an index of the gallery, to its right."""
    number = str(index + 1) if index else ""
    right, (bottom, top) = figure.layout[f"xaxis{number}"].domain[1], figure.layout[f"yaxis{number}"].domain
    place = {"x": right + 0.005, "xanchor": "left", "y": (bottom + top) / 2, "len": top - bottom}
    ends = [-largest, 0, largest]
    ticks = {"tickvals": ends, "ticktext": [format_number(end, 2) for end in ends], "tickfont": {"size": 10}}
    return {"thickness": 6, "outlinewidth": 0, "lenmode": "fraction", "ypad": 0, "xpad": 0, **place, **ticks}


def describe_gallery(parts: Sequence[tuple[str, Sequence[str], Float[np.ndarray, ...]]]) -> str:
    """Describe the gallery: the shape and largest magnitude of every tensor."""
    described = "; ".join(
        f"{name} ({' x '.join(axes) or 'one value'}: {' x '.join(map(str, values.shape)) or 1}), largest magnitude "
        f"{format_number(np.abs(values).max(initial=0.0))}"
        for name, axes, values in parts
    )
    return f"The tensors of the method: {described or 'none'}."


def draw_shared_energy(found: SharedEnergy, names: Sequence[str] = ()) -> go.Figure:
    """Draw one bar per prompt: the share of its energy that it does not share; the line is that of all together."""
    figure = empty_figure(260, showlegend=False)
    count = len(found.own_shares)
    if not count:
        return add_note(figure, "Nothing to compare yet.")
    largest = max(float(found.own_shares.max()), float(found.total_share))
    figure.add_bar(
        x=list(range(count)),
        y=found.own_shares,
        marker={"color": PROMPT},
        text=[f"{share:.0%}" if largest > 0.05 else f"{share:.2%}" for share in found.own_shares.tolist()],
        name="own share",
        hovertemplate="its own: %{y:.1%}<extra></extra>",
        **INSIDE_TEXT,
    )
    figure.add_hline(y=found.total_share, line={"color": GREY, "dash": "dot", "width": 2})
    up = axis("share of energy", tickformat=".0%" if largest > 0.05 else ".2%", rangemode="tozero", zeroline=None)
    labels = list(names) or [str(i) for i in range(count)]
    return figure.update_layout(xaxis=category_axis(labels, 14, "expert, source or task"), yaxis=up)


def describe_shared_energy(found: SharedEnergy) -> str:
    """Describe the shares of energy."""
    if not len(found.own_shares):
        return "Nothing to compare yet."
    each = ", ".join(f"{i}: {share:.0%}" for i, share in enumerate(found.own_shares.tolist()))
    return f"Share of each prompt's energy not shared with the others: {each}; {found.total_share:.0%} altogether."


def draw_row_comparison(found: RowComparison, first: str, second: str, rows: str = "prompt token") -> go.Figure:
    """Draw two tensors row by row: their L2 norms as bars (left), the cosine between them as a line (right)."""
    count = len(found.first_norms)
    if not count:
        return add_note(empty_figure(320), "Nothing to compare yet.")
    right = {"overlaying": "y", "side": "right", "range": [-1.05, 1.05], "tickvals": [-1, -0.5, 0, 0.5, 1]}
    figure = empty_figure(
        320,
        hovermode="x unified",
        barmode="group",
        margin={"r": 56},
        xaxis=cell_axis(rows, dtick=max(1, count // 20)),
        yaxis=axis("L2 norm", rangemode="tozero", zeroline=None),
        yaxis2=cell_axis("cosine", **right),
    )
    positions = list(range(count))
    for name, values, colour, shape in (
        (escape_text(first, 20), found.first_norms, FROZEN, "/"),
        (escape_text(second, 20), found.second_norms, PROMPT, ""),
    ):
        marker, hover = {"color": colour, "pattern": hatching(shape)}, f"{name}: %{{y:.3~r}}<extra></extra>"
        figure.add_bar(x=positions, y=values, marker=marker, name=f"norm of {name}", hovertemplate=hover)
    look = {"yaxis": "y2", "mode": "lines+markers", "line_width": 2, "line_dash": "dot"}
    add_line(figure, positions, found.cosines, "cosine", "cosine %{y:.2f}", GREEN, **look)
    return figure


def describe_row_comparison(found: RowComparison, first: str, second: str) -> str:
    """Describe the comparison: mean norms, mean cosine, and the difference's share of the energy."""
    if not len(found.first_norms):
        return "Nothing to compare yet."
    return (
        f"{first} and {second} row by row: mean norm {format_number(found.first_norms.mean())} and "
        f"{format_number(found.second_norms.mean())}, mean cosine {found.cosines.mean():z.2f}; the difference has "
        f"{found.total_difference_share:.0%} of its and {first}'s energy."
    )


def draw_low_rank_accuracy(
    ranks: Sequence[int],
    accuracy: Sequence[float],
    loss: Sequence[float],
    errors: Sequence[float],
    noun: str = "accuracy",
) -> go.Figure:
    """Draw the share of right answers, called ``noun``, and the relative error of the best approximation of each rank.

    The last is the full prompt.
    """
    names = [str(rank) for rank in ranks]
    if not names:
        return add_note(empty_figure(320), "Nothing measured yet.")
    across = category_axis(names, 6, "rank of the approximation; the last is the full prompt")
    up = axis("share", tickformat=".0%", range=[0, 1.03], zeroline=None)
    figure = empty_figure(320, hovermode="x unified", xaxis=across, yaxis=up)
    x, mode = list(range(len(names))), "lines+markers"
    hover = f"{noun} %{{y:.1%}}, loss %{{customdata:.3f}} nats"
    add_line(figure, x, list(accuracy), noun, hover, mode=mode, customdata=list(loss))
    look = {"mode": mode, "line_width": 2, "line_dash": "dash", "marker_symbol": "square"}
    add_line(figure, x, list(errors), "relative error", "relative error %{y:.1%}", FROZEN, **look)
    return figure.add_hline(y=accuracy[-1], line={"color": GREY, "dash": "dot", "width": 1.5})


def describe_low_rank_accuracy(
    ranks: Sequence[int], accuracy: Sequence[float], errors: Sequence[float], noun: str = "accuracy"
) -> str:
    """Describe the share of right answers, called ``noun``, and relative error at each rank."""
    described = ", ".join(
        f"rank {rank} {right:.0%} (relative error {error:.0%})"
        for rank, right, error in zip(ranks, accuracy, errors, strict=True)
    )
    return f"{noun[:1].upper()}{noun[1:]} with the prompt's best approximation: {described or 'nothing measured yet'}."


def draw_saliency(
    scores: Float[np.ndarray, "m e"], pruned: Bool[np.ndarray, "m e"] | None = None, pieces: str = "piece"
) -> go.Figure:
    """Draw scores (m, e) by prompt token and piece as a heat map; pruned cells are grey."""
    figure = empty_figure(int(min(140 + 18 * max(len(scores), 5), 700)))
    if not scores.size:
        return add_note(figure, "Nothing to show yet.")
    gone = np.zeros(scores.shape, dtype=bool) if pruned is None else pruned
    hover, grey = f"token %{{y}}, {pieces} %{{x}}: ", [[0, GREY], [1, GREY]]
    look = {"colorbar": None, "showscale": False, "opacity": 0.45, "hoverongaps": False}
    add_cells(figure, np.where(gone, 1.0, np.nan), "pruned", f"{hover}pruned", (None, None), grey, **look)
    largest = float(np.where(gone, 0, scores).max()) or 1.0
    left = np.where(gone, np.nan, scores)
    add_cells(figure, left, "score", f"{hover}%{{z:.3~r}}", (0, largest), hoverongaps=False)
    down = cell_axis("prompt token", autorange="reversed", tickformat="d")
    return figure.update_layout(xaxis=cell_axis(pieces, tickformat="d"), yaxis=down)


def describe_saliency(scores: Float[np.ndarray, "m e"], pruned: Bool[np.ndarray, "m e"] | None = None) -> str:
    """Describe the scores: the largest, the most important token, the share that is pruned."""
    if not scores.size:
        return "No scores yet."
    row, column = divmod(int(scores.argmax()), scores.shape[1])
    gone = 0.0 if pruned is None else float(pruned.mean())
    top = scores.sum(1)
    return (
        f"Scores of {scores.shape[0]} prompt tokens by {scores.shape[1]} pieces: largest "
        f"{format_number(scores[row, column])} at token {row}, piece {column}; the strongest token holds "
        f"{top.max() / max(top.sum(), 1e-12):.0%} of all. {gone:.0%} of the pieces are pruned."
    )


def draw_embedding_shift(
    shares: Sequence[float], words: Sequence[str], others: Sequence[str] = (), relation: str = "nearest word after"
) -> go.Figure:
    """Draw one bar per word: the norm of its shift relative to its vector; ``others`` are shown on hover."""
    figure = empty_figure(int(min(110 + 20 * max(len(words), 4), 620)), showlegend=False)
    if not words:
        return add_note(figure, "No word yet.")
    text = [escape_text(word, 24) for word in words]
    if others:
        text = [f"{word}, {relation} {escape_text(other, 24)}" for word, other in zip(text, others, strict=True)]
    figure.add_bar(
        x=list(shares),
        y=list(range(len(words))),
        orientation="h",
        marker={"color": [PROMPT if share > 1 else BLUE for share in shares]},
        text=text,
        textposition="none",
        name="shift",
        hovertemplate="%{text}: %{x:.1%}<extra></extra>",
    )
    across = axis("norm of the shift, relative to the word's vector", tickformat=".0%", zeroline=None)
    return figure.update_layout(xaxis=across, yaxis=category_axis(words, 18, **TOP_DOWN))


def describe_embedding_shift(shares: Sequence[float], words: Sequence[str]) -> str:
    """Describe the shifts: the five largest."""
    if not words:
        return "No word yet."
    ranked = sorted(zip(shares, words, strict=True), reverse=True)[:5]
    return f"{len(words)} words. Moved most: " + ", ".join(f"{word} {share:.0%}" for share, word in ranked) + "."
