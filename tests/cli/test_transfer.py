"""``ptviz transfer`` as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ptviz.runs import Store


@pytest.fixture
def trained(shell, small, table: Path, tmp_path: Path) -> list[str]:
    """Two runs on two tables."""
    other = tmp_path / "other.csv"
    other.write_text(table.read_text().replace("book", "song"))
    ids = []
    for path in (table, other):
        words = [str(path) if word == str(table) else word for word in map(str, small)]
        answer = shell("train", "prompt-tuning", *words, "--json")
        assert answer.code == 0, answer.err
        ids.append(answer.json["run"] if "run" in answer.json else answer.json["id"])
    return ids


def test_it_fills_the_grid_once(shell, trained, table: Path):
    answer = shell("transfer", "--rows", 6, "--json")
    assert answer.code == 0, answer.err
    shown = answer.json
    assert (shown["rows"], shown["measured"], shown["reused"], len(shown["cells"])) == (6, 6, 0, 6)
    assert {cell["run"] for cell in shown["cells"]} == {*trained, "bare:tiny-encoder"}
    assert all(0 <= cell["accuracy"] <= 1 for cell in shown["cells"])
    again = shell("transfer", "--rows", 6, "--json").json
    assert (again["measured"], again["reused"]) == (0, 6)
    assert again["cells"] == shown["cells"]
    part = shell("transfer", "--rows", 6, "--runs", trained[0], "--tasks", table, "--json").json
    assert (part["measured"], len(part["cells"])) == (0, 2)
    path = Store().root / ".transfer.json"
    content = json.loads(path.read_text())
    content["cells"][0]["accuracy"] = "\x1b[31m"
    path.write_text(json.dumps(content))
    repaired = shell("transfer", "--rows", 6, "--json")
    assert "1 entry is damaged and left out, to be measured again (cells[0]: accuracy:" in repaired.err
    assert (repaired.json["measured"], repaired.json["cells"]) == (1, shown["cells"])
    people = shell("transfer", "--rows", 6)
    lines = people.out.splitlines()
    assert lines[0].split("\t")[0] == "prompt"
    assert str(table) in lines[0]
    assert len(lines) == 4


def test_bad_input(shell, trained):
    for option, value, said in (
        ("--runs", "nothing", "there is no run"),
        ("--tasks", "trec", "did you mean"),
        ("--tasks", ",", "--tasks"),
        ("--backbone", "minilm-l6", "no finished run"),
        ("--rows", "0", "rows"),
    ):
        answer = shell("transfer", option, value)
        assert answer.code == 2, answer.err
        assert said in answer.err


def test_an_empty_store(shell):
    answer = shell("transfer")
    assert answer.code == 2
    assert "no finished run" in answer.err


def test_gain_trains_what_lacks_once(shell, trained, table: Path):
    words = ("transfer", "--gain", "--steps", 2, "--rows", 6)
    shown = shell(*words, "--json").json
    assert (shown["steps"], shown["seeds"], shown["rows"], shown["made"], shown["reused"]) == (2, 1, 6, 4, 0)
    starts = {(trial["start"], trial["task"] == str(table)) for trial in shown["trials"]}
    assert {start for start, _ in starts} >= set(trained)
    assert all(trial["evaluated"][0] == 0 and trial["evaluated"][-1] == 2 for trial in shown["trials"])
    again = shell(*words, "--json").json
    assert (again["made"], again["reused"], again["trials"]) == (0, 4, shown["trials"])
    people = shell(*words)
    assert people.code == 0, people.err
    lines = people.out.splitlines()
    assert lines[0].split("\t")[0] == "start"
    assert len(lines) == 3
    assert shell("transfer", "--gain", "--steps", 0).code == 2
