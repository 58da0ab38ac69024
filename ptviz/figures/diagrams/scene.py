"""Drawings of boxes, text and lines, in pixels with y downwards, independent of how they are rendered.

``svg`` renders a scene without a browser, ``plotly`` converts the same scene to a plotly figure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Float

from ptviz.figures.style import GREY

Point = tuple[float, float]
THEME_COLOUR = ""
"""The colour of text that follows the page's theme."""
DARK, WHITE = "#1B2430", "#FFFFFF"


@dataclass(frozen=True)
class Box:
    """A rectangle centred at (x, y). ``wedge`` narrows its top, for a router; ``hatch`` is the colour of hatching.

    ``link`` is what a click on it opens, ``hover`` is the text for pointers and screen readers.
    """

    x: float
    y: float
    w: float
    h: float
    fill: str = ""
    line: str = ""
    width: float = 1.0
    dash: bool = False
    radius: float = 3.0
    wedge: bool = False
    hatch: str = ""
    link: str = ""
    hover: str = ""

    def corners(self) -> tuple[Point, Point, Point, Point]:
        """Return the corners: bottom left, top left, top right, bottom right."""
        inset = 0.22 * self.w if self.wedge else 0.0
        left, right, top, bottom = self.x - self.w / 2, self.x + self.w / 2, self.y - self.h / 2, self.y + self.h / 2
        return (left, bottom), (left + inset, top), (right - inset, top), (right, bottom)

    def hatch_lines(self, spacing: float = 5.0) -> list[tuple[Point, Point]]:
        """Return slanted strokes from edge to edge, ``spacing`` pixels from each other."""
        left, top = self.x - self.w / 2, self.y - self.h / 2
        strokes = []
        for i in range(1, math.ceil((self.w + self.h) / spacing)):
            reach = i * spacing
            start = (left + min(reach, self.w), top + max(0.0, reach - self.w))
            end = (left + max(0.0, reach - self.h), top + min(reach, self.h))
            strokes.append((start, end))
        return strokes


@dataclass(frozen=True)
class TextLabel:
    """A text, vertically centred at y; ``anchor`` is the part of it at x. THEME_COLOUR follows the page's theme."""

    x: float
    y: float
    text: str
    size: float = 11.0
    bold: bool = False
    italic: bool = False
    colour: str = THEME_COLOUR
    anchor: Literal["start", "middle", "end"] = "middle"
    faint: bool = False

    @property
    def estimated_width(self) -> float:
        """The approximate width of the text in pixels; the font is not known here."""
        return len(self.text) * self.size * (0.58 if self.bold else 0.53)


@dataclass(frozen=True)
class Line:
    """A path through points; ``arrow`` puts a head at its end."""

    points: tuple[Point, ...]
    colour: str = GREY
    width: float = 1.4
    dash: bool = False
    arrow: bool = True

    def arrow_head(self) -> tuple[Point, Point, Point]:
        """Return the three corners of the arrow's head, which is larger on a wider line."""
        size = self.width / 0.28
        (x0, y0), (x1, y1) = self.points[-2:]
        length = math.hypot(x1 - x0, y1 - y0) or 1.0
        ux, uy = (x1 - x0) / length, (y1 - y0) / length
        back, side = (x1 - ux * size, y1 - uy * size), size * 0.6
        return (x1, y1), (back[0] - uy * side, back[1] + ux * side), (back[0] + uy * side, back[1] - ux * side)


@dataclass(frozen=True)
class OperatorSign:
    """A circled sign: matrix product, elementwise product, sum or mean."""

    x: float
    y: float
    kind: str
    r: float = 9.0
    line: str = GREY
    hover: str = ""

    def strokes(self) -> list[tuple[Point, Point]]:
        """Return the lines inside the circle; the renderer draws the dot of an elementwise product."""
        a, b = self.r * 0.5, self.r * 0.38
        x, y = self.x, self.y
        if self.kind == "product":
            return [((x - b, y - b), (x + b, y + b)), ((x - b, y + b), (x + b, y - b))]
        if self.kind in ("sum", "mean"):
            return [((x - a, y), (x + a, y)), ((x, y - a), (x, y + a))]
        return []


