"""The papers' sets by name, on small copies in each set's schema that the real ``datasets`` reads."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest

from ptviz.methods import REGISTRY
from ptviz.tasks import (
    Example,
    SplitName,
    Task,
    TaskError,
    list_benchmark_tasks,
    list_tasks,
    load_benchmark_task,
    load_task,
)
from ptviz.tasks.benchmark_sets.listing import is_cached
from ptviz.tasks.benchmark_sets.sets import BENCHMARK_SETS
from ptviz.tasks.custom import from_hub
from ptviz.tasks.metrics import check_metric
from ptviz.tasks.template import ReadoutMode

datasets = pytest.importorskip("datasets", reason="an ordinary dependency; install ptviz to run these")

from tests.tasks.benchmark_set_fixtures import SCHEMAS, make_rows, write_set  # noqa: E402

SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")


@pytest.fixture(autouse=True)
def quiet(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("datasets"))
    datasets.disable_progress_bars()


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that writes a set, some of its splits changed, points its name there and loads it."""

    def load(name: str, **changed: list[dict[str, Any]]) -> Task:
        entry = BENCHMARK_SETS[name]
        rows = {split: make_rows(name, split) for split in ("train", "validation", "test")} | changed
        folder = write_set(tmp_path / "set", name, entry.config, rows if changed else None)
        monkeypatch.setitem(BENCHMARK_SETS, name, replace(entry, hub_id=folder))
        return load_task(name)

    return load


def find_row(task: Task, part: str) -> Example:
    """Return the row whose input has this part, in whichever split it is."""
    return next(row for split in SPLITS for row in task.examples(split) if part in row.text)


def test_every_set_of_the_survey_has_a_fixture() -> None:
    assert list(SCHEMAS) == list(BENCHMARK_SETS)
    assert len(BENCHMARK_SETS) == 31
    used = {paper for entry in BENCHMARK_SETS.values() for paper in entry.papers}
    assert used <= set(REGISTRY)


@pytest.mark.parametrize("name", BENCHMARK_SETS)
def test_a_named_set_becomes_a_task(stored: Any, name: str) -> None:
    entry, task = BENCHMARK_SETS[name], stored(name)
    assert task.name == name
    assert task.fields == tuple(entry.fields)
    assert task.kind == entry.kind == ("choice" if entry.choices else "text" if entry.target else "classification")
    assert len(task.classes) == len(entry.labels)
    assert task.metric == entry.metric
    check_metric(task.metric, "text" if task.kind == "text" else "classification", len(task.classes) or None)
    inputs = [{row.text for row in task.examples(split)} for split in SPLITS]
    assert all(inputs)
    assert sum(map(len, inputs)) == len(set.union(*inputs))
    for reading in get_args(ReadoutMode):
        assert all(f"{{{name}}}" in task.make_template(reading).pattern for name in entry.fields)


def test_labels_keep_their_classes(stored: Any) -> None:
    task = stored("glue:mnli")
    assert task.classes == ("entailment", "neutral", "contradiction")
    assert task.label_words == ("yes", "maybe", "no")
    assert [len(task.examples(split)) for split in SPLITS] == [40, 24, 24]
    assert {row.texts[0].rsplit(" ", 1)[0] for row in task.test} == {"premise validation_matched"}
    assert all(row.label == int(row.texts[0].rsplit(" ", 1)[1]) % 3 for row in task.train)


def test_a_set_without_test_labels_is_halved_or_cut(stored: Any) -> None:
    small = stored("superglue:cb")
    assert [len(small.examples(split)) for split in SPLITS] == [40, 12, 12]
    assert small.notes == (
        "the labels of the test split are withheld: one half of validation validates, the other one tests",
    )
    assert {row.label for row in small.test} == {0, 1, 2}


def test_a_large_set_gives_training_rows_for_validation(stored: Any) -> None:
    task = stored("glue:qnli")
    assert [len(task.examples(split)) for split in SPLITS] == [34, 6, 24]
    assert task.notes == ("6 training rows validate, validation tests",)
    assert {row.texts[0].split()[1] for row in task.validation} == {"train"}


def test_cells_become_texts(stored: Any) -> None:
    task = stored("superglue:multirc")
    assert "Sent 1: One train 0. Two." in {row.texts[0] for row in task.train}


def test_questions_on_one_passage_stay_in_one_split(stored: Any) -> None:
    task = stored("superglue:multirc")
    passages = [{row.texts[0] for row in task.examples(split)} for split in SPLITS]
    assert all(passages)
    assert sum(map(len, passages)) == len(set.union(*passages))
    assert len(task.test) > len(passages[2])


