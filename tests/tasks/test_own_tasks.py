"""Tasks that users make of their tables: several fields, a template, words in order, a metric, target texts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ptviz.runs import RunConfig
from ptviz.tasks import SplitName, TableOptions, Task, TaskError, load_table_task, load_task

SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")
LABELS = ("entailment", "neutral", "contradiction")


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """A table of sentence pairs in three classes."""
    path = tmp_path / "pairs.csv"
    rows = [f"one {i},two {i},{LABELS[i % 3]}\n" for i in range(60)]
    path.write_text("premise,The hypothesis,label\n" + "".join(rows))
    return path


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    """A table of questions, each of them twice, with different answers."""
    path = tmp_path / "questions.csv"
    rows = [f"what is {i // 2}?,the number {i // 2}{' or so' * (i % 2)}\n" for i in range(80)]
    path.write_text("question,answer\n" + "".join(rows))
    return path


def write_json(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def rows_of(task: Task) -> dict[str, tuple[str, ...]]:
    return {row.text: row.targets for split in SPLITS for row in task.examples(split)}


def test_one_column_of_texts_makes_the_task_that_it_made(tmp_path: Path) -> None:
    path = tmp_path / "old.csv"
    path.write_text("text,label\n" + "".join(f"  text number {i} ,{'abc'[i % 3]}\n" for i in range(60)))
    task = load_table_task(path)
    assert task.fingerprint() == "11ba62b2d2972f97f62e068772d94c6aedae1b6530b78b3001c908fe71e250dd"
    assert (
        load_table_task(path, limit=40).fingerprint()
        == "9c876408adb095a60166e5149a35127937def936de397e4afe49a9c03f9ba4ae"
    )
    assert (task.fields, task.template, task.metric, task.train[0].texts) == (("text",), "", "accuracy", ())


def test_several_columns_are_fields(pairs: Path) -> None:
    task = load_task(str(pairs), text="premise, The hypothesis")
    assert task.fields == ("premise", "The_hypothesis")
    assert task.classes == ("contradiction", "entailment", "neutral")
    row = next(row for row in task.train if row.text.startswith("one 7 "))
    assert row == ("one 7 | two 7", 2, ("one 7", "two 7"), (), ())
    assert task.make_template("pooled").pattern == "{cls}{prompt}{premise}{sep}{The_hypothesis}{sep}"


def test_a_column_may_have_a_comma_in_its_name(tmp_path: Path) -> None:
    rows = [{"a,b": f"text {i}", "a": "x", "b": "y", "label": i % 2} for i in range(20)]
    assert load_table_task(write_json(tmp_path / "t.jsonl", rows), "a,b").fields == ("text",)


def test_fields_have_names_that_a_template_can_use(tmp_path: Path) -> None:
    rows = [{"cue": f"a {i}", "2nd text": f"b {i}", "label": i % 2} for i in range(20)]
    task = load_table_task(write_json(tmp_path / "t.jsonl", rows), "cue,2nd text")
    assert task.fields == ("field_cue", "field_2nd_text")


def test_template_words_and_metric(pairs: Path) -> None:
    template = "{prompt:2}{premise} ? {mask}, {prompt}{The_hypothesis}"
    options = TableOptions(template=template, word_list=("no", "yes", "maybe"), metric="macro-f1", cut_first="premise")
    task = load_task(str(pairs), text="premise,The hypothesis", options=options)
    assert task.label_words == ("no", "yes", "maybe")
    assert task.metric == "macro-f1"
    assert task.make_template("mask").pattern == "{cls}" + template + "{sep}"
    assert task.make_template("mask").cut_first == "premise"
    assert RunConfig.from_json(json.loads(json.dumps(RunConfig(table=options).to_json()))).table == options


def test_repeated_inputs_share_their_targets(questions: Path) -> None:
    task = load_task(str(questions), text="question", options=TableOptions(target="answer", metric="token-f1"))
    assert (task.kind, task.classes, task.metric) == ("text", (), "token-f1")
    assert rows_of(task) == {f"what is {i}?": (f"the number {i}", f"the number {i} or so") for i in range(40)}
    assert [len(task.examples(split)) for split in SPLITS] == [28, 6, 6]
    assert task.notes == ("40 rows with the input of another: their targets are its references",)


def test_lists_of_targets(tmp_path: Path) -> None:
    rows = [{"text": f"say {i}", "answers": [f"{i}", f" {i} ", f"{i}!"]} for i in range(30)]
    tables = [write_json(tmp_path / "t.jsonl", rows), tmp_path / "t.parquet"]
    pq.write_table(pa.Table.from_pylist(rows), tables[1])
    for table in tables:
        task = load_table_task(table, options=TableOptions(target="answers"))
        assert rows_of(task) == {f"say {i}": (f"{i}", f"{i}!") for i in range(30)}
        assert task.metric == "exact-match"


def test_numbers_are_written_as_text(tmp_path: Path) -> None:
    rows = [{"text": f"say {i}", "score": i / 2} for i in range(30)]
    options = TableOptions(target="score", metric="pearson")
    task = load_table_task(write_json(tmp_path / "t.jsonl", rows), options=options)
    assert rows_of(task)["say 3"] == ("1.5",)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("", r"row 8, column 'answer': expected a text; got an empty one"),
        ([], r"row 8, column 'answer': expected a target text; got an empty list"),
        (["a", None], r"row 8, column 'answer': expected a text; got an empty one"),
        ({"a": 1}, r"row 8, column 'answer': expected a text; got \{'a': 1\}, a JSON object"),
    ],
)
def test_bad_targets_are_named(tmp_path: Path, target: Any, message: str) -> None:
    rows = [{"text": f"say {i}", "answer": target if i == 7 else f"{i}"} for i in range(20)]
    with pytest.raises(TaskError, match=message):
        load_table_task(write_json(tmp_path / "t.jsonl", rows), options=TableOptions(target="answer"))
    skipped = TableOptions(target="answer", skip_bad_rows=True)
    assert len(rows_of(load_table_task(tmp_path / "t.jsonl", options=skipped))) == 19


def test_what_does_not_fit_is_refused(pairs: Path, questions: Path) -> None:
    for options, message in (
        ({"target": "answer", "word_list": ("yes", "no")}, "words: a column of targets has no classes"),
        ({"word_list": ("a=b", "c")}, "words: expected only pairs, or only words without ="),
        ({"template": "x" * 2001}, "template: expected at most 2,000 characters"),
    ):
        with pytest.raises(TaskError, match=message):
            TableOptions(**options)  # type: ignore[arg-type]
    with pytest.raises(TaskError, match="text: expected at most 4 columns; got 5"):
        load_table_task(pairs, "a,b,c,d,e")
    with pytest.raises(TaskError, match="metric of a text task: expected one of"):
        load_table_task(questions, "question", options=TableOptions(target="answer", metric="accuracy"))
    with pytest.raises(TaskError, match="words: expected 3 words, one each for contradiction, entailment, neutral"):
        load_table_task(pairs, "premise", options=TableOptions(word_list=("yes", "no")))
    with pytest.raises(TaskError, match=r"expected at least 3 different inputs, one a split; got 1"):
        load_table_task(write_json(pairs.parent / "one.jsonl", [{"text": "a", "answer": "b"}] * 5),
                        options=TableOptions(target="answer"))  # fmt: skip


def test_a_large_table_of_targets_is_sampled(questions: Path) -> None:
    task = load_table_task(questions, "question", options=TableOptions(target="answer"), limit=10)
    assert sum(map(len, rows_of(task).values())) == 10


def test_data_sets_have_fields_and_targets_too(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    rows = {"a": [f"a {i // 2}" for i in range(40)], "b": ["same"] * 40, "c": [[f"x {i}"] for i in range(40)]}
    test = {"a": ["a 3", "new"], "b": ["same"] * 2, "c": [["y"], ["z"]]}
    data = datasets.DatasetDict(train=datasets.Dataset.from_dict(rows), test=datasets.Dataset.from_dict(test))
    data.save_to_disk(tmp_path / "set")
    task = load_task(str(tmp_path / "set"), text="a,b", options=TableOptions(target="c", metric="bleu"))
    assert (task.fields, task.kind, task.metric) == (("a", "b"), "text", "bleu")
    assert rows_of(task)["a 4 | same"] == ("x 8", "x 9")
    assert len(task.test) == 2
    assert {"a 3 | same"}.isdisjoint(row.text for row in (*task.train, *task.validation))


def test_the_command_repeats_the_task() -> None:
    table = TableOptions(target="answer", template="{prompt}{a}, {b}", metric="rouge-l", cut_first="a")
    command = RunConfig(task="t.csv", text="a,b", table=table).shell_command()
    assert "--text a,b --target answer --template '{prompt}{a}, {b}' --cut-first a --metric rouge-l" in command
    assert "--words yes,no" in RunConfig(task="t.csv", table=TableOptions(word_list=("yes", "no"))).shell_command()
