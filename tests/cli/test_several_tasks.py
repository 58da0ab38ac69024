"""The commands on a run that trains several target tasks at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ptviz.runs import Store
from ptviz.runs.target_run import TargetRun
from tests.text_tasks import offer_tasks

Shell = Callable[..., Any]


@pytest.fixture
def small(table: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """The options of a run on a table and two tasks of another package, with a table as its source."""
    offer_tasks(monkeypatch)
    source = tmp_path / "source.csv"
    source.write_text("text,label\n" + "".join(f"a book of {i},paper\na town of {i},stone\n" for i in range(20)))
    options = ["--backbone", "tiny-decoder", "--steps", "4", "--source-steps", "2", "--batch", "6", "--set", "m=3"]
    few = ["--train-rows", "20", "--validation-rows", "8", "--test-rows", "8", "--lr", "0.1"]
    return ["--task", f"{table},seer,who", "--sources", str(source), *options, *few]


@pytest.mark.parametrize("method", ["attempt", "mpt"])
def test_one_run_trains_several_tasks(shell: Shell, small: list[str], tmp_path: Path, method: str) -> None:
    answer = shell("train", method, *small, "--json")
    assert answer.code == 0, answer.err
    found = answer.json
    run, names = found["run"], ("questions", "seer", "who")
    assert found["metric"] == "mean-score"
    assert [one["run"] for one in found["tasks"]] == [f"{run}@{name}" for name in names]
    assert [one["metric"] for one in found["tasks"]] == ["accuracy", "exact-match", "accuracy"]
    assert found["test"] == pytest.approx(sum(one["test"] for one in found["tasks"]) / 3)
    shown = shell("show", run).out
    assert all(f"{run}@{name}" in shown for name in names)
    assert "mean score" in shell("runs").out
    assert run in shell("runs", "--task", "seer").out

    assert shell("predict", f"{run}@questions", "where is it", "--json").json["classes"] == ["person", "place"]
    assert len(shell("generate", f"{run}@seer", "the cat sees the dog", "--json").json["with"]) == 1
    refused = shell("predict", run, "where is it")
    assert (refused.code, refused.out) == (2, "")
    assert f"name one of them, as in {run}@questions" in refused.err
    assert "has no target task 'nobody'" in shell("predict", f"{run}@nobody", "where").err
    for name in names:
        answer = shell("export", f"{run}@{name}", "--to", "safetensors", tmp_path / f"{name}.safetensors", "--json")
        assert answer.code == 0, answer.err
        assert answer.json["parts"]["P"] == [3, 32]
    assert shell("inspect", tmp_path / "seer.safetensors").code == 0
    assert shell("inspect", Store().get(run).path).code == 0

    assert shell("export", run, "--to", "bundle", tmp_path / "bundle.zip").code == 0
    again = shell("import", tmp_path / "bundle.zip", "--json")
    assert again.code == 0, again.err
    assert len(Store().get(again.json["run"]).config.targets) == 3
    more = shell("train", "--resume", run, "--extend", "2", "--json")
    assert more.code == 0, more.err


def test_predictions_are_those_of_each_task(shell: Shell, small: list[str]) -> None:
    run = Store().get(shell("train", "mpt", *small, "--json").json["run"])
    columns = [list(target.predictions().columns) for target in map(lambda i: TargetRun(run, i), range(3))]
    assert columns == [
        ["text", "label", "predicted", "p(person)", "p(place)", "zero_shot", "zero_shot_confidence"],
        ["text", "references", "predicted", "score", "zero_shot", "zero_shot_score"],
        ["text", "label", "predicted", "p(1)", "p(2)", "zero_shot", "zero_shot_confidence"],
    ]
    first = TargetRun(run, 0)
    table = first.predictions()
    assert table is not None
    assert first.status().test == pytest.approx((table["label"] == table["predicted"]).mean())
    assert first.history().finished.test == first.status().test


def test_what_cannot_be_is_refused_before_anything_is_written(shell: Shell, small: list[str], table: Path) -> None:
    for words, message in (
        (["dept", *small[:2], "--backbone", "tiny-decoder"], "dept trains one target task at a time; got 3"),
        (["mpt", "--task", "seer,seer"], "expected target tasks of different names"),
        (
            ["mpt", "--task", f"{table},seer", "--text", "text"],
            "are read with their usual columns",
        ),
        (["mpt", "--task", "seer,who", "--sources", "who"], "the target who cannot be a source of its own"),
        (["mpt", "--task", ","], "expected a task; got ','"),
    ):
        answer = shell("train", *words)
        assert (answer.code, answer.out) == (2, ""), answer
        assert message in answer.err
    assert Store().list() == []


def test_a_table_of_rows_of_several_tasks_is_answered_in_order(shell: Shell, small: list[str], tmp_path: Path) -> None:
    run = shell("train", "mpt", *[word.replace(",who", "") for word in small], "--json").json["run"]
    rows = tmp_path / "rows.csv"
    rows.write_text('task,text\nseer,the cat sees the dog\nquestions,"where, is it"\nseer,the dog sees the cat\n')
    found = shell("predict", run, "--file", rows, "--json").json["rows"]
    assert [(row["task"], row["text"]) for row in found] == [
        ("seer", "the cat sees the dog"),
        ("questions", "where, is it"),
        ("seer", "the dog sees the cat"),
    ]
    alone = shell("predict", f"{run}@questions", "where, is it", "--json").json
    assert found[1]["with"] == pytest.approx(alone["with"][0], abs=1e-5)
    alone = shell("predict", f"{run}@seer", "the cat sees the dog", "the dog sees the cat", "--json").json
    assert [found[0]["with"], found[2]["with"]] == alone["with"]
    assert "questions: where, is it" in shell("predict", run, "--file", rows).out
    for content, message in (
        ("text\nwhere\n", "expected a column 'task' for the task"),
        ("task,text\nseer,\n", "row 2: expected a text and a task; got an empty cell"),
        ("task,text\nnobody,where\n", "has no target task 'nobody'"),
        ("task,text\n", "expected at least one row"),
    ):
        rows.write_text(content)
        answer = shell("predict", run, "--file", rows)
        assert (answer.code, answer.out) == (2, "")
        assert message in answer.err


def test_a_table_of_rows_of_several_tasks_is_written_in_order(shell: Shell, small: list[str], tmp_path: Path) -> None:
    run = shell("train", "mpt", *small, "--json").json["run"]
    rows = tmp_path / "rows.csv"
    rows.write_text("task,text\nseer,the cat sees the dog\nquestions,where is it\nseer,the man sees me\n")
    answer = shell("generate", run, "--file", rows, "--max-new-tokens", 3, "--json")
    assert answer.code == 0, answer.err
    found = answer.json
    assert found["tasks"] == ["seer", "questions", "seer"]
    assert found["texts"] == ["the cat sees the dog", "where is it", "the man sees me"]
    alone = shell("generate", f"{run}@seer", "the cat sees the dog", "the man sees me", "--max-new-tokens", 3, "--json")
    assert [found["with"][0], found["with"][2]] == alone.json["with"]
    rows.write_text("text\nwhere is it\n")
    assert "task" in shell("generate", run, "--file", rows).err