def test_highlights_and_names_of_record(stored: Any) -> None:
    row = find_row(stored("superglue:record"), " train 3.")
    assert row.texts == ("News train 3. More", "entities train 3 a, entities train 3 b", "@placeholder spoke")
    assert row.targets == ("answers train 3 a", "answers train 3 b")


def test_similarities_are_rounded_to_fifths(stored: Any) -> None:
    task = stored("glue:stsb")
    assert {row.targets for row in task.train} == {("0.6",), ("1.6",), ("2.6",), ("3.6",), ("4.6",)}


def test_choices_and_their_number(stored: Any) -> None:
    row = find_row(stored("superglue:copa"), "train 3 ")
    assert row.texts == ("premise train 3", "effect")
    assert (row.choices, row.label) == (("choice1 train 3", "choice2 train 3"), 1)


def test_choices_by_a_number_that_is_text(stored: Any) -> None:
    row = find_row(stored("winogrande"), "train 3 ")
    assert (row.choices, row.label) == (("option1 train 3", "option2 train 3"), 1)


def test_triples_are_written_out(stored: Any) -> None:
    row = find_row(stored("dart"), "train 3 ")
    assert row.text == "place train 3 : country : France | France : capital : Paris"
    assert row.targets == ("text of annotations train 3 a", "text of annotations train 3 b")


def test_an_input_without_targets_takes_those_of_its_other_rows(stored: Any) -> None:
    task = stored("webnlg-full")
    assert len(task.test) == 16
    assert task.test[3].text == "place test 3 : country : France | France : capital : Paris"
    assert task.test[3].targets == ("text of lex test 3 a", "text of lex test 3 b")


def test_repeated_inputs_share_their_references(stored: Any) -> None:
    row = find_row(stored("e2e-full"), "train 3]")
    assert row.targets == ("human_reference train 6", "human_reference train 7")


def test_the_final_number_is_the_target(stored: Any) -> None:
    task = stored("gsm8k")
    assert {row.targets for row in task.test} == {(f"1{number:03}",) for number in range(16)}


def test_one_subset_of_mrqa(stored: Any) -> None:
    task = stored("mrqa:nq")
    assert {int(row.texts[0].split()[-1]) % 5 for row in (*task.train, *task.validation)} == {3}
    assert [len(task.examples(split)) for split in SPLITS] == [7, 1, 5]


def test_rows_with_an_empty_text_are_counted(stored: Any) -> None:
    rows = make_rows("glue:cola", "train")
    rows[3]["sentence"] = rows[4]["sentence"] = " "
    task = stored("glue:cola", train=rows)
    assert len(task.train) == 38
    assert task.notes[-1] == "train: 2 rows with an empty text left out"


def test_large_splits_are_sampled(stored: Any) -> None:
    stored("glue:cola")
    task = load_benchmark_task("glue:cola", limit=10)
    assert len(task.train) == 10
    assert "train: 40 rows, of which 10 were sampled" in task.notes


@pytest.mark.parametrize(
    ("name", "cells", "message"),
    [
        ("glue:cola", {"label": -1}, r"glue:cola \(train\), row 8, column 'label': expected one of unacceptable, "
         r"acceptable; got -1 \(a label that is withheld\)"),
        ("glue:stsb", {"label": -1.0}, r"row 8, column 'label': expected a number from 0 to 5; got -1"),
        ("winogrande", {"answer": "3"}, r"winogrande \(train\), row 8, column 'answer': expected one of 1, 2; got '3'"),
        ("winogrande", {"answer": ""}, r"row 8, column 'answer': .* got '' \(a label that is withheld\)"),
        ("scitail", {"gold_label": "contradiction"}, r"row 8, column 'gold_label': expected one of entail"),
        ("gsm8k", {"answer": "four"}, r"row 8, column 'answer': expected a text that ends with #### and the answer"),
    ],
)  # fmt: skip
def test_bad_values_are_named(stored: Any, name: str, cells: dict[str, Any], message: str) -> None:
    rows = make_rows(name, "train")
    rows[7] |= cells
    with pytest.raises(TaskError, match=message):
        stored(name, train=rows)


def saved(monkeypatch: pytest.MonkeyPatch, folder: Path, name: str, **splits: dict[str, list[Any]]) -> None:
    """Save splits with other columns than those of the card, and point the set's name there."""
    data = {split: datasets.Dataset.from_dict(content) for split, content in splits.items()}
    datasets.DatasetDict(data).save_to_disk(folder)
    monkeypatch.setitem(BENCHMARK_SETS, name, replace(BENCHMARK_SETS[name], hub_id=str(folder)))


