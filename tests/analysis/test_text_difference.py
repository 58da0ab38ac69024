"""Where two texts differ: whole words, and both texts stay complete."""

from __future__ import annotations

import pytest

from ptviz.analysis.text_difference import find_differences


@pytest.mark.parametrize(
    ("before", "after", "differs"),
    [
        ("a black cat sat", "a white cat sat down", (["black"], ["white", "down"])),
        ("one", "one", ([], [])),
        ("one", "", (["one"], [])),
        ("", "two words", ([], ["two words"])),
        ("", "", ([], [])),
        ("the cat", "the cats", (["cat"], ["cats"])),
        ("b a", "a b", (["a"], ["a"])),
        ("a\n b", "a  b", ([""], [""])),
    ],
)
def test_words_that_differ(before: str, after: str, differs: tuple[list[str], list[str]]) -> None:
    found = find_differences(before, after)
    assert tuple([piece.text.strip() for piece in pieces if piece.differs] for pieces in found) == differs
    assert tuple("".join(piece.text for piece in pieces) for pieces in found) == (before, after)
