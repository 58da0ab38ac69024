"""Small made-up copies of the benchmark sets, in the schema of each set's public card and the folders of the Hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
from datasets import ClassLabel, Features, List, Value

SIZES = {"train": 40, "validation": 24}
OTHER_SIZE = 16
"""Rows of any other split."""

_TEXT, _INT = Value("string"), Value("int32")
_TEXTS = List(_TEXT)
_TRUTH = ClassLabel(names=["False", "True"])
_TWO_WAY = ClassLabel(names=["entailment", "not_entailment"])
_BOTH = {"sentence1": _TEXT, "sentence2": _TEXT}
_PREMISE = {"premise": _TEXT, "hypothesis": _TEXT}
_TOKENS = {"tokens": _TEXTS, "offsets": List(_INT)}
_SPANS = List({"start": List(_INT), "end": List(_INT)})


def _labels(*names: str) -> dict[str, Any]:
    return {"label": ClassLabel(names=list(names)), "idx": _INT}


_MRQA = {
    "subset": _TEXT, "context": _TEXT, "context_tokens": _TOKENS, "qid": _TEXT, "question": _TEXT,
    "question_tokens": _TOKENS, "answers": _TEXTS,
    "detected_answers": {"text": _TEXTS, "char_spans": _SPANS, "token_spans": _SPANS},
}  # fmt: skip

SCHEMAS: dict[str, dict[str, Any]] = {
    "glue:cola": {"sentence": _TEXT, **_labels("unacceptable", "acceptable")},
    "glue:sst2": {"sentence": _TEXT, **_labels("negative", "positive")},
    "glue:mrpc": {**_BOTH, **_labels("not_equivalent", "equivalent")},
    "glue:qqp": {"question1": _TEXT, "question2": _TEXT, **_labels("not_duplicate", "duplicate")},
    "glue:stsb": {**_BOTH, "label": Value("float32"), "idx": _INT},
    "glue:mnli": {**_PREMISE, **_labels("entailment", "neutral", "contradiction")},
    "glue:qnli": {"question": _TEXT, "sentence": _TEXT, "label": _TWO_WAY, "idx": _INT},
    "glue:rte": {**_BOTH, "label": _TWO_WAY, "idx": _INT},
    "glue:wnli": {**_BOTH, **_labels("not_entailment", "entailment")},
    "superglue:boolq": {"question": _TEXT, "passage": _TEXT, "idx": _INT, "label": _TRUTH},
    "superglue:cb": {**_PREMISE, **_labels("entailment", "contradiction", "neutral")},
    "superglue:copa": {
        "premise": _TEXT, "choice1": _TEXT, "choice2": _TEXT, "question": _TEXT, **_labels("choice1", "choice2"),
    },
    "superglue:multirc": {
        "paragraph": _TEXT, "question": _TEXT, "answer": _TEXT, "label": _TRUTH,
        "idx": {"paragraph": _INT, "question": _INT, "answer": _INT},
    },
    "superglue:record": {
        "passage": _TEXT, "query": _TEXT, "entities": _TEXTS, "answers": _TEXTS,
        "idx": {"passage": _INT, "query": _INT},
        "entity_spans": {"text": _TEXTS, "start": List(_INT), "end": List(_INT)},
    },
    "superglue:rte": {**_PREMISE, "idx": _INT, "label": _TWO_WAY},
    "superglue:wic": {
        "word": _TEXT, **_BOTH, "start1": _INT, "start2": _INT, "end1": _INT, "end2": _INT, "idx": _INT,
        "label": _TRUTH,
    },
    "superglue:wsc": {
        "text": _TEXT, "span1_index": _INT, "span2_index": _INT, "span1_text": _TEXT, "span2_text": _TEXT, "idx": _INT,
        "label": _TRUTH,
    },
    "squad": {
        "id": _TEXT, "title": _TEXT, "context": _TEXT, "question": _TEXT,
        "answers": {"text": _TEXTS, "answer_start": List(_INT)},
    },
    **dict.fromkeys(("mrqa:newsqa", "mrqa:hotpotqa", "mrqa:nq", "mrqa:searchqa"), _MRQA),
    "winogrande": {"sentence": _TEXT, "option1": _TEXT, "option2": _TEXT, "answer": _TEXT},
    "yelp": {"text": _TEXT, "label": ClassLabel(names=["1", "2"])},
    "scitail": {
        "sentence1_binary_parse": _TEXT, "sentence1_parse": _TEXT, "sentence1": _TEXT, "sentence2_parse": _TEXT,
        "sentence2": _TEXT, "annotator_labels": _TEXTS, "gold_label": _TEXT,
    },
    "paws": {"id": _INT, **_BOTH, "label": ClassLabel(names=["0", "1"])},
    "e2e-full": {"meaning_representation": _TEXT, "human_reference": _TEXT},
    "webnlg-full": {
        "category": _TEXT, "size": _INT, "eid": _TEXT, "original_triple_sets": {"otriple_set": List(_TEXTS)},
        "modified_triple_sets": {"mtriple_set": List(_TEXTS)}, "shape": _TEXT, "shape_type": _TEXT,
        "lex": {"comment": _TEXTS, "lid": _TEXTS, "text": _TEXTS, "lang": _TEXTS}, "test_category": _TEXT,
        "dbpedia_links": _TEXTS, "links": _TEXTS,
    },
    "dart": {
        "tripleset": List(_TEXTS), "subtree_was_extended": Value("bool"),
        "annotations": {"source": _TEXTS, "text": _TEXTS},
    },
    "xsum": {"document": _TEXT, "summary": _TEXT, "id": _TEXT},
    "gsm8k": {"question": _TEXT, "answer": _TEXT},
}  # fmt: skip

SPLITS: dict[str, tuple[str, ...]] = {
    "glue:mnli": ("train", "validation_matched", "validation_mismatched", "test_matched", "test_mismatched"),
    "squad": ("train", "validation"),
    "yelp": ("train", "test"),
    "webnlg-full": ("train", "dev", "test"),
    "gsm8k": ("train", "test"),
}
"""The splits of each set that has others than train, validation and test."""

WITHHELD = (
    {name for name in SCHEMAS if name.startswith(("glue", "superglue"))} | {"winogrande"}
)  # fmt: skip
"""The sets whose test splits have no labels."""


def make_rows(name: str, split: str) -> list[dict[str, Any]]:
    """Return the rows of one split."""
    count = SIZES.get(split.partition("_")[0], OTHER_SIZE)
    rows = [_make_row(name, split, number) for number in range(count)]
    if name in WITHHELD and split.startswith("test"):
        for row in rows:
            row |= {"answers": []} if "answers" in row else {"answer": ""} if name == "winogrande" else {"label": -1}
    if name == "webnlg-full" and split == "test":  # the test split has each input without its texts first
        rows = [{**row, "lex": {key: [] for key in row["lex"]}} for row in rows] + rows
    return rows


def _make_row(name: str, split: str, number: int) -> dict[str, Any]:
    row = {column: _make_cell(kind, f"{column} {split} {number}", number) for column, kind in SCHEMAS[name].items()}
    return row | _special_cells(name, split, number)


def _make_cell(kind: Any, text: str, number: int) -> Any:
    if isinstance(kind, dict):
        return {key: _make_cell(part, f"{key} of {text}", number) for key, part in kind.items()}
    if isinstance(kind, List):
        return [_make_cell(kind.feature, f"{text} {letter}", number) for letter in "ab"]
    if isinstance(kind, ClassLabel):
        return number % len(kind.names)
    return {"string": text, "int32": number, "float32": number % 26 / 5, "bool": True}[kind.dtype]


def _special_cells(name: str, split: str, number: int) -> dict[str, Any]:
    family = name.partition(":")[0]
    triple = [f"place {split} {number} | country | France", "France | capital | Paris"]
    special: dict[str, dict[str, Any]] = {
        "glue:stsb": {"label": number % 5 + 0.55},
        "superglue:copa": {"question": ("cause", "effect")[number % 2]},
        "superglue:multirc": {"paragraph": f"<b>Sent 1: </b>One {split} {number // 4}.<br>Two."},
        "superglue:record": {"passage": f"News {split} {number}\n@highlight\nMore", "query": "@placeholder spoke"},
        "mrqa": {"subset": ("SQuAD", "NewsQA", "HotpotQA", "NaturalQuestionsShort", "SearchQA")[number % 5]},
        "winogrande": {"sentence": f"The bag of {split} {number} is for _.", "answer": "12"[number % 2]},
        "scitail": {"gold_label": ("entailment", "neutral")[number % 2]},
        "e2e-full": {"meaning_representation": f"name[The Mill {split} {number // 2}], food[Fish]"},
        "webnlg-full": {"modified_triple_sets": {"mtriple_set": [triple]}},
        "dart": {"tripleset": [[f"place {split} {number}", "country", "France"], ["France", "capital", "Paris"]]},
        "gsm8k": {"answer": f"{number} + 1000 = <<{number}+1000={number + 1000}>>{number + 1000}\n#### 1,{number:03}"},
    }  # fmt: skip
    return special.get(name) or special.get(family, {})


def write_set(folder: Path, name: str, config: str | None, rows: dict[str, list[dict[str, Any]]] | None = None) -> str:
    """Write a set as the Hub holds it, Parquet files and a card that names them; return its path."""
    config = config or "plain_text"
    rows = rows or {split: make_rows(name, split) for split in SPLITS.get(name, ("train", "validation", "test"))}
    (folder / config).mkdir(parents=True)
    card = ["---", "configs:", f"- config_name: {config}", "  data_files:"]
    for split, content in rows.items():
        card += [f"  - split: {split}", f"    path: {config}/{split}-*"]
        data = datasets.Dataset.from_list(content, features=Features(SCHEMAS[name]))
        data.to_parquet(folder / config / f"{split}-00000-of-00001.parquet")
    (folder / "README.md").write_text("\n".join([*card, "---", ""]))
    return str(folder)
