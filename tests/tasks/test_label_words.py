from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptviz.tasks.custom.label_words import assign_label_words, readable_class_name


@pytest.mark.parametrize(
    ("classes", "words"),
    [
        (("negative", "positive"), ("negative", "positive")),
        (("0", "1"), ("0", "1")),
        (("Sports", "World News"), ("sports", "world")),
        (("card_lost", "card_stolen"), ("lost", "stolen")),
        (("lostCard", "lostPhone"), ("card", "phone")),
        (("how_do_i_pay", "how_do_i_call"), ("pay", "call")),
        # The only word of one class is left to it.
        (("top up", "top"), ("up", "top")),
        (("Spam", "spam"), ("spam", "spam 2")),
        (("?", "!"), ("?", "!")),
        (("größe", "日本"), ("größe", "日本")),
    ],
)
def test_words_of_class_names(classes: tuple[str, ...], words: tuple[str, ...]) -> None:
    assert assign_label_words(classes) == words


@given(st.lists(st.text(min_size=1).filter(str.strip), min_size=2, max_size=12, unique=True))
def test_words_are_all_different_and_none_is_empty(classes: list[str]) -> None:
    words = assign_label_words(classes)
    assert len(set(words)) == len(classes)
    assert all(word.strip() for word in words)
    assert all(readable_class_name(name).strip() for name in classes)


@given(st.permutations(["p q", "q r", "r p", "p q r"]))
def test_no_word_is_wasted_whatever_the_order(classes: list[str]) -> None:
    words = assign_label_words(classes)
    assert sum(len(word) == 1 for word in words) == 3
    assert all(word in name for word, name in zip(words, classes, strict=True))


def test_descriptions() -> None:
    assert readable_class_name("card_not_working") == "card not working"
    assert readable_class_name("WorldNews") == "world news"
    assert readable_class_name("3") == "class 3"
    assert readable_class_name("+") == "+"
