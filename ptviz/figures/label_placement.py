"""Placement of labels next to points, so that they overlap neither each other nor the points where possible."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from ptviz.figures.elements import add_text
from ptviz.figures.style import GREY

_WIDTH, _HEIGHT = 850.0, 330.0
"""The assumed size of a plot in pixels; on another size labels may overlap."""
_CHAR_WIDTH, _LINE_HEIGHT = 6.6, 15.0
_CANDIDATES = [(*side, up) for up in (11, -11, 25, -25, 39, -39, 53, -53) for side in (("left", 9), ("right", -9))]
_NEAR = 11
"""Pixels above or below a point within which its label needs no line."""
POINT_LABEL = "point label"
"""The name of these annotations: a narrow chart, which has no room for them, names its points in the legend."""


@dataclass(frozen=True)
class LabelPlacement:
    """One label: the end of it that is at the point, and the shift from there in pixels, right and up."""

    anchor: str
    dx: int
    dy: int


def label_points(
    figure: go.Figure,
    points: Sequence[Sequence[float]],
    labels: Mapping[int, str],
    bars: Sequence[tuple[float, float]] = (),
) -> None:
    """Write labels next to some of the points, given by their index; the others are kept clear of labels.

    ``bars`` are the lower and upper ends of the points' vertical error bars, which labels leave clear, too.
    """
    spans = bars or [(point[1], point[1]) for point in points]
    x = _axis_fractions([point[0] for point in points])
    ends = [point[1] for point in points], [low for low, _ in spans], [high for _, high in spans]
    heights = _axis_fractions([*itertools.chain(*ends)])
    y, low, high = (heights[i * len(points) : (i + 1) * len(points)] for i in range(3))
    order = [*labels, *(index for index in range(len(points)) if index not in labels)]
    placed = place_labels([(x[i], y[i]) for i in order], [*labels.values()], [(low[i], high[i]) for i in order])
    for (index, text), at in zip(labels.items(), placed, strict=True):
        shift = {"xanchor": at.anchor, "xshift": at.dx, "yshift": at.dy}
        if abs(at.dy) > _NEAR:  # A thin line leads to the point.
            line = {"arrowhead": 0, "arrowwidth": 0.8, "arrowcolor": GREY, "standoff": 6}
            shift = {"xanchor": at.anchor, "showarrow": True, "ax": at.dx, "ay": -at.dy, **line}
        add_text(figure, text, points[index][0], points[index][1], font={"size": 12}, name=POINT_LABEL, **shift)


def _axis_fractions(values: Sequence[float], ends: tuple[float, float] | None = None) -> list[float]:
    """Return values as fractions of the axis range that plotly chooses for ``ends``, by default those of the values."""
    low, high = ends or (min(values, default=0.0), max(values, default=1.0))
    return [0.05 + 0.9 * (value - low) / ((high - low) or 1.0) for value in values]


def place_labels(
    points: Sequence[tuple[float, float]], texts: Sequence[str], bars: Sequence[tuple[float, float]] = ()
) -> list[LabelPlacement]:
    """Return a placement for the label of each of the first points; coordinates are fractions of the plot, 0 to 1.

    ``bars`` are the lower and upper ends of the points' error bars.
    """
    dots = [(x * _WIDTH, y * _HEIGHT) for x, y in points]
    spans = zip(dots, bars, strict=False)
    taken = [(x - 3, x + 3, low * _HEIGHT, high * _HEIGHT) for (x, _), (low, high) in spans]
    return [LabelPlacement(*_CANDIDATES[best]) for best in _choose(dots, texts, _CANDIDATES, taken, _WIDTH)]


def _choose(
    dots: Sequence[tuple[float, float]],
    texts: Sequence[str],
    candidates: Sequence[tuple[str, int, int]],
    taken: Sequence[_Bounds],
    width: float,
) -> list[int]:
    """Return which candidate hides least, for one text after another; the first of equally good ones.

    ``taken`` is kept clear beside the dots, of which the first ones have the texts.
    """
    occupied, found = [*((x - 6, x + 6, y - 6, y + 6) for x, y in dots), *taken], []
    for (x, y), text in zip(dots, texts, strict=False):
        boxes = [_label_bounds(x, y, place, text) for place in candidates]
        best = min(range(len(boxes)), key=lambda i: _hidden_area(boxes[i], occupied, width))
        occupied.append(boxes[best])
        found.append(best)
    return found


_MAP_WIDTH, _MAP_HEIGHT = 450.0, 430.0
"""The assumed size of a map of tokens: between that on a phone and that beside the sidebar."""
_POSITIONS = {
    f"{row} {column}": (anchor, right, up)
    for row, up in (("top", 15), ("bottom", -15), ("middle", 0))
    for column, anchor, right in (("center", "center", 0), ("right", "left", 4), ("left", "right", -4))
    if (row, column) != ("middle", "center")
}


def text_positions(
    points: Float[np.ndarray, "m 2"], texts: Sequence[str], drawn: Float[np.ndarray, "n 2"]
) -> list[str]:
    """Return plotly's ``textposition`` of each point's text, so that texts neither meet nor leave the map.

    ``drawn`` are all points of the map, which set its axes; texts may lie on those without a text.
    """
    if not len(points):
        return []
    low, high = drawn.min(0).tolist(), drawn.max(0).tolist()
    x, y = (_axis_fractions(points[:, i].tolist(), (low[i], high[i])) for i in (0, 1))
    dots = [(a * _MAP_WIDTH, b * _MAP_HEIGHT) for a, b in zip(x, y, strict=True)]
    names = [*_POSITIONS]
    return [names[best] for best in _choose(dots, texts, [*_POSITIONS.values()], (), _MAP_WIDTH)]


_Bounds = tuple[float, float, float, float]


def _label_bounds(x: float, y: float, place: tuple[str, int, int], text: str) -> _Bounds:
    anchor, right, up = place
    left = x + right - {"left": 0, "center": 0.5, "right": 1}[anchor] * len(text) * _CHAR_WIDTH
    return left, left + len(text) * _CHAR_WIDTH, y + up - _LINE_HEIGHT / 2, y + up + _LINE_HEIGHT / 2


def _hidden_area(box: _Bounds, taken: Sequence[_Bounds], width: float = _WIDTH) -> float:
    """Return the area of a box in square pixels that overlaps others or is outside of the plot."""
    outside = max(0.0, -box[0]) + max(0.0, box[1] - width)
    return outside * _LINE_HEIGHT + sum(
        _overlap_length(box[:2], other[:2]) * _overlap_length(box[2:], other[2:]) for other in taken
    )


def _overlap_length(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    return max(0.0, min(one[1], other[1]) - max(one[0], other[0]))
