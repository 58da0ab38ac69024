"""Prompts on one map with the vocabulary behind them: where they are at a step, and the way they came."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from ptviz.analysis.projection import Projection
from ptviz.figures.linked_selection import DIMMED_OPACITY, PICKABLE
from ptviz.figures.style import FROZEN, PROMPT, SeriesStyle, add_note, empty_figure, escape_text

_MAX_NUMBERED = 30
"""Prompt tokens that still get their number printed beside them."""
_MAX_SVG_POINTS = 2000
"""Points above which the graphics card draws."""


@dataclass(frozen=True, eq=False)
class Trajectory:
    """One prompt on a map: its places and the step shown (a place in ``laid.tokens``), its name and mark.

    ``numbers`` are those of its prompt tokens, 0, 1, 2, ... by default; ``picked`` are the numbers to stand out.
    """

    projection: Projection
    index: int = -1
    name: str = "prompt tokens"
    style: SeriesStyle = SeriesStyle(PROMPT, "solid", "diamond")  # noqa: RUF009
    token_numbers: Sequence[int] = ()
    highlighted: Collection[int] = ()


def draw_projection(walkers: Sequence[Trajectory], words: Sequence[str], *, trails: bool = True) -> go.Figure:
    """Vocabulary tokens in blue, each prompt's tokens in its colour, and the way they came as thin lines.

    All ``walkers`` are on the same map. Points that are not picked, where some are, are dimmed.
    """
    figure = empty_figure(520)
    figure.update_layout(hovermode="closest", legend={"itemsizing": "constant"})
    if not walkers:
        return add_note(figure, "The map appears with the first snapshot.")
    laid = walkers[0].projection
    solid = laid.background.shape[-1] == 3
    _style_axes(figure, laid, solid)
    if len(laid.background):
        _draw_vocabulary(figure, laid.background, [escape_text(word, 30) for word in words], solid)
    for walker in walkers:
        _draw_trajectory(figure, walker, solid, trails, first=walker is walkers[0])
    if not len(laid.background) and not any(walker.projection.tokens.size for walker in walkers):
        add_note(figure, "The map appears with the first snapshot.")
    return figure


def _style_axes(figure: go.Figure, laid: Projection, solid: bool) -> None:
    names = [f"{laid.kind} axis {i}" for i in "123"]
    titles = [f"{name} ({share:.0%})" for name, share in zip(names, laid.explained_variance, strict=False)] or names
    # On the maps that keep only who is near whom, the numbers along the axes mean nothing.
    bare = {} if laid.kind == "PCA" else {"showticklabels": False}
    axes = [{"title": {"text": title}, "zeroline": False, **bare} for title in titles]
    if solid:
        # Far enough away for the titles of the axes to be in the picture.
        away = {"aspectmode": "cube", "camera": {"eye": {"x": 1.55, "y": 1.55, "z": 1.1}}}
        scene = {**dict(zip(("xaxis", "yaxis", "zaxis"), axes, strict=False)), **away}
        figure.update_layout(scene=scene, margin={"l": 0, "r": 0, "t": 16, "b": 0})
    else:
        figure.update_layout(xaxis=axes[0], yaxis=axes[1])


def _draw_vocabulary(figure: go.Figure, places: np.ndarray, words: Sequence[str], solid: bool) -> None:
    options = {
        "mode": "markers",
        "marker": {"size": 2 if solid or len(places) > _MAX_SVG_POINTS else 4, "color": FROZEN},
        "opacity": 0.45,
        "text": list(words),
        "name": "vocabulary",
        "hovertemplate": "%{text}<extra></extra>",
    }
    if solid or len(places) <= _MAX_SVG_POINTS:
        _add_points(figure, places, solid, **options)
    else:
        flat = np.asarray(places, dtype=np.float32)
        figure.add_scattergl(x=flat[:, 0], y=flat[:, 1], **options)


def _draw_trajectory(figure: go.Figure, walker: Trajectory, solid: bool, trails: bool, first: bool) -> None:
    steps, m, _ = walker.projection.tokens.shape
    if not steps or not m:
        return
    numbers = np.array(walker.token_numbers or range(m))
    chosen = np.isin(numbers, list(walker.highlighted))
    at, name = walker.index % steps, escape_text(walker.name)
    groups = [(chosen, 1.0), (~chosen, DIMMED_OPACITY)] if chosen.any() else [(~chosen, 1.0)]
    # What stands out is drawn last, over the others; the legend knows one entry a prompt.
    for rows, opacity in reversed(groups):
        if not rows.any():
            continue
        if trails and at > 0:
            way = _join_trails(walker.projection.tokens[: at + 1, rows])
            _add_points(figure, way, solid, mode="lines", line={"color": walker.style.colour, "width": 1.2},
                    opacity=0.55 * opacity, name=f"way of {name}", hoverinfo="skip", showlegend=False,
                    legendgroup=name)  # fmt: skip
        _add_points(
            figure,
            walker.projection.tokens[at, rows],
            solid,
            mode="markers+text" if m <= _MAX_NUMBERED and first else "markers",
            marker={
                "size": 5 if solid else 10,
                "color": walker.style.colour,
                "symbol": _marker_symbol(walker.style, solid),
            },
            opacity=opacity,
            text=[str(number) for number in numbers[rows]],
            textposition="top center",
            name=name,
            legendgroup=name,
            showlegend=opacity == 1.0,
            meta=PICKABLE if first else None,
            customdata=numbers[rows].tolist(),
            hovertemplate=f"{name}: token %{{customdata}}<extra></extra>",
        )


def _marker_symbol(mark: SeriesStyle, solid: bool) -> str:
    """Scatter plots of three axes know fewer symbols."""
    return "diamond" if solid and mark.symbol in ("triangle-up", "star") else mark.symbol


def _join_trails(places: Float[np.ndarray, "steps m dims"]) -> Float[np.ndarray, "points dims"]:
    """All trails as one line: a gap of nothing parts them."""
    _, m, dims = places.shape
    return np.concatenate([places.swapaxes(0, 1), np.full((m, 1, dims), np.nan)], axis=1).reshape(-1, dims)


def _add_points(figure: go.Figure, places: np.ndarray, solid: bool, **options: object) -> None:
    columns = dict(zip("xyz", np.asarray(places, dtype=np.float32).T, strict=False))
    (figure.add_scatter3d if solid else figure.add_scatter)(**columns, **options)


def describe_projection(walkers: Sequence[Trajectory]) -> str:
    """The map in words: how far the prompt tokens went."""
    if not walkers:
        return "A map of prompt tokens; no prompt token yet."
    laid = walkers[0].projection
    told = [f"A {laid.kind} map of {len(laid.background)} vocabulary tokens."]
    for walker in walkers[:12]:
        steps, m, _ = walker.projection.tokens.shape
        if not steps or not m:
            told.append(f"{walker.name}: no prompt token yet.")
            continue
        moved = np.linalg.norm(walker.projection.tokens[walker.index % steps] - walker.projection.tokens[0], axis=1)
        far = int(moved.argmax())
        number = walker.token_numbers[far] if walker.token_numbers else far
        told.append(
            f"{walker.name}: {m} tokens, moved by {moved.mean():.2f} on average since the first step, "
            f"token {number} farthest with {moved[far]:.2f}."
        )
    return " ".join(told)
