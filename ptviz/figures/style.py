"""The style of every figure: colours safe for colour blindness, a second cue besides colour, escaped text.

Colours of text, grid and paper are not set: they come from the page's light or dark theme.
Source of the palette: Okabe and Ito, "Color Universal Design", 2008, https://jfly.uni-koeln.de/color/
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

# Okabe and Ito's eight without black and yellow, which cannot be seen on one of the backgrounds, and with a grey.
VERMILLION, BLUE, GREEN, PURPLE, ORANGE, SKY, GREY = (
    "#D55E00",
    "#0072B2",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#8C8C8C",
)
PALETTE = (VERMILLION, BLUE, GREEN, PURPLE, ORANGE, SKY, GREY)
DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star")
FROZEN, PROMPT = BLUE, VERMILLION
"""The colours of the survey's figures: blue is frozen, orange is the soft prompt."""


@dataclass(frozen=True)
class SeriesStyle:
    """The style of one series: a colour, and a line dash and marker symbol as a second cue."""

    colour: str = GREY
    dash: str = "solid"
    symbol: str = "circle"


def series_style(index: int) -> SeriesStyle:
    """Return the style of the series at an index: the colours in turn, then again with other dashes and symbols."""
    turn, colour = divmod(index, len(PALETTE))
    # There are as many symbols as colours: without the shift by one a turn, a colour would always have one symbol.
    return SeriesStyle(PALETTE[colour], DASHES[turn % len(DASHES)], SYMBOLS[(index + turn) % len(SYMBOLS)])


def style_variant(base: SeriesStyle, turn: int) -> SeriesStyle:
    """Return a variant of a style: the same colour, with another dash and symbol at each ``turn``; 0 is the same."""
    dash, symbol = DASHES.index(base.dash), SYMBOLS.index(base.symbol)
    return SeriesStyle(base.colour, DASHES[(dash + turn) % len(DASHES)], SYMBOLS[(symbol + turn) % len(SYMBOLS)])


def escape_text(text: str, longest: int = 60) -> str:
    """Escape an untrusted text for plotly, which reads a subset of HTML; longer texts are cut."""
    line = " ".join(text.split())
    return html.escape(line if len(line) <= longest else line[: longest - 1] + "…", quote=False)


def category_axis(names: Sequence[str], longest: int) -> dict[str, Any]:
    """Return an axis whose ticks 0, 1, 2, ... have untrusted names, cut to ``longest`` characters; no grid."""
    return {
        "tickvals": list(range(len(names))),
        "ticktext": [escape_text(name, longest) for name in names],
        "showgrid": False,
        "zeroline": False,
    }


def empty_figure(height: int) -> go.Figure:
    """Return an empty figure of a height in pixels, with the margins, font and hover mode of all figures."""
    figure = go.Figure()
    figure.update_layout(
        template=go.layout.Template(),
        height=height,
        margin={"l": 56, "r": 16, "t": 16, "b": 44},
        font={"size": 13},
        # A constant: zoom, pan and hidden traces stay when new points come.
        uirevision="kept",
        hovermode="x unified",
        legend={"orientation": "h", "x": 0, "y": 1.02, "xanchor": "left", "yanchor": "bottom"},
    )
    return figure


def add_note(figure: go.Figure, text: str) -> go.Figure:
    """Write in the middle of an empty figure why it is empty; return the figure."""
    figure.add_annotation(text=escape_text(text, 200), x=0.5, y=0.5, xref="paper", yref="paper", showarrow=False)
    return figure


def colour_bar(title: str, **settings: str) -> dict[str, Any]:
    """Return plotly's settings of a thin colour bar with its title beside it; ``settings`` such as a tick format."""
    return {"title": {"text": title, "side": "right"}, "thickness": 12, "outlinewidth": 0, **settings}
