"""One fixed colour per method on every page, by its place in the registry."""

from __future__ import annotations

from ptviz.figures.style import Mark, mark
from ptviz.methods import REGISTRY


def mark_of(method: str) -> Mark:
    """The mark of a method; grey for one that this version does not know."""
    names = list(REGISTRY)
    return mark(names.index(method)) if method in names else Mark()


def title_of(method: str) -> str:
    """A method's title for people; its registry name if this version does not know it."""
    return REGISTRY[method].card.title if method in REGISTRY else method
