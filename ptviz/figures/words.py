"""Prompt tokens beside the vocabulary: the map, norms against the vocabulary's bands, and the nearest words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from ptviz.analysis.geometry import Geometry
from ptviz.analysis.neighbours import Neighbours
from ptviz.analysis.projection import Map
from ptviz.figures.style import FROZEN, GREY, PROMPT, canvas, note, plain

_PALE = [[0.0, "#FFF8F1"], [1.0, "#F2A35C"]]
_LABELLED = 30
"""Prompt tokens that still get their number printed beside them."""


def draw_map(laid: Map, words: Sequence[str], at: int = -1, *, trails: bool = True) -> go.Figure:
    """Vocabulary tokens in blue, prompt tokens at step ``at`` in orange, and the way they came as thin lines."""
    figure = canvas(520)
    steps, m, dims = laid.tokens.shape
    solid = dims == 3
    names = (
        ["PCA axis 1", "PCA axis 2", "PCA axis 3"] if laid.kind == "PCA" else [f"{laid.kind} axis {i}" for i in "123"]
    )
    titles = [f"{name} ({share:.0%})" for name, share in zip(names, laid.explained, strict=False)] or names
    axes = [{"title": {"text": title}, "zeroline": False} for title in titles]
    if solid:
        figure.update_layout(scene=dict(zip(("xaxis", "yaxis", "zaxis"), axes, strict=True)))
    else:
        figure.update_layout(xaxis=axes[0], yaxis=axes[1])
    figure.update_layout(hovermode="closest")
    _cloud(figure, laid.background, [plain(word, 30) for word in words], solid)
    if steps and m:
        at = at % steps
        if trails and at > 0:
            # One trace for all trails: a gap of nothing parts them.
            gap = np.full((m, 1, dims), np.nan)
            way = np.concatenate([laid.tokens[: at + 1].swapaxes(0, 1), gap], axis=1).reshape(-1, dims)
            _points(figure, way, solid, mode="lines", line={"color": PROMPT, "width": 1.2}, opacity=0.55,
                    name="way since step 0", hoverinfo="skip")  # fmt: skip
        numbers = [str(i) for i in range(m)]
        _points(
            figure,
            laid.tokens[at],
            solid,
            mode="markers+text" if m <= _LABELLED else "markers",
            marker={"size": 5 if solid else 11, "color": PROMPT, "symbol": "diamond"},
            text=numbers,
            textposition="top center",
            name="prompt tokens",
            hovertemplate="prompt token %{text}<extra></extra>",
        )
    if not len(laid.background) and not (steps and m):
        note(figure, "The map appears with the first snapshot.")
    return figure


def _cloud(figure: go.Figure, places: np.ndarray, words: Sequence[str], solid: bool) -> None:
    options = {
        "mode": "markers",
        "marker": {"size": 2 if solid else 4, "color": FROZEN},
        "opacity": 0.45,
        "text": list(words),
        "name": "vocabulary",
        "hovertemplate": "%{text}<extra></extra>",
    }
    if solid or len(places) <= 2000:
        _points(figure, places, solid, **options)
    else:
        figure.add_scattergl(x=places[:, 0], y=places[:, 1], **options)


def _points(figure: go.Figure, places: np.ndarray, solid: bool, **options: object) -> None:
    columns = dict(zip("xyz", np.asarray(places, dtype=np.float32).T, strict=False))
    (figure.add_scatter3d if solid else figure.add_scatter)(**columns, **options)


def tell_map(laid: Map, at: int = -1) -> str:
    """The map in words: how far the prompt tokens went."""
    steps, m, _ = laid.tokens.shape
    if not steps or not m:
        return f"A {laid.kind} map of {len(laid.background)} vocabulary tokens; no prompt token yet."
    moved = np.linalg.norm(laid.tokens[at % steps] - laid.tokens[0], axis=1)
    far = int(moved.argmax())
    return (
        f"A {laid.kind} map of {len(laid.background)} vocabulary tokens and {m} prompt tokens. Since the first step "
        f"they moved {moved.mean():.2f} on average on this map, token {far} farthest with {moved[far]:.2f}."
    )


def draw_norms(found: Geometry, what: str = "norms") -> go.Figure:
    """Norms of the prompt tokens (or their ``distances`` to the nearest vocabulary token), beside the vocabulary's."""
    values = found.norms if what == "norms" else found.distances
    bands = None if found.cloud is None else (found.cloud.norms if what == "norms" else found.cloud.spacing)
    figure = canvas(300)
    figure.update_layout(
        xaxis={"title": {"text": "prompt token"}, "zeroline": False},
        yaxis={
            "title": {"text": "L2 norm" if what == "norms" else "L2 distance to the nearest word"},
            "rangemode": "tozero",
        },
        hovermode="closest",
        showlegend=True,
    )
    if not len(values):
        return note(figure, "The first snapshot will appear here.")
    if bands is not None:
        for low, high, opacity in ((0, 4, 0.15), (1, 3, 0.25)):
            figure.add_hrect(y0=bands[low], y1=bands[high], fillcolor=FROZEN, opacity=opacity, line_width=0)
        figure.add_scatter(
            x=[0, len(values) - 1],
            y=[bands[2]] * 2,
            mode="lines",
            line={"color": FROZEN, "width": 1.5, "dash": "dash"},
            name="vocabulary: median, and its middle 50 % and 90 %",
            hovertemplate="vocabulary's median %{y:.3g}<extra></extra>",
        )
    odd = found.outliers
    for name, rows, symbol in (("prompt tokens", ~odd, "circle"), ("outliers: over 3 times the median", odd, "x")):
        if rows.any():
            figure.add_scatter(
                x=np.flatnonzero(rows), y=values[rows], mode="markers", name=name,
                marker={"size": 9, "color": PROMPT, "symbol": symbol},
                hovertemplate="token %{x}: %{y:.3g}<extra></extra>",
            )  # fmt: skip
    return figure


