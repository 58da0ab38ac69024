"""Placement of labels next to points, so that they overlap neither each other nor the points where possible."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from ptviz.figures.elements import add_text

_WIDTH, _HEIGHT = 850.0, 330.0
"""The assumed size of a plot in pixels; on another size labels may overlap."""
_CHAR_WIDTH, _LINE_HEIGHT = 6.6, 15.0
_CANDIDATES = [(*side, up) for up in (11, -11, 25, -25, 39, -39) for side in (("left", 9), ("right", -9))]


@dataclass(frozen=True)
class LabelPlacement:
    """One label: the end of it that is at the point, and the shift from there in pixels, right and up."""

    anchor: str
    dx: int
    dy: int


def label_points(figure: go.Figure, points: Sequence[Sequence[float]], labels: Mapping[int, str]) -> None:
    """Write labels next to some of the points, given by their index; the others are kept clear of labels."""
    x, y = (_axis_fractions([point[i] for point in points]) for i in (0, 1))
    order = [*labels, *(index for index in range(len(points)) if index not in labels)]
    placed = place_labels([(x[index], y[index]) for index in order], [*labels.values()])
    for (index, text), at in zip(labels.items(), placed, strict=True):
        shift = {"xanchor": at.anchor, "xshift": at.dx, "yshift": at.dy}
        add_text(figure, text, points[index][0], points[index][1], font={"size": 12}, **shift)


def _axis_fractions(values: Sequence[float]) -> list[float]:
    """Return values as fractions of the axis range that plotly chooses for them."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    return [0.05 + 0.9 * (value - low) / ((high - low) or 1.0) for value in values]


def place_labels(points: Sequence[tuple[float, float]], texts: Sequence[str]) -> list[LabelPlacement]:
    """Return a placement for the label of each of the first points; coordinates are fractions of the plot, 0 to 1."""
    dots = [(x * _WIDTH, y * _HEIGHT) for x, y in points]
    taken = [(x - 6, x + 6, y - 6, y + 6) for x, y in dots]
    found = []
    for (x, y), text in zip(dots, texts, strict=False):
        boxes = [_label_bounds(x, y, place, text) for place in _CANDIDATES]
        best = min(range(len(boxes)), key=lambda i: (_hidden_area(boxes[i], taken), i))
        taken.append(boxes[best])
        found.append(LabelPlacement(*_CANDIDATES[best]))
    return found


_Bounds = tuple[float, float, float, float]


def _label_bounds(x: float, y: float, place: tuple[str, int, int], text: str) -> _Bounds:
    anchor, right, up = place
    left = x + right - (len(text) * _CHAR_WIDTH if anchor == "right" else 0)
    return left, left + len(text) * _CHAR_WIDTH, y + up - _LINE_HEIGHT / 2, y + up + _LINE_HEIGHT / 2


def _hidden_area(box: _Bounds, taken: Sequence[_Bounds]) -> float:
    """Return the area of a box in square pixels that overlaps others or is outside of the plot."""
    outside = max(0.0, -box[0]) + max(0.0, box[1] - _WIDTH)
    return outside * _LINE_HEIGHT + sum(
        _overlap_length(box[:2], other[:2]) * _overlap_length(box[2:], other[2:]) for other in taken
    )


def _overlap_length(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    return max(0.0, min(one[1], other[1]) - max(one[0], other[0]))
