"""Projections of prompts and vocabulary: the prompt tokens at one step, and their trajectories."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from ptviz.analysis.projection import Projection
from ptviz.figures.elements import add_note, axis, colour_bar, empty_figure
from ptviz.figures.heatmap import SEQUENTIAL
from ptviz.figures.label_placement import text_positions
from ptviz.figures.linked_selection import DIMMED_OPACITY, PICKABLE
from ptviz.figures.style import FROZEN, GREEN, PROMPT, SeriesStyle, escape_text

Frame = Literal["all", "words"]
_MAX_NUMBERED = 30
"""Prompt tokens up to which each is labelled with its number."""
_MAX_SVG_POINTS = 2000
"""Points above which WebGL draws instead of SVG."""


@dataclass(frozen=True, eq=False)
class Trajectory:
    """One prompt in a projection: its coordinates, the index of the step shown, its name and style.

    ``token_numbers`` are those of its prompt tokens, 0, 1, 2, ... by default; ``nearest_words`` are written beside
    them; ``highlighted`` are the numbers of the tokens to highlight.
    """

    projection: Projection
    index: int = -1
    name: str = "prompt tokens"
    style: SeriesStyle = SeriesStyle(PROMPT, "solid", "diamond")  # noqa: RUF009
    token_numbers: Sequence[int] = ()
    highlighted: Collection[int] = ()
    nearest_words: Sequence[str] = ()


def draw_projection(
    trajectories: Sequence[Trajectory],
    words: Sequence[str],
    *,
    trails: bool = True,
    frame: Frame = "all",
    marked: Collection[int] = (),
    ranks: Sequence[int] = (),
) -> go.Figure:
    """Draw vocabulary tokens in blue, each prompt's tokens in its colour, and their trajectories as thin lines.

    All ``trajectories`` belong to one projection, of 2 or 3 dimensions. If tokens are highlighted, the others are
    dimmed. ``frame`` is what the axes hold: everything, or the vocabulary only. ``marked`` are the indices of words to
    ring and name; with ``ranks``, their ranks by frequency (1 is the most frequent), words are coloured by them.
    """
    figure = empty_figure(520, legend={"itemsizing": "constant"})
    if not trajectories:
        return add_note(figure, "The projection appears with the first snapshot.")
    projection = trajectories[0].projection
    three_axes = projection.background.shape[-1] == 3
    _style_axes(figure, projection, three_axes)
    if len(projection.background):
        _draw_vocabulary(figure, projection.background, [escape_text(word, 30) for word in words], three_axes, ranks)
        if frame == "words":
            _frame_words(figure, projection.background, three_axes)
    for trajectory in trajectories:
        _draw_trajectory(figure, trajectory, three_axes, trails, first=trajectory is trajectories[0])
    if marked:
        _mark_words(figure, projection.background, words, sorted(marked), three_axes)
    if not len(projection.background) and not any(trajectory.projection.tokens.size for trajectory in trajectories):
        add_note(figure, "The projection appears with the first snapshot.")
    return figure


def _style_axes(figure: go.Figure, projection: Projection, three_axes: bool) -> None:
    names, shares = [f"{projection.kind} axis {i}" for i in "123"], projection.explained_variance
    titles = [f"{name} ({share:.0%})" for name, share in zip(names, shares, strict=False)] or names
    # UMAP and t-SNE keep neighbourhoods only: their coordinates mean nothing.
    bare = {} if projection.kind == "PCA" else {"showticklabels": False}
    axes = [axis(title, **bare) for title in titles]
    if three_axes:
        # Far enough away for the titles of the axes to be visible.
        away = {"aspectmode": "cube", "camera": {"eye": {"x": 1.55, "y": 1.55, "z": 1.1}}}
        scene = {**dict(zip(("xaxis", "yaxis", "zaxis"), axes, strict=False)), **away}
        figure.update_layout(scene=scene, margin={"l": 0, "r": 0, "t": 16, "b": 0})
    else:
        figure.update_layout(xaxis=axes[0], yaxis=axes[1])


def _frame_words(figure: go.Figure, points: np.ndarray, three_axes: bool) -> None:
    """Let the axes end a little beyond the vocabulary, whatever the prompts do."""
    low, high = points.min(0), points.max(0)
    edge = 0.05 * (high - low)
    axes = {
        name: {"range": [float(first), float(last)]}
        for name, first, last in zip(("xaxis", "yaxis", "zaxis"), low - edge, high + edge, strict=False)
    }
    figure.update_layout({"scene": axes} if three_axes else axes)


def _mark_words(
    figure: go.Figure, points: np.ndarray, words: Sequence[str], marked: Sequence[int], three_axes: bool
) -> None:
    ring = {"size": 6 if three_axes else 14, "symbol": "circle-open", "color": GREEN, "line": {"width": 2.5}}
    text = [escape_text(words[index], 30) for index in marked]
    look = {"mode": "markers+text", "marker": ring, "text": text, "textposition": "bottom center"}
    _add_points(
        figure, points[list(marked)], three_axes, **look, name="word searched", hovertemplate="%{text}<extra></extra>"
    )


def _draw_vocabulary(
    figure: go.Figure, points: np.ndarray, words: Sequence[str], three_axes: bool, ranks: Sequence[int]
) -> None:
    many = len(points) > _MAX_SVG_POINTS
    marker: dict[str, Any] = {"size": 2 if three_axes or many else 4, "color": FROZEN}
    if len(ranks):
        most = max(int(np.log10(max(ranks))), 1)
        ticks = {"tickvals": list(range(most + 1)), "ticktext": [f"{10**power:,}" for power in range(most + 1)]}
        bar = colour_bar("rank by frequency", **ticks)
        marker |= {"color": np.log10(np.asarray(ranks, dtype=np.float32)), "colorscale": SEQUENTIAL, "colorbar": bar}
    look = {"mode": "markers", "marker": marker, "opacity": 0.8 if len(ranks) else 0.45}
    options = {"text": list(words), "name": "vocabulary", "hovertemplate": "%{text}<extra></extra>", **look}
    _add_points(figure, points, three_axes, many, **options)


def _draw_trajectory(figure: go.Figure, trajectory: Trajectory, three_axes: bool, trails: bool, first: bool) -> None:
    tokens, style = trajectory.projection.tokens, trajectory.style
    steps, m, _ = tokens.shape
    if not steps or not m:
        return
    numbers = np.array(trajectory.token_numbers or range(m))
    chosen = np.isin(numbers, list(trajectory.highlighted))
    labels = [str(number) for number in numbers]
    if trajectory.nearest_words:
        pairs = zip(labels, trajectory.nearest_words, strict=True)
        labels = [f"{number} {escape_text(word, 16)}" for number, word in pairs]
    at, name = trajectory.index % steps, escape_text(trajectory.name)
    line: dict[str, Any] = {"mode": "lines", "line": {"color": style.colour, "width": 1.2}, "hoverinfo": "skip"}
    line |= {"name": f"trajectory of {name}", "showlegend": False, "legendgroup": name}
    points = {
        "mode": "markers+text" if m <= _MAX_NUMBERED and first else "markers",
        "marker": {"size": 5 if three_axes else 10, "color": style.colour, "symbol": _marker_symbol(style, three_axes)},
        "name": name,
        "legendgroup": name,
        "meta": PICKABLE if first else None,
        "hovertemplate": f"{name}: token %{{text}}<extra></extra>",
    }
    positions = np.full(m, "top center", dtype="<U13")
    if points["mode"] == "markers+text" and not three_axes:
        drawn = np.concatenate([trajectory.projection.background, tokens.reshape(-1, tokens.shape[-1])])
        positions = np.array(text_positions(tokens[at], labels, drawn))
    groups = [(chosen, 1.0), (~chosen, DIMMED_OPACITY)] if chosen.any() else [(~chosen, 1.0)]
    # Highlighted tokens are drawn last, over the others; the legend has one entry per prompt.
    for rows, opacity in reversed(groups):
        if not rows.any():
            continue
        if trails and at > 0:
            _add_points(figure, _join_trails(tokens[: at + 1, rows]), three_axes, opacity=0.55 * opacity, **line)
        own: dict[str, Any] = {
            "text": [labels[row] for row in np.flatnonzero(rows)],
            "customdata": numbers[rows].tolist(),
        }
        own["textposition"] = positions[rows].tolist()
        shown = {"opacity": opacity, "showlegend": opacity == 1.0}
        _add_points(figure, tokens[at, rows], three_axes, **points, **own, **shown)


def _marker_symbol(mark: SeriesStyle, three_axes: bool) -> str:
    """Return the symbol of a style; plotly's scatter plots of three axes have fewer symbols."""
    return "diamond" if three_axes and mark.symbol in ("triangle-up", "star") else mark.symbol


