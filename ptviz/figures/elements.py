"""What figures are made of: the empty figure, axes, lines, points, texts, colour bars."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from typing import Any

import plotly.graph_objects as go

from ptviz.figures.style import PROMPT, escape_text
from ptviz.tasks.metrics import Metric

TOP_DOWN = {"autorange": "reversed", "automargin": True}
"""Settings of the vertical axis of rows: its first row is on top."""


def axis(title: str = "", /, **settings: Any) -> dict[str, Any]:
    """Return plotly's settings of an axis with a title and no line at zero; None as a setting is plotly's default."""
    return {**({"title": {"text": title}} if title else {}), "zeroline": False, **settings}


_NARROW_SPAN = 0.05
"""Scores closer together than this have ticks at parts of a percentage point."""


def score_range(metric: Metric, scores: Iterable[float | None]) -> list[float]:
    """Return the range of an axis from 0, or from the lowest score if that is below, to the metric's highest value."""
    low = min(0, *(score for score in scores if score is not None), 0)
    return [low - 0.03 if low else 0, metric.high + 0.03]


def score_tick_format(metric: Metric, scores: Iterable[float | None]) -> str:
    """Return the format of the ticks of an axis of scores: with a decimal where whole percentages would repeat."""
    known = [score for score in scores if score is not None]
    return metric.value_format if known and max(known) - min(known) < _NARROW_SPAN else metric.tick_format


def cell_axis(title: str = "", /, **settings: Any) -> dict[str, Any]:
    """Return an axis of cells or bars: as ``axis``, without a grid."""
    return axis(title, **{"showgrid": False, **settings})


def category_axis(names: Sequence[str], longest: int, title: str = "", /, **settings: Any) -> dict[str, Any]:
    """Return an axis whose ticks 0, 1, 2, ... have untrusted names, cut to ``longest`` characters; no grid."""
    return cell_axis(title, **{"automargin": True, **named_ticks(names, longest), **settings})


def named_ticks(names: Sequence[str], longest: int, every: int = 1) -> dict[str, Any]:
    """Return the settings of an axis whose ticks 0, 1, 2, ... have untrusted names, cut to ``longest`` characters.

    ``every`` 2 names every second tick.
    """
    return {
        # Positions, not plotly's categories: two names may be equal once shortened.
        "tickvals": list(range(0, len(names), every)),
        "ticktext": [escape_text(name, longest) for name in names[::every]],
        # Plotly ignores it on an axis of numbers; exported data have the full names from here.
        "categoryarray": [html.escape(name, quote=False) for name in names],
    }


def empty_figure(height: int, **layout: Any) -> go.Figure:
    """Return an empty figure of a height in pixels, with the margins, font and legend of all figures.

    ``layout`` holds further settings of plotly's layout, which are merged with these.
    """
    usual: dict[str, Any] = {
        "template": go.layout.Template(),
        "height": height,
        "margin": {"l": 56, "r": 16, "t": 16, "b": 44},
        "font": {"size": 13},
        # A constant: zoom, pan and hidden traces stay when new points come.
        "uirevision": "kept",
        "hovermode": "closest",
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "xanchor": "left", "yanchor": "bottom"},
    }
    # Given at once: ``update_layout`` takes plotly six times as long.
    return go.Figure(layout=_merge(usual, layout))


def _scatter(settings: Mapping[str, Any]) -> go.Scatter:
    """Return a trace of these settings.

    Names such as ``marker_line_width`` are written out as nested dictionaries: plotly takes four times as long.
    """
    short = [name for name in settings if name.startswith(("line_", "marker_"))]
    nested = {name: value for name, value in settings.items() if name not in short}
    for name in short:
        first, *inner = name.split("_")
        value = settings[name]
        for part in reversed(inner):
            value = {part: value}
        nested = _merge(nested, {first: value})
    return go.Scatter(nested)


def _merge(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested settings, of which the second ones count."""
    merged = {**first}
    for name, value in second.items():
        both = isinstance(value, Mapping) and isinstance(first.get(name), Mapping)
        merged[name] = _merge(first[name], value) if both else value
    return merged


def add_note(figure: go.Figure, text: str) -> go.Figure:
    """Write in the middle of an empty figure why it is empty; return the figure."""
    return add_text(figure, escape_text(text, 200), 0.5, 0.5, xref="paper", yref="paper")


def add_text(figure: go.Figure, text: str, x: Any, y: float, /, **settings: Any) -> go.Figure:
    """Write an escaped text at a point; return the figure. ``settings`` are those of plotly's annotation."""
    return figure.add_annotation(text=text, x=x, y=y, **{"showarrow": False, **settings})


def add_line(
    figure: go.Figure, x: Any, y: Any, name: str, hover: str = "", colour: str = PROMPT, /, **settings: Any
) -> None:
    """Draw a line; ``hover`` is plotly's template of the text on hover, "" shows none.

    ``settings`` are those of plotly's scatter trace, such as ``line_dash``; by default the line is 2.5 pixels wide.
    """
    line = {"mode": "lines", "line_color": colour, "line_width": 2.5}
    figure.add_trace(_scatter({"x": x, "y": y, "name": name, **line, **_on_hover(hover), **settings}))


def add_points(
    figure: go.Figure, x: Any, y: Any, name: str, hover: str = "", colour: str = PROMPT, /, **settings: Any
) -> None:
    """Draw points; ``hover`` and ``settings`` are those of ``add_line``."""
    points = {"mode": "markers", "marker_color": colour}
    figure.add_trace(_scatter({"x": x, "y": y, "name": name, **points, **_on_hover(hover), **settings}))


def add_ring(
    figure: go.Figure, x: Any, y: Any, name: str, hover: str = "", colour: str = PROMPT, /, **settings: Any
) -> None:
    """Draw a ring around a point, which marks it as selected or best."""
    ring = {"marker_size": 15, "marker_symbol": "circle-open", "marker_line_width": 2.5}
    add_points(figure, [x], [y], name, hover, colour, **{**ring, **settings})


def error_bars(low: Sequence[float], middle: Sequence[float], high: Sequence[float], **settings: Any) -> dict[str, Any]:
    """Return plotly's settings of error bars; unknown ends (NaN) are drawn without one."""
    up = [_width(end - value) for end, value in zip(high, middle, strict=True)]
    down = [_width(value - end) for end, value in zip(low, middle, strict=True)]
    return {"type": "data", "symmetric": False, "array": up, "arrayminus": down, **settings}


def _width(width: float) -> float:
    return max(width, 0.0) if isfinite(width) else 0.0


def _on_hover(template: str) -> dict[str, str]:
    return {"hovertemplate": f"{template}<extra></extra>"} if template else {"hoverinfo": "skip"}


INSIDE_TEXT = {"textposition": "inside", "insidetextanchor": "start", "textangle": 0}
"""Settings of the text of bars: at their foot, horizontal."""


def hatching(shape: str) -> dict[str, Any]:
    """Return plotly's settings of the pattern of bars, a second cue besides their colour; "" is none."""
    return {"shape": shape, "fillmode": "overlay", "size": 6, "solidity": 0.25}


def colour_bar(title: str, **settings: Any) -> dict[str, Any]:
    """Return plotly's settings of a thin colour bar with its title beside it; ``settings`` such as a tick format."""
    return {"title": {"text": title, "side": "right"}, "thickness": 12, "outlinewidth": 0, **settings}