@dataclass(frozen=True)
class HeatmapCells:
    """A heat map, blue below zero and orange above, centred at (x, y); ``colour_limit`` is the value of full colour."""

    x: float
    y: float
    w: float
    h: float
    values: Float[np.ndarray, "rows columns"] = field(compare=False)
    colour_limit: float = 1.0


Element: TypeAlias = Box | TextLabel | Line | OperatorSign | HeatmapCells
Table: TypeAlias = tuple[tuple[str, ...], ...]
"""A header and rows: the contents of a drawing as data."""


@dataclass(frozen=True)
class Scene:
    """A drawing: size in pixels, elements from back to front, alternative text, title, and its contents as a table."""

    width: float
    height: float
    elements: tuple[Element, ...]
    alt: str
    title: str = ""
    table: Table = ()


_LENGTHS = ("w", "h", "r", "size", "radius")


def transform(elements: Iterable[Element], dx: float = 0.0, dy: float = 0.0, scale: float = 1.0) -> list[Element]:
    """Return elements scaled about the origin, then moved."""
    return [_transformed(element, dx, dy, scale) for element in elements]


def _transformed(element: Element, dx: float, dy: float, scale: float) -> Element:
    if isinstance(element, Line):
        return replace(element, points=tuple((x * scale + dx, y * scale + dy) for x, y in element.points))
    lengths = {name: getattr(element, name) * scale for name in _LENGTHS if hasattr(element, name)}
    return replace(element, x=element.x * scale + dx, y=element.y * scale + dy, **lengths)


def bounding_box(elements: Iterable[Element]) -> tuple[float, float, float, float]:
    """Return left, top, right and bottom of all elements; zeros without elements."""
    xs: list[float] = []
    ys: list[float] = []
    for element in elements:
        match element:
            case Box() | HeatmapCells():
                xs += [element.x - element.w / 2, element.x + element.w / 2]
                ys += [element.y - element.h / 2, element.y + element.h / 2]
            case OperatorSign():
                xs += [element.x - element.r, element.x + element.r]
                ys += [element.y - element.r, element.y + element.r]
            case Line():
                xs += [x for x, _ in element.points]
                ys += [y for _, y in element.points]
            case TextLabel():
                left = {"start": 0.0, "middle": 0.5, "end": 1.0}[element.anchor] * element.estimated_width
                xs += [element.x - left, element.x - left + element.estimated_width]
                ys += [element.y - element.size / 2, element.y + element.size / 2]
    return (min(xs), min(ys), max(xs), max(ys)) if xs else (0.0, 0.0, 0.0, 0.0)


def diverging_colour(share: float) -> str:
    """Return the colour of a value from -1 to 1: blue, near white at zero, orange."""
    share = max(-1.0, min(1.0, share)) if math.isfinite(share) else 0.0
    end = (213, 94, 0) if share > 0 else (0, 114, 178)
    parts = (round(247 + (channel - 247) * abs(share)) for channel in end)
    return "#" + "".join(f"{part:02X}" for part in parts)


_CIVIDIS = ((0, 34, 78), (59, 73, 108), (112, 113, 115), (166, 157, 117), (222, 203, 100), (254, 232, 56))


def cividis_colour(share: float) -> str:
    """Return the colour of the cividis scale at 0 to 1, which is safe for colour blindness."""
    position = max(0.0, min(1.0, share)) * (len(_CIVIDIS) - 1)
    low = min(int(position), len(_CIVIDIS) - 2)
    parts = (round(a + (b - a) * (position - low)) for a, b in zip(_CIVIDIS[low], _CIVIDIS[low + 1], strict=True))
    return "#" + "".join(f"{part:02X}" for part in parts)


def contrasting_colour(fill: str) -> str:
    """Return dark or white, whichever has more contrast with a fill.

    Source of the contrast: WCAG 2.2, https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio
    """
    light = _luminance(fill)
    on_dark = (light + 0.05) / (_luminance(DARK) + 0.05)
    return DARK if on_dark > 1.05 / (light + 0.05) else WHITE


def _luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
