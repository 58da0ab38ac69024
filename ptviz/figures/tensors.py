"""The parts of a method: all of them at a glance, two of them row by row, and what was measured about them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Bool, Float
from plotly.subplots import make_subplots

from ptviz.analysis.tensor_comparison import RowComparison, SharedEnergy
from ptviz.figures.heatmap import DIVERGING, SEQUENTIAL
from ptviz.figures.style import BLUE, FROZEN, GREEN, GREY, PROMPT, add_note, category_axis, empty_figure, escape_text

_GALLERY_COLUMNS = 3


def draw_gallery(parts: Sequence[tuple[str, Sequence[str], Float[np.ndarray, ...]]]) -> go.Figure:
    """Every part as coloured cells, given as (symbol, names of its axes, values): rows of the leading axes stacked.

    Each has a scale of its own, from minus to plus its largest magnitude.
    """
    shown = [(name, axes, values) for name, axes, values in parts if values.size]
    if not shown:
        return add_note(empty_figure(200), "No part to show yet.")
    down = math.ceil(len(shown) / _GALLERY_COLUMNS)
    titles = [
        f"<b>{escape_text(name, 24)}</b>  {' x '.join(escape_text(axis, 12) for axis in axes) or 'one number'}"
        f" = {' x '.join(map(str, values.shape)) or f'{float(values):.3g}'}"
        for name, axes, values in shown
    ]
    figure = make_subplots(down, _GALLERY_COLUMNS, subplot_titles=titles, vertical_spacing=min(0.16, 0.5 / down))
    base = empty_figure(60 + 150 * down)
    figure.update_layout({**base.layout.to_plotly_json(), "annotations": figure.layout.annotations})
    figure.update_layout(hovermode="closest", showlegend=False, margin={"l": 30, "r": 16, "t": 30, "b": 34})
    for index, (name, axes, values) in enumerate(shown):
        flat = values.reshape(-1, values.shape[-1]) if values.ndim else values.reshape(1, 1)
        largest = float(np.abs(flat).max()) or 1.0
        figure.add_heatmap(
            z=flat.astype(np.float32),
            zmin=-largest,
            zmax=largest,
            colorscale=DIVERGING,
            showscale=False,
            name=escape_text(name, 24),
            hovertemplate=f"{escape_text(name, 24)} row %{{y}}, {escape_text(axes[-1], 12) if axes else 'value'} %{{x}}: %{{z:.3g}}"
            "<extra></extra>",
            row=index // _GALLERY_COLUMNS + 1,
            col=index % _GALLERY_COLUMNS + 1,
        )
    figure.update_xaxes(showgrid=False, zeroline=False, tickformat="d", nticks=4)
    figure.update_yaxes(showgrid=False, zeroline=False, autorange="reversed", tickformat="d", nticks=4)
    for index, trace in enumerate(figure.data):
        if len(trace.z) == 1:  # one row needs no number
            figure.update_yaxes(
                showticklabels=False, row=index // _GALLERY_COLUMNS + 1, col=index % _GALLERY_COLUMNS + 1
            )
    figure.update_annotations(font={"size": 12})
    return figure


def describe_gallery(parts: Sequence[tuple[str, Sequence[str], Float[np.ndarray, ...]]]) -> str:
    """The parts in words."""
    told = "; ".join(
        f"{name} ({' x '.join(axes) or 'a number'}: {' x '.join(map(str, values.shape)) or 1}), largest magnitude "
        f"{np.abs(values).max(initial=0.0):.3g}"
        for name, axes, values in parts
    )
    return f"The parts of the method: {told or 'none'}."


def draw_shared_energy(found: SharedEnergy, names: Sequence[str] = ()) -> go.Figure:
    """One bar a prompt: the share of its energy that is its own; the line is that of all together."""
    figure = empty_figure(260)
    count = len(found.own_shares)
    if not count:
        return add_note(figure, "Nothing to compare yet.")
    labels = list(names) or [str(i) for i in range(count)]
    figure.add_bar(
        x=list(range(count)),
        y=found.own_shares,
        marker={"color": PROMPT},
        text=[f"{share:.0%}" for share in found.own_shares.tolist()],
        textposition="inside",
        insidetextanchor="start",
        textangle=0,
        name="own share",
        hovertemplate="its own: %{y:.1%}<extra></extra>",
    )
    figure.add_hline(y=found.total_share, line={"color": GREY, "dash": "dot", "width": 2})
    figure.update_layout(
        hovermode="closest",
        showlegend=False,
        xaxis={"title": {"text": "expert, source or task"}, **category_axis(labels, 14)},
        yaxis={"title": {"text": "share of energy"}, "tickformat": ".0%", "rangemode": "tozero"},
    )
    return figure


def describe_shared_energy(found: SharedEnergy) -> str:
    """The shares in words."""
    if not len(found.own_shares):
        return "Nothing to compare yet."
    each = ", ".join(f"{i}: {share:.0%}" for i, share in enumerate(found.own_shares.tolist()))
    return f"Share of each prompt's energy that the others do not have: {each}; {found.total_share:.0%} altogether."


def draw_row_comparison(found: RowComparison, first: str, second: str, axis: str = "prompt token") -> go.Figure:
    """Two parts row by row: their lengths as bars, the cosine between them as a line on the right."""
    figure = empty_figure(320)
    count = len(found.first_norms)
    if not count:
        return add_note(figure, "Nothing to compare yet.")
    places = list(range(count))
    for name, values, colour, shape in (
        (first, found.first_norms, FROZEN, "/"),
        (second, found.second_norms, PROMPT, ""),
    ):
        figure.add_bar(
            x=places,
            y=values,
            marker={"color": colour, "pattern": {"shape": shape, "fillmode": "overlay", "size": 6, "solidity": 0.25}},
            name=f"length of {escape_text(name, 20)}",
            hovertemplate=f"{escape_text(name, 20)}: %{{y:.3g}}<extra></extra>",
        )
    figure.add_scatter(
        x=places,
        y=found.cosines,
        yaxis="y2",
        mode="lines+markers",
        line={"color": GREEN, "width": 2, "dash": "dot"},
        name="cosine",
        hovertemplate="cosine %{y:.2f}<extra></extra>",
    )
    figure.update_layout(
        barmode="group",
        margin={"r": 56},
        xaxis={"title": {"text": axis}, "dtick": max(1, count // 20), "showgrid": False, "zeroline": False},
        yaxis={"title": {"text": "length"}, "rangemode": "tozero"},
        yaxis2={"title": {"text": "cosine"}, "overlaying": "y", "side": "right", "range": [-1.05, 1.05],
                "tickvals": [-1, -0.5, 0, 0.5, 1],
                "showgrid": False, "zeroline": False},
    )  # fmt: skip
    return figure


def describe_row_comparison(found: RowComparison, first: str, second: str) -> str:
    """The comparison in words."""
    if not len(found.first_norms):
        return "Nothing to compare yet."
    return (
        f"{first} and {second} row by row: mean length {found.first_norms.mean():.3g} and {found.second_norms.mean():.3g}, mean "
        f"cosine {found.cosines.mean():.2f}; the difference has {found.total_difference_share:.0%} of its and {first}'s energy."
    )


def draw_low_rank_accuracy(
    ranks: Sequence[int], accuracy: Sequence[float], loss: Sequence[float], errors: Sequence[float]
) -> go.Figure:
    """Accuracy of the best approximation of each rank, and the share of the prompt that it misses."""
    figure = empty_figure(320)
    names = [str(rank) for rank in ranks]
    if not names:
        return add_note(figure, "Nothing measured yet.")
    places = list(range(len(names)))
    figure.add_scatter(
        x=places,
        y=list(accuracy),
        mode="lines+markers",
        line={"color": PROMPT, "width": 2.5},
        customdata=list(loss),
        name="accuracy",
        hovertemplate="accuracy %{y:.1%}, loss %{customdata:.3f} nats<extra></extra>",
    )
    figure.add_scatter(
        x=places,
        y=list(errors),
        mode="lines+markers",
        line={"color": FROZEN, "width": 2, "dash": "dash"},
        marker={"symbol": "square"},
        name="share missed",
        hovertemplate="misses %{y:.1%}<extra></extra>",
    )
    figure.add_hline(y=accuracy[-1], line={"color": GREY, "dash": "dot", "width": 1.5})
    figure.update_layout(
        xaxis={"title": {"text": "rank of the approximation; the last is the whole prompt"}, **category_axis(names, 6)},
        yaxis={"title": {"text": "share"}, "tickformat": ".0%", "range": [0, 1.03]},
    )
    return figure


def describe_low_rank_accuracy(ranks: Sequence[int], accuracy: Sequence[float], errors: Sequence[float]) -> str:
    """The ranks in words."""
    told = ", ".join(
        f"rank {rank} {right:.0%} (misses {missed:.0%})"
        for rank, right, missed in zip(ranks, accuracy, errors, strict=True)
    )
    return f"Accuracy with the prompt's best approximation: {told or 'nothing measured yet'}."


def draw_saliency(
    scores: Float[np.ndarray, "m e"], pruned: Bool[np.ndarray, "m e"] | None = None, pieces: str = "piece"
) -> go.Figure:
    """Scores by prompt token and piece, bright where much; pruned cells are grey."""
    figure = empty_figure(int(min(140 + 18 * max(len(scores), 5), 700)))
    if not scores.size:
        return add_note(figure, "Nothing to show yet.")
    gone = np.zeros(scores.shape, dtype=bool) if pruned is None else pruned
    figure.add_heatmap(
        z=np.where(gone, 1.0, np.nan),
        colorscale=[[0, GREY], [1, GREY]],
        showscale=False,
        opacity=0.45,
        name="pruned",
        hoverongaps=False,
        hovertemplate=f"token %{{y}}, {pieces} %{{x}}: pruned<extra></extra>",
        xgap=1,
        ygap=1,
    )
    figure.add_heatmap(
        z=np.where(gone, np.nan, scores).astype(np.float32),
        zmin=0,
        zmax=float(np.where(gone, 0, scores).max()) or 1.0,
        colorscale=SEQUENTIAL,
        colorbar={"title": {"text": "score", "side": "right"}, "thickness": 12, "outlinewidth": 0},
        name="score",
        hoverongaps=False,
        hovertemplate=f"token %{{y}}, {pieces} %{{x}}: %{{z:.3g}}<extra></extra>",
        xgap=1,
        ygap=1,
    )
    figure.update_layout(
        hovermode="closest",
        xaxis={"title": {"text": pieces}, "showgrid": False, "zeroline": False, "tickformat": "d"},
        yaxis={
            "title": {"text": "prompt token"},
            "autorange": "reversed",
            "showgrid": False,
            "zeroline": False,
            "tickformat": "d",
        },
    )
    return figure


def describe_saliency(scores: Float[np.ndarray, "m e"], pruned: Bool[np.ndarray, "m e"] | None = None) -> str:
    """The scores in words."""
    if not scores.size:
        return "No scores yet."
    row, column = divmod(int(scores.argmax()), scores.shape[1])
    gone = 0.0 if pruned is None else float(pruned.mean())
    top = scores.sum(1)
    return (
        f"Scores of {scores.shape[0]} prompt tokens by {scores.shape[1]} pieces: largest {scores[row, column]:.3g} at "
        f"token {row}, piece {column}; the strongest token holds {top.max() / max(top.sum(), 1e-12):.0%} of all. "
        f"{gone:.0%} of the pieces are pruned."
    )


def draw_embedding_shift(
    shares: Sequence[float], words: Sequence[str], others: Sequence[str] = (), told: str = "nearest word after"
) -> go.Figure:
    """One bar a word: the length of its shift as a share of its vector; ``others`` are told on hovering."""
    figure = empty_figure(int(min(110 + 20 * max(len(words), 4), 620)))
    if not words:
        return add_note(figure, "No word yet.")
    places = list(range(len(words)))
    figure.add_bar(
        x=list(shares),
        y=places,
        orientation="h",
        marker={"color": [PROMPT if share > 1 else BLUE for share in shares]},
        text=[
            f"{escape_text(word, 24)}, {told} {escape_text(other, 24)}"
            for word, other in zip(words, others, strict=True)
        ]
        if others
        else [escape_text(word, 24) for word in words],
        textposition="none",
        name="shift",
        hovertemplate="%{text}: %{x:.1%}<extra></extra>",
    )
    figure.update_layout(
        hovermode="closest",
        showlegend=False,
        xaxis={"title": {"text": "length of the shift, as a share of the word's vector"}, "tickformat": ".0%"},
        yaxis={**category_axis(words, 18), "autorange": "reversed", "automargin": True},
    )
    return figure


def describe_embedding_shift(shares: Sequence[float], words: Sequence[str]) -> str:
    """The shifts in words."""
    if not words:
        return "No word yet."
    ranked = sorted(zip(shares, words, strict=True), reverse=True)[:5]
    return f"{len(words)} words. Moved most: " + ", ".join(f"{word} {share:.0%}" for share, word in ranked) + "."
