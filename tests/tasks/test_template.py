from __future__ import annotations

import logging
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ptviz.tasks.template import FRAMES, Template

from .conftest import Letters

texts = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF), max_size=40)
readings = st.sampled_from(sorted(FRAMES))
lenient = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize(
    ("reading", "expected", "read"),
    [
        ("pooled", "<cls>___hello<sep>", "1000111111"),
        ("mask", "<cls>___hello Kind:<mask>.<sep>", "0000000000000001" + "00"),
        ("last", "___\nhello\nKind:", "00000000000000" + "1"),
        ("first", "___hello Kind:<eos>", "000000000000000"),
    ],
)
def test_the_four_layouts(letters: Letters, reading: str, expected: str, read: str) -> None:
    found = Template.for_readout(reading, "Kind:").encode("hello", letters, 3, 10)
    assert letters.read(found.ids) == expected
    assert "".join(str(int(mark)) for mark in found.readout_mask) == read
    assert [letters.read([i]) for i, slot in zip(found.ids, found.slots, strict=True) if slot] == ["_"] * 3
    assert found.label == -1


@given(texts, readings, st.integers(0, 30), st.integers(1, 50))
@lenient
def test_slots_are_m_in_one_run_and_never_read(letters: Letters, text: str, reading: str, m: int, length: int) -> None:
    found = Template.for_readout(reading, "Kind:").encode(text, letters, m, length)
    assert len(found.ids) == len(found.slots) == len(found.readout_mask)
    assert sum(found.slots) == m
    assert "".join(str(int(slot)) for slot in found.slots).strip("0") == "1" * m
    assert not any(slot and read for slot, read in zip(found.slots, found.readout_mask, strict=True))
    assert all(number == 9 for number, slot in zip(found.ids, found.slots, strict=True) if slot)


@given(texts, readings, st.integers(0, 5), st.integers(1, 50))
@lenient
def test_only_the_text_is_cut_and_only_at_its_end(
    letters: Letters, text: str, reading: str, m: int, length: int
) -> None:
    template = Template.for_readout(reading, "Kind:")
    cut, whole = (template.encode(text, letters, m, limit) for limit in (length, 10_000))
    bare = template.encode("", letters, m, length)
    kept = min(length, len(text))
    assert len(cut.ids) == len(bare.ids) + kept
    before = letters.read(whole.ids).index(text) if text else 0
    assert text[:kept] in letters.read(cut.ids)[before:]
    assert len(bare.ids) == m + template.count_extra_tokens(letters)
    # What surrounds the text is the same, whatever the text.
    start = [i for i, (a, b) in enumerate(zip([*cut.ids, -1], [*bare.ids, -1], strict=False)) if a != b]
    if start:
        tail = len(bare.ids) - start[0]
        assert cut.ids[len(cut.ids) - tail :] == bare.ids[start[0] :]


@given(texts, readings, st.integers(0, 8))
@lenient
def test_read_marks(letters: Letters, text: str, reading: str, m: int) -> None:
    found = Template.for_readout(reading, "Kind:").encode(text, letters, m, 100)
    places = [i for i, mark in enumerate(found.readout_mask) if mark]
    if reading == "pooled":
        assert places == [i for i, slot in enumerate(found.slots) if not slot]
    elif reading == "mask":
        assert [found.ids[i] for i in places] == [letters.mask_token_id]
    elif reading == "last":
        assert places == [len(found.ids) - 1]
    else:
        assert places == []


@given(st.text(max_size=60), readings, st.integers(0, 20), st.integers(1, 64))
@lenient
def test_the_text_survives_a_real_tokeniser(wordpiece: Any, text: str, reading: str, m: int, length: int) -> None:
    found = Template.for_readout(reading, "Kind:").encode(text, wordpiece, m, length)
    assert sum(found.slots) == m
    plain = wordpiece([text], add_special_tokens=False, split_special_tokens=True)["input_ids"][0][:length]
    rest = [i for i, slot in zip(found.ids, found.slots, strict=True) if not slot]
    runs = [rest[i : i + len(plain)] for i in range(len(rest) - len(plain) + 1)]
    assert plain in runs
    assert len(rest) == len(plain) + Template.for_readout(reading, "Kind:").count_extra_tokens(wordpiece)


def test_special_words_in_a_text_stay_text(wordpiece: Any) -> None:
    found = Template.for_readout("mask", "Kind:").encode("a [MASK] b [SEP] [PAD]", wordpiece, 2, 64)
    assert found.ids.count(wordpiece.mask_token_id) == 1
    assert found.ids.count(wordpiece.sep_token_id) == 1
    assert sum(found.readout_mask) == 1


def test_without_a_prompt_it_is_what_the_tokeniser_makes(wordpiece: Any) -> None:
    found = Template.for_readout("pooled").encode("A short text.", wordpiece, 0, 64)
    assert found.ids == wordpiece("A short text.")["input_ids"]


