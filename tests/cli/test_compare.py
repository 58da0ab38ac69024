"""``ptviz race`` and ``ptviz findings`` as a user runs them, on a backbone and a table that take a moment."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ptviz.cli import compare as command
from ptviz.engine.model_cache import ModelCache
from ptviz.engine.train_job import execute_run
from ptviz.executors.local import LocalExecutor
from ptviz.runs import Store

Shell = Callable[..., Any]


@pytest.fixture
def beside(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """An executor that trains in this process, each time it is asked to see to its worker."""
    warm, trained = ModelCache(), []

    def ensure_worker(self: LocalExecutor) -> None:
        for summary in self.store.queued_runs()[:1]:
            trained.append(summary.id)
            execute_run(self.store.get(summary.id).path, warm)

    monkeypatch.setattr(LocalExecutor, "ensure_worker", ensure_worker)
    monkeypatch.setattr(command, "_POLL_SECONDS", 0.01)
    return trained


@pytest.fixture
def racing(table: Path) -> list[object]:
    return ["race", "--methods", "prompt-tuning,smop", "--seeds", 2, "--backbone", "tiny-encoder", "--task", table,
            "--steps", 4, "--set", "m=3"]  # fmt: skip


def test_it_trains_what_is_missing_and_nothing_twice(shell: Shell, racing, beside, tmp_path: Path):
    sheet = tmp_path / "race.csv"
    answer = shell(*racing, "--json", "--csv", sheet)
    assert answer.code == 0, answer.err
    told = answer.json
    assert (told["reused"], len(told["runs"]), len(beside)) == (0, 4, 4)
    assert {row["method"] for row in told["methods"]} == {"prompt-tuning", "smop"}
    assert all(row["seeds"] == 2 and 0 <= row["test_mean"] <= 1 for row in told["methods"])
    by_method = {row["method"]: row for row in told["methods"]}
    assert by_method["prompt-tuning"]["trained"] == 3 * 32
    assert by_method["smop"]["trained"] == 4 * 3 * 32 + 4 * 32
    with sheet.open() as file:
        assert [row["method"] for row in csv.DictReader(file)] == [row["method"] for row in told["methods"]]
    again = shell(*racing, "--json")
    assert again.json["reused"] == 4
    assert len(beside) == 4
    assert again.json["methods"] == told["methods"]
    people = shell(*racing)
    assert people.out.splitlines()[0].startswith("method\ttest\tsd")
    assert "4 finished before" in people.err
    assert {len(run["accuracies"]) == len(run["evaluated"]) > 0 for run in told["runs"]} == {True}
    marked = shell(*racing, "--markdown").out
    assert marked.count("| --- |") >= 2, "the results, and the first against the others"
    assert "against the others, seed by seed" in marked


def test_a_dry_run_trains_nothing(shell: Shell, racing, beside):
    answer = shell(*racing, "--dry-run", "--json")
    assert [entry["state"] for entry in answer.json] == ["missing"] * 4
    assert not Store().list()


def test_ctrl_c_stops_the_queue_of_this_race(shell: Shell, racing, monkeypatch: pytest.MonkeyPatch):
    import os
    import signal

    def interrupted(self: LocalExecutor) -> None:
        if len(self.store.queued_runs()) == 4:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(LocalExecutor, "ensure_worker", interrupted)
    monkeypatch.setattr(command, "_POLL_SECONDS", 0.01)
    answer = shell(*racing)
    assert answer.code == 130
    assert "4 runs stopped" in answer.err
    assert {summary.status.state for summary in Store().list()} == {"stopped"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("--methods", "nothing"), "expected `all`"),
        (("--task", "nothing"), "nothing"),
        (("--set", "sigma=x"), "sigma"),
        (("--set", "zzz=1"), "zzz"),
    ],
)
def test_bad_input_is_told_before_anything_runs(shell: Shell, racing, change, said):
    answer = shell(*racing, *change)
    assert answer.code == 2
    assert said in answer.err
    assert not Store().list()


def test_failures_are_named_and_end_in_1(shell: Shell, racing, beside, monkeypatch: pytest.MonkeyPatch):
    from ptviz.engine import train_job as working

    def broken(*args: object, **more: object) -> None:
        raise ValueError("made to fail")

    monkeypatch.setattr(working, "_source_arguments", broken)
    answer = shell(*racing)
    assert answer.code == 1
    assert "4 of 4 runs failed" in answer.err
    assert "made to fail" in answer.err
