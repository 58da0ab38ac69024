"""``ptviz errors``, ``note``, ``runs --where`` and exports to trackers."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ptviz.runs import Run, Store
from ptviz.runs.tracker_export import EVENT_FILE
from tests.damaged_files import make_run

Shell = Callable[..., Any]
PREDICTIONS = {
    "text": ["a b", "c", "d"], "label": ["x_1", "y", "y"], "predicted": ["x_1", "y", "x_1"],
    "p(x_1)": [0.9, 0.4, 0.7], "p(y)": [0.1, 0.6, 0.3],
    "zero_shot": ["y", "y", "y"], "zero_shot_confidence": [0.5, 0.9, 0.8],
}  # fmt: skip


@pytest.fixture
def run(home: Path) -> Run:
    made = make_run(Store())
    pd.DataFrame(PREDICTIONS).to_parquet(made.path / "predictions.parquet")
    return made


def test_errors_are_printed_with_what_the_prompt_changed(run: Run, shell: Shell) -> None:
    data = json.loads(shell("errors", run.id, "--json").out)
    assert (data["right"], data["zero_shot_right"], data["examples"]) == (2, 2, 3)
    assert data["changes"] == {"both_right": 1, "fixed": 1, "broken": 1, "both_wrong": 0, "p": 1.0}
    assert data["confusion"] == [[1, 0], [1, 1]]
    assert [row["text"] for row in data["fixed"]] == ["a b"]
    assert [row["text"] for row in data["broken"]] == ["d"]
    assert set(data["calibration"]) == {"with the prompt", "without a prompt"}
    plain = shell("errors", run.id).out
    assert "fixed       1 wrong without the prompt, right with it" in plain
    assert "x_1\t1\t50.0%\t100.0%\t66.7%\t0.0%" in plain
    assert "| x\\_1 | 1 | 50.0% |" in shell("errors", run.id, "--markdown").out
    assert "x\\_1 & 1 & 50.0\\% &" in shell("errors", run.id, "--latex").out
    frame = pd.DataFrame(PREDICTIONS).drop(columns=["zero_shot", "zero_shot_confidence"])
    frame.to_parquet(run.path / "predictions.parquet")
    assert "not recorded for this run; --zero-shot adds it" in shell("errors", run.id).out
    (run.path / "predictions.parquet").unlink()
    answer = shell("errors", run.id)
    assert (answer.code, "has no predictions" in answer.err) == (2, True)


def test_errors_of_texts_are_told_by_their_scores(run: Run, shell: Shell) -> None:
    table = {
        "text": ["one", "two"], "references": [["a b"], ["c d"]], "predicted": ["a b", "c"], "score": [1.0, 0.5],
        "zero_shot": ["a", "c"], "zero_shot_score": [0.5, 0.5],
    }  # fmt: skip
    pd.DataFrame(table).to_parquet(run.path / "predictions.parquet")
    plain = shell("errors", run.id).out
    assert "right       1 of 2 test outputs equal a reference (50.0%)" in plain
    assert "higher      1 score higher than without the prompt" in plain
    assert "lower       0 score lower than without the prompt" in plain
    assert "higher score than zero-shot, the highest first:" in plain
    assert "McNemar" not in plain
    assert "not recorded" not in plain


def test_tags_notes_and_pins_are_changed_and_filtered(run: Run, shell: Shell) -> None:
    shell("note", run.id, "--untag", "a", "--untag", "b c")
    data = json.loads(shell("note", run.id, "--tag", "paper", "--notes", "page 3", "--no-pin", "--json").out)
    assert data == {"run": run.id, "tags": ["paper"], "notes": "page 3", "pinned": False, "owner": "", "shared": False}
    assert "tags        paper" in shell("show", run.id).out
    other = make_run(Store(), hyperparameters={"m": 9})
    for where, expected in (("tag=paper", [run.id]), ("m>5", [other.id]), ("m=1", [])):
        assert [row["run"] for row in json.loads(shell("runs", "--where", where, "--json").out)] == expected
    bad = shell("runs", "--where", "colour=red")
    assert (bad.code, "no run has a setting 'colour'" in bad.err) == (2, True)
    bad = shell("note", run.id, "--tag", "x" * 41)
    assert (bad.code, "expected at most 40 characters" in bad.err) == (2, True)


@pytest.mark.skipif(
    find_spec("tensorboard") is None, reason="tensorboard is missing; un-skip with: pip install 'ptviz[tensorboard]'"
)
def test_an_event_file_is_exported_and_replaced(run: Run, shell: Shell, tmp_path: Path) -> None:
    for _ in range(2):
        answer = json.loads(shell("export", run.id, "--to", "tensorboard", str(tmp_path / "events"), "--json").out)
        assert answer["scalars"] > 20
        assert [file.name for file in (tmp_path / "events").iterdir()] == [EVENT_FILE]
    bad = shell("export", run.id, "--project", "mine")
    assert (bad.code, "--project is for --to trackio" in bad.err) == (2, True)
    bad = shell("export", run.id, "--to", "trackio", str(tmp_path / "x"))
    assert (bad.code, "leave" in bad.err) == (2, True)
