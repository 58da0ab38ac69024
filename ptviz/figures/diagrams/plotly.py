"""Scenes as plotly figures, for HTML with hover, notebooks and JSON; one unit is one pixel."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import plotly.io

from ptviz.figures.diagrams.scene import (
    Box,
    HeatmapCells,
    Line,
    OperatorSign,
    Point,
    Scene,
    TextLabel,
    diverging_colour,
)
from ptviz.figures.elements import add_note, empty_figure
from ptviz.figures.style import GREY, escape_text

_DIVERGING_SCALE = [[i / 8, diverging_colour(i / 4 - 1)] for i in range(9)]


def to_figure(scene: Scene) -> go.Figure:
    """Convert a scene to plotly's shapes and annotations, with the boxes' hover texts."""
    hidden = {"visible": False, "fixedrange": True}
    # Text does not grow with a plotly figure as shapes do, so the drawing keeps its own width.
    figure = empty_figure(
        round(scene.height),
        width=round(scene.width),
        autosize=False,
        margin={"l": 0, "r": 0, "t": 0, "b": 0},
        xaxis={**hidden, "range": [0, scene.width]},
        yaxis={**hidden, "range": [scene.height, 0]},
        showlegend=False,
        meta={"alt": scene.alt},
    )
    shapes: list[dict[str, Any]] = []
    notes: list[dict[str, Any]] = []
    for element in scene.elements:
        match element:
            case Box():
                shapes += _box_shapes(element)
            case TextLabel():
                notes.append(_text_annotation(element))
            case Line():
                shapes += _line_shapes(element)
            case OperatorSign():
                shapes += _sign_shapes(element)
            case HeatmapCells():
                _add_heatmap(figure, element)
    figure.update_layout(shapes=shapes, annotations=notes)
    spots = [element for element in scene.elements if isinstance(element, Box) and (element.hover or element.link)]
    figure.add_scatter(
        x=[box.x for box in spots],
        y=[box.y for box in spots],
        mode="markers",
        marker={"size": 22, "opacity": 0},
        customdata=[box.link for box in spots],
        text=[escape_text(box.hover or box.link, 400) for box in spots],
        hovertemplate="%{text}<extra></extra>",
    )
    return figure if scene.elements else add_note(figure, "Nothing to draw.")


def write_png(scenes: Sequence[Scene], paths: Sequence[Path]) -> None:
    """Write scenes as PNG files of twice their size, with kaleido and a Chromium browser.

    Raises:
        ImportError, ValueError, RuntimeError: from plotly, if either is missing.
    """
    # All at once: the browser starts only once. Unlike for a single figure, plotly needs the sizes as arguments.
    plotly.io.write_images(
        fig=[to_figure(scene) for scene in scenes],
        file=list(paths),
        width=[round(scene.width) for scene in scenes],
        height=[round(scene.height) for scene in scenes],
        scale=2,
    )


def _box_shapes(box: Box) -> list[dict[str, Any]]:
    line = {"color": box.line or "rgba(0,0,0,0)", "width": box.width, "dash": "dash" if box.dash else "solid"}
    look = {"line": line, "fillcolor": box.fill or "rgba(0,0,0,0)"}
    outline = _svg_path(box.corners()) + " Z" if box.wedge or not box.radius else _rounded_path(box)
    # Shapes are above heat maps by default: the block that frames a heat map would cover it.
    drawn: list[dict[str, Any]] = [{"type": "path", "path": outline, "layer": "below", **look}]
    if box.hatch:
        path = " ".join(_svg_path(stroke) for stroke in box.hatch_lines())
        drawn.append({"type": "path", "path": path, "layer": "below", "line": {"color": box.hatch, "width": 1}})
    return drawn


def _rounded_path(box: Box) -> str:
    (left, bottom), (_, top), (right, _), _ = box.corners()
    r = min(box.radius, box.w / 2, box.h / 2)
    return (
        f"M{left + r:.2f},{top:.2f} L{right - r:.2f},{top:.2f} Q{right:.2f},{top:.2f} {right:.2f},{top + r:.2f} "
        f"L{right:.2f},{bottom - r:.2f} Q{right:.2f},{bottom:.2f} {right - r:.2f},{bottom:.2f} "
        f"L{left + r:.2f},{bottom:.2f} Q{left:.2f},{bottom:.2f} {left:.2f},{bottom - r:.2f} "
        f"L{left:.2f},{top + r:.2f} Q{left:.2f},{top:.2f} {left + r:.2f},{top:.2f} Z"
    )


def _text_annotation(text: TextLabel) -> dict[str, Any]:
    words = escape_text(text.text, 200)
    words = f"<b>{words}</b>" if text.bold else words
    words = f"<i>{words}</i>" if text.italic else words
    font = {"size": text.size, **({"color": text.colour} if text.colour else {})}
    anchor = {"start": "left", "middle": "center", "end": "right"}[text.anchor]
    return {
        "x": text.x, "y": text.y, "text": words, "showarrow": False, "xanchor": anchor, "yanchor": "middle",
        "font": font, "opacity": 0.75 if text.faint else 1, "borderpad": 0,
    }  # fmt: skip


def _line_shapes(line: Line) -> list[dict[str, Any]]:
    look = {"color": line.colour, "width": line.width, "dash": "dash" if line.dash else "solid"}
    drawn: list[dict[str, Any]] = [{"type": "path", "path": _svg_path(line.points), "line": look, "layer": "below"}]
    if line.arrow:
        head = _svg_path(line.arrow_head()) + " Z"
        drawn.append({"type": "path", "path": head, "fillcolor": line.colour, "line": {"width": 0}, "layer": "below"})
    return drawn


def _sign_shapes(sign: OperatorSign) -> list[dict[str, Any]]:
    x, y, r = sign.x, sign.y, sign.r
    look = {"color": sign.line, "width": 1.6}
    circle = {"type": "circle", "x0": x - r, "x1": x + r, "y0": y - r, "y1": y + r, "line": look, "layer": "below"}
    strokes = sign.strokes()
    inside: dict[str, Any]
    if strokes:
        inside = {"type": "path", "path": " ".join(_svg_path(stroke) for stroke in strokes), "line": look}
    else:
        dot = r * 0.25
        spot = {"x0": x - dot, "x1": x + dot, "y0": y - dot, "y1": y + dot}
        inside = {"type": "circle", **spot, "fillcolor": GREY, "line": {"width": 0}}
    return [circle, {**inside, "layer": "below"}]


def _add_heatmap(figure: go.Figure, cells: HeatmapCells) -> None:
    rows, columns = cells.values.shape
    w, h = cells.w / max(columns, 1), cells.h / max(rows, 1)
    figure.add_heatmap(
        z=cells.values,
        x0=cells.x - cells.w / 2 + w / 2,
        dx=w,
        y0=cells.y - cells.h / 2 + h / 2,
        dy=h,
        zmin=-cells.colour_limit,
        zmax=cells.colour_limit,
        colorscale=_DIVERGING_SCALE,
        showscale=False,
        hovertemplate="%{z:.3g}<extra></extra>",
    )


def _svg_path(points: tuple[Point, ...]) -> str:
    return "M" + " L".join(f"{x:.2f},{y:.2f}" for x, y in points)