def test_a_long_text_is_cut_without_a_warning(wordpiece: Any, caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("transformers")  # which keeps its records to itself
    wordpiece.deprecation_warnings.clear()  # it warns once only
    logger.addHandler(caplog.handler)
    try:
        found = Template.for_readout("pooled").encode("word " * 2000, wordpiece, 4, 32)
    finally:
        logger.removeHandler(caplog.handler)
    assert len(found.ids) == 4 + 32 + 2
    assert not caplog.records


def test_many_texts_are_laid_out_like_each(letters: Letters) -> None:
    template = Template.for_readout("last", "Kind:")
    together = template.encode_all(["one", "three"], letters, 2, 4, labels=[0, 1])
    assert [row.label for row in together] == [0, 1]
    apart = [template.encode(text, letters, 2, 4) for text in ("one", "three")]
    assert [row._replace(label=-1) for row in together] == apart
    assert template.encode_all([], letters, 2, 4) == []


def test_a_cue_is_tokenised_with_its_blank_and_may_hold_braces() -> None:
    asked: list[str] = []

    class Asked(Letters):
        def __call__(self, text: list[str], **settings: Any) -> dict[str, list[list[int]]]:
            asked.extend(text)
            return super().__call__(text, **settings)

    Template.for_readout("first", "{kind}:").encode("x", Asked(), 1, 4)
    assert " {kind}:" in asked


def test_the_prompt_may_stand_anywhere(letters: Letters) -> None:
    found = Template("{cls}{text} {{so}} {prompt}!{sep}").encode("hi", letters, 2, 9)
    assert letters.read(found.ids) == "<cls>hi {so} __!<sep>"


def test_special_tokens_stand_in_for_each_other() -> None:
    class Sentence(Letters):
        cls_token_id = sep_token_id = pad_token_id = None  # type: ignore[assignment]

    found = Template.for_readout("pooled").encode("a", Sentence(), 1, 4)
    assert found.ids == [4, 0, 10 + ord("a"), 5]


def test_a_tokeniser_without_a_mask_is_refused() -> None:
    class Unmasked(Letters):
        mask_token_id = None  # type: ignore[assignment]

    with pytest.raises(ValueError, match="no mask token"):
        Template.for_readout("mask", "Kind:").encode("a", Unmasked(), 1, 4)


@pytest.mark.parametrize(
    ("pattern", "reading", "message"),
    [
        ("{cls}{sep}", "pooled", r"expected \{text\} once; it comes 0 times"),
        ("{text}{text}", "pooled", r"expected \{text\} once; it comes 2 times"),
        ("{prompt}{text}{prompt}", "pooled", r"expected \{prompt\} at most once"),
        ("{prompt}{text}", "mask", r"expected \{mask\} once"),
        ("{prompt}{texts}", "pooled", r"unknown field \{texts\}"),
        ("{text}}", "pooled", "for braces"),
        ("{text}", "middle", "expected one of pooled, mask, last, first; got 'middle'"),
    ],
)
def test_a_template_that_cannot_be_is_refused(pattern: str, reading: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Template(pattern, reading)


def test_bad_sizes_are_refused(letters: Letters) -> None:
    with pytest.raises(ValueError, match=r"expected \{prompt\} for the 3 prompt tokens"):
        Template("{text}").encode("a", letters, 3, 4)
    with pytest.raises(ValueError, match="got -1 and 4"):
        Template("{prompt}{text}").encode("a", letters, -1, 4)
    with pytest.raises(ValueError, match="got 1 and 0"):
        Template("{prompt}{text}").encode("a", letters, 1, 0)
    assert Template("{text}").encode("a", letters, 0, 4).ids == [10 + ord("a")]


@pytest.mark.parametrize("piece", ["{text:20}", "{text!r}", "{sep:3}", "{cue:x}", "{prompt!s}"])
def test_only_the_prompt_takes_a_number(piece: str) -> None:
    name = piece[1:-1].split(":")[0].split("!")[0]
    pattern = "{prompt}{text}{sep}{cue}".replace("{" + name + "}", piece)
    with pytest.raises(ValueError, match=rf"expected \{{{name}\}}; got .*only \{{prompt:3\}} takes a number"):
        Template(pattern)


@pytest.mark.parametrize(
    ("reading", "pattern", "expected"),
    [
        ("pooled", "", "{cls}{text}{prompt}{sep}"),
        ("mask", "", "{cls}{text}{prompt} {cue} {mask}.{sep}"),
        ("last", "", "{text}{prompt}\n{cue}"),
        ("first", "", "{text}{prompt} {cue}{eos}"),
        ("last", "{prompt}Read: {text}. Yes?", "Read: {text}{prompt}. Yes?\n{cue}"),
    ],
)
def test_an_infix_stands_between_text_and_answer(reading: str, pattern: str, expected: str) -> None:
    """Li and Liang 2021, section 7.3: [x; infix; y]."""
    assert Template.for_readout(reading, pattern=pattern, place="infix").pattern == expected


def test_an_infix_stands_behind_the_last_of_several_texts() -> None:
    template = Template.for_readout("last", fields=("premise", "hypothesis"), place="infix")
    assert template.pattern == "{premise}\n{hypothesis}{prompt}\n{cue}"


def test_pieces_with_places_of_their_own_are_no_infix() -> None:
    with pytest.raises(ValueError, match=r"one \{prompt\} for an infix"):
        Template.for_readout("last", pattern="{prompt:2}{text}{prompt}", place="infix")