def _join_trails(points: Float[np.ndarray, "steps m dims"]) -> Float[np.ndarray, "points dims"]:
    """Join all trajectories to one line, with gaps of NaN between them."""
    _, m, dims = points.shape
    return np.concatenate([points.swapaxes(0, 1), np.full((m, 1, dims), np.nan)], axis=1).reshape(-1, dims)


def _add_points(
    figure: go.Figure, points: np.ndarray, three_axes: bool, webgl: bool = False, /, **options: Any
) -> None:
    columns = dict(zip("xyz", np.asarray(points, dtype=np.float32).T, strict=False))
    add = figure.add_scatter3d if three_axes else figure.add_scattergl if webgl else figure.add_scatter
    add(**columns, **options)


def describe_projection(trajectories: Sequence[Trajectory]) -> str:
    """Describe the projection: how far each prompt's tokens moved."""
    if not trajectories:
        return "A projection of prompt tokens; no prompt token yet."
    projection = trajectories[0].projection
    described = [f"A {projection.kind} projection of {len(projection.background)} vocabulary tokens."]
    for trajectory in trajectories[:12]:
        steps, m, _ = trajectory.projection.tokens.shape
        if not steps or not m:
            described.append(f"{trajectory.name}: no prompt token yet.")
            continue
        tokens = trajectory.projection.tokens
        moved = np.linalg.norm(tokens[trajectory.index % steps] - tokens[0], axis=1)
        far = int(moved.argmax())
        number = trajectory.token_numbers[far] if trajectory.token_numbers else far
        described.append(
            f"{trajectory.name}: {m} tokens, moved by {moved.mean():z.2f} on average since the first step, "
            f"token {number} farthest with {moved[far]:z.2f}."
        )
    return " ".join(described)