def tell_norms(found: Geometry, what: str = "norms") -> str:
    """Norms or distances in words."""
    values = found.norms if what == "norms" else found.distances
    if not len(values):
        return "No prompt token yet."
    told = f"{len(values)} prompt tokens, {what} from {values.min():.3g} to {values.max():.3g}"
    told += f", median {np.median(values):.3g}"
    if found.cloud is not None:
        bands = found.cloud.norms if what == "norms" else found.cloud.spacing
        told += f"; the middle 90 % of the vocabulary lies between {bands[0]:.3g} and {bands[-1]:.3g}"
    odd = np.flatnonzero(found.outliers).tolist()
    return told + (f". Outliers: tokens {', '.join(map(str, odd))}." if odd else ". No outlier.")


def draw_neighbours(found: Neighbours, words: Sequence[Sequence[str]], labels: Sequence[str] = ()) -> go.Figure:
    """A table of words: one row a prompt token, the nearest word first, coloured by how near it is.

    ``words`` holds the k words of each row; ``labels`` name the rows, by default with their numbers.
    """
    rows, k = found.ids.shape
    figure = canvas(90 + 26 * max(rows, 3))
    if not rows or not k:
        return note(figure, "The first snapshot will appear here.")
    far = found.metric == "L2"
    figure.add_heatmap(
        z=np.asarray(found.scores, dtype=np.float32),
        text=[[plain(word, 14) for word in row] for row in words],
        texttemplate="%{text}",
        # Dark words on light cells, on a light page and on a dark one.
        textfont={"size": 12, "color": "#1B2430"},
        colorscale=_PALE,
        reversescale=far,
        xgap=2,
        ygap=2,
        name=found.metric,
        colorbar={"title": {"text": found.metric, "side": "right"}, "thickness": 12, "outlinewidth": 0},
        hovertemplate="token %{y}, place %{x}: %{text}<br>" + found.metric + " %{z:.3f}<extra></extra>",
    )
    figure.update_layout(
        hovermode="closest",
        margin={"l": 56, "r": 16, "t": 30, "b": 16},
        xaxis={
            "tickvals": list(range(k)),
            "ticktext": ["nearest", *[f"{i + 1}." for i in range(1, k)]],
            "side": "top",
            "showgrid": False,
            "zeroline": False,
        },
        yaxis={
            "title": {"text": "prompt token"},
            "tickvals": list(range(rows)),
            "ticktext": [plain(label, 24) for label in labels] or [str(i) for i in range(rows)],
            "autorange": "reversed",
            "showgrid": False,
            "zeroline": False,
            "automargin": True,
        },
    )
    return figure


def tell_neighbours(found: Neighbours, words: Sequence[Sequence[str]]) -> str:
    """The nearest words in words."""
    if not len(words):
        return "Nearest words: no prompt token yet."
    told = [f"token {i}: {', '.join(row[:3])}" for i, row in enumerate(words[:12])]
    return f"Nearest vocabulary tokens by {found.metric}. " + "; ".join(told) + "."


def draw_drift(steps: Sequence[int], shares: Sequence[float], at: int | None = None) -> go.Figure:
    """How many of the neighbours of the start are still neighbours, over the steps (0 to 1)."""
    figure = canvas(240)
    figure.update_layout(
        xaxis={"title": {"text": "step"}, "zeroline": False},
        yaxis={"title": {"text": "first neighbours kept"}, "tickformat": ".0%", "range": [0, 1.03]},
        showlegend=False,
    )
    if not steps:
        return note(figure, "The first snapshot will appear here.")
    figure.add_scatter(
        x=list(steps), y=list(shares), mode="lines+markers", line={"color": PROMPT, "width": 2.5},
        name="neighbours kept", hovertemplate="%{y:.0%} kept<extra></extra>",
    )  # fmt: skip
    if at is not None:
        figure.add_vline(x=steps[at], line={"color": GREY, "width": 1.5})
    return figure
