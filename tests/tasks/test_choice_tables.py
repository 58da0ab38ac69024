"""Multiple choice from users' own tables: how choices are given, and how the right one is named."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ptviz.runs import RunConfig
from ptviz.tasks import SplitName, TableOptions, Task, TaskError, load_table_task, load_task

SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")
COLUMNS = ("choice1", "choice2", "choice3")
OPTIONS = TableOptions(choices=COLUMNS)
COUNT = 30


def question(i: int, answer: Any, **changed: Any) -> dict[str, Any]:
    own = {name: f"{name[-1]} of {i}" for name in COLUMNS}
    return {"question": f"which, {i}?", **own, "answer": answer} | changed


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    lines = [",".join(f'"{value}"' for value in row.values()) for row in rows]
    path.write_text("\n".join([",".join(rows[0]), *lines]) + "\n")
    return path


def write_jsonl(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def write_parquet(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    pq.write_table(pa.Table.from_pylist(list(rows)), path)
    return path


def right_choices(task: Task) -> dict[str, str]:
    return {row.text: row.choices[row.label] for split in SPLITS for row in task.examples(split)}


EXPECTED = {f"which, {i}?": f"{i % 3 + 1} of {i}" for i in range(COUNT)}


@pytest.mark.parametrize(
    ("name", "note"),
    [
        (lambda i: f"{i % 3 + 1} of {i}", "the texts of the right choices"),
        (lambda i: COLUMNS[i % 3], "the columns of the right choices"),
        (lambda i: "aBc"[i % 3], "letters of the right choices, A for the first"),
        (lambda i: i % 3, "numbers of the right choices, 0 for the first"),
        (lambda i: i % 3 + 1, "numbers of the right choices, 1 for the first"),
    ],
)
@pytest.mark.parametrize("write", [write_csv, write_jsonl, write_parquet])
def test_the_right_choice_is_named_in_one_of_five_ways(
    name: Callable[[int], Any], note: str, write: Callable[..., Path], tmp_path: Path
) -> None:
    ending = write.__name__.removeprefix("write_")
    path = write(tmp_path / f"quiz.{ending}", [question(i, name(i)) for i in range(COUNT)])
    task = load_table_task(path, options=OPTIONS)
    assert (task.kind, task.classes, task.metric, task.fields) == ("choice", (), "accuracy", ("text",))
    assert right_choices(task) == EXPECTED
    assert {row.choices for row in task.train} <= {tuple(f"{n} of {i}" for n in (1, 2, 3)) for i in range(COUNT)}
    assert f"column answer is read as {note}" in task.notes
    assert all(task.examples(split) for split in SPLITS)
    assert load_task(str(path), text="question", label="answer", options=OPTIONS).fingerprint() == task.fingerprint()


@pytest.mark.parametrize("form", [lambda own: own, lambda own: {"text": own, "label": ["A", "B", "C"]}])
@pytest.mark.parametrize("write", [write_jsonl, write_parquet])
def test_one_column_may_hold_a_list(form: Callable[..., Any], write: Callable[..., Path], tmp_path: Path) -> None:
    rows = [
        {"question": f"which, {i}?", "options": form([f"{n} of {i}" for n in (1, 2, 3)]), "answerKey": "ABC"[i % 3]}
        for i in range(COUNT)
    ]
    path = write(tmp_path / f"quiz.{write.__name__.removeprefix('write_')}", rows)
    assert right_choices(load_table_task(path, options=TableOptions(choices=("options",)))) == EXPECTED


def test_a_row_may_have_fewer_choices(tmp_path: Path) -> None:
    rows = [question(i, COLUMNS[1 + i % 2], **({"choice1": ""} if i == 4 else {})) for i in range(COUNT)]
    task = load_table_task(write_csv(tmp_path / "quiz.csv", rows), options=OPTIONS)
    assert right_choices(task)["which, 4?"] == "2 of 4"
    assert {len(row.choices) for split in SPLITS for row in task.examples(split)} == {2, 3}


def test_one_question_with_other_choices_is_another_input(tmp_path: Path) -> None:
    rows = [question(i, COLUMNS[i % 3], question="Which is true?") for i in range(COUNT)]
    turned = question(3, "choice3", question="Which is  true?", choice1="3 of 3", choice3="1 of 3")
    path = write_csv(tmp_path / "quiz.csv", [*rows, turned])
    task = load_table_task(path, options=OPTIONS)
    assert sum(len(task.examples(split)) for split in SPLITS) == COUNT
    assert "1 repeated text left out" in task.notes
    assert min(len(task.examples(split)) for split in SPLITS) > 3
    datasets.Dataset.from_list([*rows, turned]).save_to_disk(tmp_path / "set")
    task = load_task(f"hub:{tmp_path / 'set'}", options=OPTIONS)
    assert sum(len(task.examples(split)) for split in SPLITS) == COUNT


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (question(7, "D"), r"row 9, column 'answer': expected the right choice: .* got 'D' for '1 of 7'"),
        (question(7, "A", choice1=""), r"row 9, column 'answer': expected the right choice: .* got 'A'"),
        (question(7, ""), r"row 9, column 'answer': expected a label; got ''"),
        (question(7, "A", choice1="", choice2=""), r"row 9, column 'choice1': expected 2 to 26 choices .* got 1"),
        (question(7, "A", choice2="1 of 7"), r"row 9, column 'choice1': expected different choices; '1 of 7'"),
    ],
)
def test_a_bad_row_is_named_or_skipped(row: Mapping[str, Any], message: str, tmp_path: Path) -> None:
    rows = [question(i, "ABC"[i % 3]) for i in range(COUNT)]
    rows[7] = dict(row)
    path = write_csv(tmp_path / "quiz.csv", rows)
    with pytest.raises(TaskError, match=message):
        load_table_task(path, options=OPTIONS)
    task = load_table_task(path, options=TableOptions(choices=COLUMNS, skip_bad_rows=True))
    assert right_choices(task) == {text: right for text, right in EXPECTED.items() if text != "which, 7?"}
    assert any("1 bad row skipped" in note or "1 row skipped" in note for note in task.notes)


def test_numbers_that_may_begin_at_0_or_at_1_are_refused(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "quiz.csv", [question(i, 1 + i % 2) for i in range(COUNT)])
    with pytest.raises(TaskError, match="may begin at 0 or at 1: no row has the first or the last choice"):
        load_table_task(path, options=OPTIONS)


def test_choices_that_are_numbers_are_meant_as_texts(tmp_path: Path) -> None:
    """The right choice of "1, 2 or 0" is the text "2", not the choice in the place 2."""
    rows = [question(i, i % 3, choice1=1, choice2=2, choice3=0) for i in range(COUNT)]
    task = load_table_task(write_csv(tmp_path / "quiz.csv", rows), options=OPTIONS)
    assert right_choices(task) == {f"which, {i}?": str(i % 3) for i in range(COUNT)}


def test_what_does_not_go_with_choices_is_refused(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "quiz.csv", [question(i, "ABC"[i % 3]) for i in range(COUNT)])
    for settings, message in (
        ({"target": "answer"}, "choices: a row has choices or a target text"),
        ({"words": (("A", "x"),)}, "words: choices have no classes"),
        ({"choices": ("choice1", "choice1")}, "choices: expected different columns"),
        ({"choices": tuple(f"c{i}" for i in range(27))}, "choices: expected at most 26 columns"),
    ):
        with pytest.raises(TaskError, match=message):
            TableOptions(**{"choices": COLUMNS, **settings})
    with pytest.raises(TaskError, match="expected a column 'choice9' for the choices"):
        load_table_task(path, options=TableOptions(choices=("choice1", "choice9")))
    with pytest.raises(TaskError, match="expected a list of choices; name several columns"):
        load_table_task(path, options=TableOptions(choices=("choice1",)))
    with pytest.raises(TaskError, match="expected different columns for texts, choices and answers"):
        load_table_task(path, text="choice1", options=OPTIONS)


def test_the_choices_of_a_run_are_kept_and_written_as_a_command() -> None:
    config = RunConfig("smollm2-135m", "quiz.csv", table=OPTIONS, text="question", label="answer")
    assert RunConfig.from_json(json.loads(json.dumps(config.to_json()))) == config
    assert "--text question --label answer --choices choice1,choice2,choice3" in config.shell_command()


def test_a_data_set_of_datasets(tmp_path: Path) -> None:
    names = datasets.ClassLabel(names=["choice1", "choice2"])
    parts = {}
    for split, first, count in (("train", 0, 40), ("validation", 40, 12), ("test", 52, 12)):
        rows = [
            {"premise": f"it rained, {i}", "choice1": f"wet {i}", "choice2": f"dry {i}", "label": i % 2}
            for i in range(first, first + count)
        ]
        parts[split] = datasets.Dataset.from_list(rows).cast_column("label", names)
    datasets.DatasetDict(parts).save_to_disk(str(tmp_path / "copa"))
    options = TableOptions(choices=("choice1", "choice2"))
    task = load_task(str(tmp_path / "copa"), text="premise", options=options)
    assert [len(task.examples(split)) for split in SPLITS] == [40, 12, 12]
    assert right_choices(task) == {f"it rained, {i}": f"{'dry' if i % 2 else 'wet'} {i}" for i in range(64)}
    assert task.kind == "choice"
