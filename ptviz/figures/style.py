"""How every figure looks: colours that colour-blind readers can tell apart, a second cue, and text kept as text.

Colours of text, grid and paper are left open: the page fills them in from its light or dark theme.
Source of the palette: Okabe and Ito, "Color Universal Design", 2008, https://jfly.uni-koeln.de/color/
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

# Okabe and Ito's eight without black and yellow, which vanish on one of the two backgrounds, and with a grey.
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
"""The survey's grammar: blue is frozen, orange is the soft prompt."""


@dataclass(frozen=True)
class SeriesStyle:
    """How one category is drawn: a colour, and a line dash and marker symbol as a second cue."""

    colour: str = GREY
    dash: str = "solid"
    symbol: str = "circle"


def series_style(index: int) -> SeriesStyle:
    """The mark of the category at a fixed place: a colour of its own first, then one again with dash and symbol new."""
    turn, place = divmod(index, len(PALETTE))
    # As many symbols as colours: each turn moves them on by one, or a colour would keep its symbol for ever.
    return SeriesStyle(PALETTE[place], DASHES[turn % len(DASHES)], SYMBOLS[(index + turn) % len(SYMBOLS)])


def style_variant(base: SeriesStyle, turn: int) -> SeriesStyle:
    """One of several versions of a category: its colour, with another dash and symbol at each ``turn``; 0 is itself."""
    dash, symbol = DASHES.index(base.dash), SYMBOLS.index(base.symbol)
    return SeriesStyle(base.colour, DASHES[(dash + turn) % len(DASHES)], SYMBOLS[(symbol + turn) % len(SYMBOLS)])


def escape_text(text: str, longest: int = 60) -> str:
    """A stranger's text as plotly will show it: letter for letter, never as its pseudo-HTML, cut if very long."""
    line = " ".join(text.split())
    return html.escape(line if len(line) <= longest else line[: longest - 1] + "…", quote=False)


def category_axis(names: Sequence[str], longest: int) -> dict[str, Any]:
    """An axis whose places 0, 1, 2, ... carry strangers' names, cut to ``longest`` characters; no grid."""
    return {
        "tickvals": list(range(len(names))),
        "ticktext": [escape_text(name, longest) for name in names],
        "showgrid": False,
        "zeroline": False,
    }


def empty_figure(height: int) -> go.Figure:
    """An empty figure of a height in pixels, with the margins, fonts and hovering shared by all."""
    figure = go.Figure()
    figure.update_layout(
        template=go.layout.Template(),
        height=height,
        margin={"l": 56, "r": 16, "t": 16, "b": 44},
        font={"size": 13},
        # One constant: what a reader zoomed, panned or hid stays so when new points come.
        uirevision="kept",
        hovermode="x unified",
        legend={"orientation": "h", "x": 0, "y": 1.02, "xanchor": "left", "yanchor": "bottom"},
    )
    return figure


def add_note(figure: go.Figure, text: str) -> go.Figure:
    """Say in the middle of an empty figure why it is empty; returns the figure."""
    figure.add_annotation(text=escape_text(text, 200), x=0.5, y=0.5, xref="paper", yref="paper", showarrow=False)
    return figure
