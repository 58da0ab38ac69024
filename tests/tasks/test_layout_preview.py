"""The preview of an example is what training encodes, and the beginning of a table is read without the rest."""

from __future__ import annotations

import json
from itertools import chain
from pathlib import Path

import pytest

from ptviz.backbones.tiny import make_tiny_tokeniser
from ptviz.tasks import TableOptions, TaskError, Template
from ptviz.tasks.custom.assemble import Columns
from ptviz.tasks.custom.table_preview import read_first_rows, read_table_head
from ptviz.tasks.layout_preview import LayoutPiece, WordTokeniser, preview_layout

FIELDS = ("premise", "hypothesis")
TEXTS = ("the house has many people in it for a day", "what is true and false")


@pytest.mark.parametrize("reading", ["pooled", "mask", "last", "first"])
@pytest.mark.parametrize("pattern", ["", "{prompt:2}{hypothesis} so{prompt}{premise}{sep}"])
@pytest.mark.parametrize("cut_first", ["", "premise"])
def test_the_preview_has_the_tokens_that_training_has(reading: str, pattern: str, cut_first: str) -> None:
    tokeniser = make_tiny_tokeniser()
    template = Template.for_readout(reading, "Answer:", FIELDS, pattern, cut_first)
    for length in (6, 128):
        encoded = template.encode(TEXTS, tokeniser, 5, length)
        pieces = preview_layout(template, TEXTS, tokeniser, 5, length)
        prompt = chain.from_iterable([piece.kind == "prompt"] * piece.tokens for piece in pieces)
        assert [*prompt] == encoded.slots
        shown = "".join(piece.text for piece in pieces)
        ids = [one for one, slot in zip(encoded.ids, encoded.slots, strict=True) if not slot]
        assert shown == tokeniser.decode(ids)
        fields = {piece.name: piece for piece in pieces if piece.kind == "field"}
        assert {name: fields[name].text + fields[name].cut for name in FIELDS} == dict(zip(FIELDS, TEXTS, strict=True))
        assert sum(piece.tokens for piece in fields.values()) == min(
            length, len(tokeniser.tokenize(TEXTS[0])) + len(tokeniser.tokenize(TEXTS[1]))
        )


def test_words_stand_in_for_tokens() -> None:
    template = Template.for_readout("mask", "Answer:", FIELDS, "{prompt:2}{premise} so {hypothesis}", "premise")
    assert preview_layout(template, TEXTS, WordTokeniser(), 2, 8) == [
        LayoutPiece("fixed", "[CLS]", 1),
        LayoutPiece("prompt", "", 2),
        LayoutPiece("field", "the house has", 3, "premise", "many people in it for a day", 7),
        LayoutPiece("fixed", "so", 1),
        LayoutPiece("field", "what is true and false", 5, "hypothesis"),
        LayoutPiece("fixed", "Answer:", 1),
        LayoutPiece("fixed", "[MASK]", 1),
        LayoutPiece("fixed", ".", 1),
        LayoutPiece("fixed", "[SEP]", 1),
    ]


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("{prompt:2}{premise}{hypothesis}", "it has pieces of 2 tokens: add {prompt}, which takes the rest"),
        ("{prompt:9}{premise}{hypothesis}", "it has pieces of 9 tokens: make the pieces smaller"),
        ("{premise}{hypothesis}", "expected {prompt} for the 5 prompt tokens; it has none: add {prompt}"),
    ],
)
def test_pieces_that_do_not_add_up_are_named(pattern: str, problem: str) -> None:
    template = Template.for_readout("last", "Answer:", FIELDS, pattern)
    with pytest.raises(ValueError, match="prompt") as raised:
        preview_layout(template, TEXTS, WordTokeniser(), 5, 8)
    assert problem in str(raised.value)


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    path = tmp_path / "pairs.csv"
    path.write_text("a,b,same,a \n" + ",x,1,-\n" + "".join(f"one {i},two {i},{i % 2},-\n" for i in range(60)))
    return path


def test_the_head_of_a_table(pairs: Path, tmp_path: Path) -> None:
    head = read_table_head(pairs, TableOptions())
    assert head.columns == ("b", "same"), "a column that comes twice cannot be named"
    assert head.usual is None
    assert head.likely == Columns(("b",), "same"), "the longest texts, and the fewest different values"
    rows = read_first_rows(pairs, Columns(("b", "a"), "same"), TableOptions(), 3)
    assert [row.texts for row in rows] == [("two 0", "one 0"), ("two 1", "one 1"), ("two 2", "one 2")]
    assert [row.answer for row in rows] == ["0", "1", "0"]
    usual = tmp_path / "usual.jsonl"
    usual.write_text("".join(json.dumps({"text": "t", "label": "x", "out": [f"o{i}"]}) + "\n" for i in range(9)))
    assert read_table_head(usual, TableOptions()).usual == Columns(("text",), "label")
    targets = read_first_rows(usual, Columns(("text",), "out", True), TableOptions(), 2)
    assert [row.answer for row in targets] == [("o0",), ("o1",)]
    bare = tmp_path / "bare.csv"
    bare.write_text("".join(f"a long text number {i},{i % 2}\n" for i in range(9)))
    head = read_table_head(bare, TableOptions(header=False))
    assert (head.columns, head.usual) == (("1", "2"), Columns(("1",), "2"))


@pytest.mark.parametrize(
    ("header", "likely"),
    [
        ("question,answer", Columns(("question",), "answer", True)),
        ("answer,question", Columns(("question",), "answer", True)),
        ("first,sentiment", Columns(("first",), "sentiment")),
        ("sentiment,first", Columns(("first",), "sentiment")),
        ("review,second", Columns(("review",), "second")),
        ("second,review", Columns(("review",), "second")),
        ("only", Columns(("only",), "only")),
    ],
)
def test_columns_are_guessed_by_their_names_first(tmp_path: Path, header: str, likely: Columns) -> None:
    path = tmp_path / "t.csv"
    rows = "".join(f"{i},a long text number {i}\n" if "," in header else f"{i}\n" for i in range(9))
    path.write_text(f"{header}\n{rows}")
    assert read_table_head(path, TableOptions()).likely == likely


def test_only_the_beginning_is_read(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("text,label\n" + "good text,yes\n" * 5 + ",no\n" * 300 + '"never closed,yes\n')
    columns = Columns(("text",), "label")
    assert len(read_first_rows(path, columns, TableOptions(), 20)) == 5
    with pytest.raises(TaskError, match=r"none\.csv: cannot be read"):
        read_table_head(tmp_path / "none.csv", TableOptions())
