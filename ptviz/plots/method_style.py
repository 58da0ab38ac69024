"""One fixed colour per method on every page, by its place in the registry."""

from __future__ import annotations

import zlib

from ptviz.figures.style import DASHES, SERIES_COLOURS, SYMBOLS, SeriesStyle, series_style
from ptviz.methods import list_methods


def method_series_style(method: str) -> SeriesStyle:
    """The mark of a method; one that this version does not know gets one by its name, the same on every page."""
    names = list(list_methods())
    if method in names:
        return series_style(names.index(method))
    # Marks repeat after so many places; those of the registry come first and stay its own.
    others = len(SERIES_COLOURS) * len(DASHES) * len(SYMBOLS) - len(names)
    return series_style(len(names) + zlib.crc32(method.encode()) % others)


def method_title(method: str) -> str:
    """A method's title for people; its registry name if this version does not know it."""
    return list_methods()[method].card.title if method in list_methods() else method
