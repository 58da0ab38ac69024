"""Figures of runs that have ended, drawn once: a page that is run again draws only what changed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go
from cachetools import LRUCache, cached

from ptviz.figures.linked_selection import has_pickable_trace
from ptviz.plots import comparison
from ptviz.plots.alt_text import alt_of
from ptviz.plots.cache import last_modified
from ptviz.profanity import profanity_filter
from ptviz.runs import Run, StoreError
from ptviz.runs.status import ACTIVE_STATES

MAX_CHARACTERS = 32 * 2**20
"""What the JSON of all figures together may take."""
_MOST_ITEMS = 500
"""Longer lists among the arguments are results that are drawn, not settings: such a figure is not cached."""


@dataclass(frozen=True)
class DrawnFigure:
    """A figure as the browser gets it: plotly's JSON, alternative text, and how many profane words it met."""

    json: str
    alt: str
    is_pickable: bool
    profane_words: int


def draw_figure(
    plot: Callable[..., go.Figure], args: tuple[Any, ...], options: Mapping[str, Any], masks: bool
) -> DrawnFigure:
    """Return the figure of ``plot(*args, **options)``; that of a run that has ended is drawn again if a file changed.

    ``masks`` says whether profane words are masked.
    """

    def draw() -> DrawnFigure:
        with profanity_filter(masks=masks) as profanity:
            figure = plot(*args, **options)
            return DrawnFigure(
                str(figure.to_json()), alt_of(figure), has_pickable_trace(figure), len(profanity.found)
            )  # fmt: skip

    key = _key_of(plot, args, options, masks)
    return draw() if key is None else _drawn(key, draw)


# Drawn outside the lock: a slow figure of one visitor must not hold up the others.
@cached(
    LRUCache[Hashable, DrawnFigure](MAX_CHARACTERS, getsizeof=lambda one: len(one.json)),
    key=lambda key, draw: key,
    lock=threading.Lock(),
)
def _drawn(key: Hashable, draw: Callable[[], DrawnFigure]) -> DrawnFigure:
    return draw()


def _key_of(
    plot: Callable[..., go.Figure], args: tuple[Any, ...], options: Mapping[str, Any], masks: bool
) -> Hashable | None:
    """Return what a figure depends on; None if more than a run that has ended and plain settings."""
    several = plot.__module__ == comparison.__name__  # Other figures of several runs read measured transfer, too.
    if not args or not (several or isinstance(args[0], Run)):
        return None
    try:
        return plot.__module__, plot.__qualname__, masks, _freeze(args), _freeze(options)
    except (TypeError, AttributeError, StoreError):
        return None


def _freeze(value: Any) -> Hashable:
    """Return a hashable value that is equal for equal arguments.

    Raises:
        TypeError: for a run that is still active, and what is neither a run nor a plain setting.
        StoreError: if a run cannot be read.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return type(value).__name__, value
    if isinstance(value, Run):
        if value.status().state in ACTIVE_STATES:
            raise TypeError(f"{value.id} may change at any moment")
        return value.id, str(value.path), last_modified(value.path), last_modified(value.path / "snapshots")
    if isinstance(value, Mapping):
        return tuple(sorted((str(name), _freeze(part)) for name, part in value.items()))
    if isinstance(value, list | tuple | set | frozenset) and len(value) <= _MOST_ITEMS:
        parts = tuple(_freeze(part) for part in value)
        return parts if isinstance(value, list | tuple) else frozenset(parts)
    raise TypeError(f"{type(value).__name__} is no plain setting")