def test_bad_schemas_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {"premise": ["a"], "hypothesis": ["b"], "label": [0]}
    saved(monkeypatch, tmp_path / "0", "superglue:cb", train={"premise": ["a"], "label": [0]}, validation=rows)
    with pytest.raises(TaskError, match=r"superglue:cb \(train\), column 'hypothesis': .* columns are premise, label"):
        load_task("superglue:cb")
    saved(monkeypatch, tmp_path / "1", "superglue:cb", train=rows)
    with pytest.raises(TaskError, match="superglue:cb: expected a split called validation; got train"):
        load_task("superglue:cb")
    saved(monkeypatch, tmp_path / "2", "superglue:cb", train={**rows, "label": [3]}, validation=rows)
    with pytest.raises(TaskError, match=r"row 1, column 'label': expected one of entailment, .*; got 3$"):
        load_task("superglue:cb")
    saved(monkeypatch, tmp_path / "3", "superglue:cb", train={**rows, "hypothesis": [3]}, validation=rows)
    with pytest.raises(TaskError, match=r"row 1, column 'hypothesis': expected a text; got '3', a int"):
        load_task("superglue:cb")
    saved(monkeypatch, tmp_path / "4", "squad", train={"question": ["a"], "context": ["b"], "answers": ["c"]},
          validation={"question": ["a"], "context": ["b"], "answers": ["c"]})  # fmt: skip
    with pytest.raises(TaskError, match=r"squad \(train\), row 1, column 'answers.text': expected another kind"):
        load_task("squad")


def test_other_label_names_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    label = datasets.ClassLabel(names=["good", "bad"])
    features = datasets.Features({"sentence": datasets.Value("string"), "label": label})
    data = datasets.Dataset.from_dict({"sentence": ["a", "b"], "label": [0, 1]}, features=features)
    datasets.DatasetDict(train=data, validation=data).save_to_disk(tmp_path / "set")
    monkeypatch.setitem(BENCHMARK_SETS, "glue:sst2", replace(BENCHMARK_SETS["glue:sst2"], hub_id=str(tmp_path / "set")))
    with pytest.raises(TaskError, match="column 'label': expected the labels negative, positive; got good, bad"):
        load_task("glue:sst2")


def test_a_set_made_by_a_script_comes_from_its_parquet_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for split in ("train", "validation"):  # as the Hub lays out its copies
        data = datasets.Dataset.from_list(make_rows("superglue:cb", split), datasets.Features(SCHEMAS["superglue:cb"]))
        (tmp_path / "set" / "cb" / split).mkdir(parents=True)
        data.to_parquet(tmp_path / "set" / "cb" / split / "0000.parquet")
    real, asked = datasets.load_dataset, []

    def load(identifier: str, config: str | None = None, **options: Any) -> Any:
        asked.append((identifier, config, options))
        if "revision" not in options:
            raise RuntimeError("Dataset scripts are no longer supported, but found super_glue.py")
        return real(str(tmp_path / "set"), config, **options)

    monkeypatch.setattr(datasets, "load_dataset", load)
    task = load_task("superglue:cb")
    assert [len(task.examples(split)) for split in SPLITS] == [40, 12, 12]
    assert asked == [
        ("aps/super_glue", "cb", {}),
        ("aps/super_glue", None, {"data_dir": "cb", "revision": from_hub.PARQUET_COPY}),
    ]


def test_lists_say_what_is_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path))
    assert not any(info.available for info in list_benchmark_tasks())
    for folder in ("nyu-mll___glue/mnli", "aps___super_glue/default-data_dir=cb", "rajpurkar___squad/plain_text"):
        (tmp_path / folder / "0.0.0").mkdir(parents=True)
    assert [info.name for info in list_benchmark_tasks() if info.available] == ["glue:mnli", "superglue:cb", "squad"]
    monkeypatch.delenv("HF_DATASETS_CACHE")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    os.renames(tmp_path / "nyu-mll___glue", tmp_path / "home" / "datasets" / "nyu-mll___glue")
    assert is_cached(BENCHMARK_SETS["glue:mnli"])
    assert not is_cached(BENCHMARK_SETS["squad"])


def test_columns_of_a_named_set_are_fixed() -> None:
    with pytest.raises(TaskError, match="task 'glue:mnli': its columns and words are fixed"):
        load_task("glue:mnli", text="premise")
    with pytest.raises(TaskError, match="did you mean 'glue:mnli'"):
        load_task("glue-mnli")


def test_no_built_in_task_hides_a_named_set() -> None:
    assert not {task.name for task in list_tasks()} & set(BENCHMARK_SETS)
