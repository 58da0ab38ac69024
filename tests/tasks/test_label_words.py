from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptviz.tasks import TaskError
from ptviz.tasks.custom.label_words import assign_label_words, normalised_name, readable_class_name, word_classes


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
        (("the x", "x", "x y"), ("the x", "x", "y")),
        (("?", "!"), ("question mark", "exclamation mark")),
        (("größe", "日本"), ("größe", "日本")),
    ],
)
def test_words_of_class_names(classes: tuple[str, ...], words: tuple[str, ...]) -> None:
    assert assign_label_words(classes) == words


@given(st.lists(st.text(min_size=1).filter(str.strip), min_size=2, max_size=12, unique=True))
def test_classes_get_different_texts_or_are_refused_by_name(classes: list[str]) -> None:
    try:
        words, descriptions = word_classes(classes, {})
    except TaskError as error:
        named = [name for name in classes if repr(name[:80]) in str(error)]
        assert len(named) >= 2
        return
    for texts in (words, descriptions):
        assert len({normalised_name(text) or text for text in texts}) == len(classes)
        assert all(text.strip() for text in texts)


@pytest.mark.parametrize(
    ("classes", "descriptions", "words"),
    [
        (("-1", "1"), ("minus 1", "class 1"), ("minus 1", "1")),
        (("-1.5", "1.5"), ("minus 1.5", "class 1.5"), ("minus 1.5", "1.5")),
        (("C", "C++", "C#"), ("c", "c plus plus", "c sharp"), ("c", "plus", "sharp")),
        (("+", "-"), ("plus", "minus"), ("plus", "minus")),
        (("\U0001f600", "\U0001f621"), ("grinning face", "pouting face"), ("grinning", "pouting")),
        (("good", "good!"), ("good", "good exclamation mark"), ("good", "exclamation")),
        (("AC/DC", "AC DC"), ("ac slash dc", "ac dc"), ("slash", "ac")),
    ],
)
def test_names_that_differ_in_signs_alone_are_spelt_out(
    classes: tuple[str, ...], descriptions: tuple[str, ...], words: tuple[str, ...]
) -> None:
    found = word_classes(classes, {})
    assert found[1] == descriptions
    assert found[0] == words


@pytest.mark.parametrize(
    ("first", "second"),
    [("Spam", "spam"), ("caf\u00e9", "cafe"), ("card_lost", "card lost"), ("card-lost", "cardLost"), ("a b", "a  b")],
)
def test_names_that_read_alike_are_refused_and_ask_for_words(first: str, second: str) -> None:
    with pytest.raises(TaskError) as caught:
        word_classes((first, second, "other"), {})
    assert repr(first) in str(caught.value)
    assert repr(second) in str(caught.value)
    assert "--words" in str(caught.value)
    assert word_classes((first, second), {first: "one", second: "two"}) == (("one", "two"), ("one", "two"))


def test_given_words_are_checked() -> None:
    assert word_classes(("0", "1"), {"1": "very good"}) == (("0", "very good"), ("class 0", "very good"))
    with pytest.raises(TaskError, match="'2' is no class; the classes are '0', '1'"):
        word_classes(("0", "1"), {"2": "two"})
    with pytest.raises(TaskError, match="labels '0' and '1' read alike"):
        word_classes(("0", "1"), {"0": "Good", "1": "good"})


@given(st.permutations(["p q", "q r", "r p", "p q r"]))
def test_no_word_is_wasted_whatever_the_order(classes: list[str]) -> None:
    words = assign_label_words(classes)
    assert sum(len(word) == 1 for word in words) == 3
    assert all(word in name for word, name in zip(words, classes, strict=True))


def test_descriptions() -> None:
    assert readable_class_name("card_not_working") == "card not working"
    assert readable_class_name("WorldNews") == "world news"
    assert readable_class_name("3") == "class 3"
    assert readable_class_name("+") == "plus"
    assert readable_class_name("-3") == "minus 3"
