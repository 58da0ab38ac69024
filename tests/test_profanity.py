"""Profane words are masked by default, counted, and shown on request."""

from __future__ import annotations

import pytest

from ptviz.profanity import mask_text, mask_words, profane_words, profanity_filter


def test_profane_tokens_of_every_tokeniser_are_masked():
    assert mask_words(["shit", " Shit", "##shit", "shirts", "hello", ""]) == [
        "s•••", " S•••", "##s•••", "shirts", "hello", "",
    ]  # fmt: skip
    assert mask_text("what the fuck is this") == "what the f••• is this"
    assert mask_text("crap and hell") == "c••• and h•••", "many lists name them, though the package calls them mild"


@pytest.mark.parametrize("word", ["god", "gay", "class", "##ass", "sexual", "kill", "asian", "hello", "1", "[PAD]"])
def test_ordinary_words_stay(word):
    assert mask_words([word]) == [word]


def test_words_are_counted_once_and_shown_on_request():
    with profanity_filter() as used:
        mask_words(["shit", "Shit", "fuck", "tree"])
    assert used.found == {"shit", "fuck"}
    with profanity_filter(masks=False) as used:
        assert mask_words(["shit"]) == ["shit"]
    assert used.found == {"shit"}
    assert mask_words(["shit"]) == ["s•••"], "the next figure is masked again"


def test_the_list_is_neither_empty_nor_half_a_dictionary():
    assert 200 < len(profane_words()) < 1000
