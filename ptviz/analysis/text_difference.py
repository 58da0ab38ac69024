"""Where two texts differ, word by word."""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from typing import NamedTuple


class Piece(NamedTuple):
    """A part of a text, and whether it differs from the other text."""

    text: str
    differs: bool


def find_differences(before: str, after: str) -> tuple[list[Piece], list[Piece]]:
    """Return both texts in pieces that are, or are not, in the other one in the same order; words are never split."""
    old, new = (re.findall(r"\s+|\S+", text) for text in (before, after))
    first: list[Piece] = []
    second: list[Piece] = []
    for tag, i, j, k, n in SequenceMatcher(str.isspace, old, new, autojunk=False).get_opcodes():
        first += [Piece("".join(old[i:j]), tag != "equal")] * (i < j)
        second += [Piece("".join(new[k:n]), tag != "equal")] * (k < n)
    return first, second
