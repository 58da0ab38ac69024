"""The style of every figure: colours safe for colour blindness, a second cue besides colour, escaped text.

Colours of text, grid and paper are not set: they come from the page's light or dark theme.
Source of the palette: Okabe and Ito, "Color Universal Design", 2008, https://jfly.uni-koeln.de/color/
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

from plotly.colors import hex_to_rgb

# Okabe and Ito's eight without black and yellow, which cannot be seen on one of the backgrounds, and with a grey.
PALETTE = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C8C8C")
VERMILLION, BLUE, GREEN, PURPLE, ORANGE, SKY, GREY = PALETTE
SERIES_COLOURS = (GREEN, PURPLE, ORANGE, SKY, GREY)
"""Without vermillion and blue, which mean trained and frozen."""
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


def series_style(index: int, colours: Sequence[str] = SERIES_COLOURS) -> SeriesStyle:
    """Return the style of the series at an index: the colours in turn, then again with other dashes and symbols."""
    turn, colour = divmod(index, len(colours))
    return SeriesStyle(colours[colour], DASHES[turn % len(DASHES)], SYMBOLS[(index + turn) % len(SYMBOLS)])


def style_variant(base: SeriesStyle, turn: int) -> SeriesStyle:
    """Return a variant of a style: the same colour, with another dash and symbol at each ``turn``; 0 is the same."""
    dash, symbol = DASHES.index(base.dash), SYMBOLS.index(base.symbol)
    return SeriesStyle(base.colour, DASHES[(dash + turn) % len(DASHES)], SYMBOLS[(symbol + turn) % len(SYMBOLS)])


def escape_text(text: str, longest: int = 60) -> str:
    """Escape an untrusted text for plotly, which reads a subset of HTML; longer texts are cut."""
    line = " ".join(text.split())
    return html.escape(line if len(line) <= longest else line[: longest - 1] + "…", quote=False)


def format_number(value: float, digits: int = 3) -> str:
    """Format a number to significant digits: no exponent from 0.0001 up, and no minus before a zero."""
    rounded = float(f"{value:.{digits}g}") + 0.0
    return f"{rounded:,.15g}" if 1e-4 <= abs(rounded) < 1e12 else f"{rounded:g}"


def with_alpha(colour: str, alpha: float) -> str:
    """Return a colour ("#RRGGBB") with an opacity from 0 to 1."""
    red, green, blue = hex_to_rgb(colour)
    return f"rgba({red},{green},{blue},{alpha})"


def escape_hover(text: str) -> str:
    """Escape a text for plotly's templates, in which "%{" would be a placeholder."""
    return text.replace("%{", "%&#123;")
