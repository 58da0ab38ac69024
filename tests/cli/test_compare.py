"""``ptviz compare`` as a user runs it, on a tiny backbone and a small table."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ptviz.cli import wait_for_runs
from ptviz.engine.model_cache import ModelCache
from ptviz.engine.train_job import execute_run
from ptviz.executors.local import LocalExecutor
from ptviz.runs import Store

Shell = Callable[..., Any]


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Let the executor train in this process; yields the ids of the trained runs."""
    model_cache, trained = ModelCache(), []

    def ensure_worker(self: LocalExecutor) -> None:
        for summary in self.store.queued_runs()[:1]:
            trained.append(summary.id)
            execute_run(self.store.get(summary.id).path, model_cache)

    monkeypatch.setattr(LocalExecutor, "ensure_worker", ensure_worker)
    monkeypatch.setattr(wait_for_runs, "POLL_SECONDS", 0.01)
    return trained


@pytest.fixture
def arguments(table: Path) -> list[object]:
    return ["compare", "--methods", "prompt-tuning,smop", "--seeds", 2, "--backbone", "tiny-encoder", "--task", table,
            "--steps", 4, "--set", "m=3"]  # fmt: skip


def test_missing_runs_are_trained_once(shell: Shell, arguments, trained, tmp_path: Path):
    sheet = tmp_path / "comparison.csv"
    answer = shell(*arguments, "--json", "--csv", sheet)
    assert answer.code == 0, answer.err
    result = answer.json
    assert (result["reused"], len(result["runs"]), len(trained)) == (0, 4, 4)
    assert {row["method"] for row in result["methods"]} == {"prompt-tuning", "smop"}
    assert all(row["seeds"] == 2 and 0 <= row["test_mean"] <= 1 for row in result["methods"])
    by_method = {row["method"]: row for row in result["methods"]}
    assert by_method["prompt-tuning"]["trained"] == 3 * 32
    assert by_method["smop"]["trained"] == 4 * 3 * 32 + 4 * 32
    with sheet.open() as file:
        assert [row["method"] for row in csv.DictReader(file)] == [row["method"] for row in result["methods"]]
    second = shell(*arguments, "--json")
    assert second.json["reused"] == 4
    assert len(trained) == 4
    assert second.json["methods"] == result["methods"]
    table = shell(*arguments)
    assert table.out.splitlines()[0].startswith("method\ttest\tsd")
    assert "4 already finished" in table.err
    assert {len(run["accuracies"]) == len(run["evaluated"]) > 0 for run in result["runs"]} == {True}
    markdown = shell(*arguments, "--markdown").out
    assert markdown.count("| --- |") >= 2, "the results, and the first against the others"
    assert "against the others, seed by seed" in markdown


def test_a_dry_run_trains_nothing(shell: Shell, arguments, trained):
    answer = shell(*arguments, "--dry-run", "--json")
    assert [entry["state"] for entry in answer.json] == ["missing"] * 4
    assert not Store().list()


def test_ctrl_c_stops_the_queued_runs(shell: Shell, arguments, monkeypatch: pytest.MonkeyPatch):
    import os
    import signal

    def interrupted(self: LocalExecutor) -> None:
        if len(self.store.queued_runs()) == 4:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(LocalExecutor, "ensure_worker", interrupted)
    monkeypatch.setattr(wait_for_runs, "POLL_SECONDS", 0.01)
    answer = shell(*arguments)
    assert answer.code == 130
    assert "4 runs stopped" in answer.err
    assert {summary.status.state for summary in Store().list()} == {"stopped"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("--methods", "nothing"), "expected `all`"),
        (("--task", "nothing"), "nothing"),
        (("--set", "sigma=x"), "sigma"),
        (("--set", "zzz=1"), "zzz"),
    ],
)
def test_bad_input_is_reported_before_anything_runs(shell: Shell, arguments, change, message):
    answer = shell(*arguments, *change)
    assert answer.code == 2
    assert message in answer.err
    assert not Store().list()


def test_failures_are_named_and_exit_with_1(shell: Shell, arguments, trained, monkeypatch: pytest.MonkeyPatch):
    from ptviz.engine import train_job

    def fail(*args: object, **more: object) -> None:
        raise ValueError("made to fail")

    monkeypatch.setattr(train_job, "_source_arguments", fail)
    answer = shell(*arguments)
    assert answer.code == 1
    assert "4 of 4 runs failed" in answer.err
    assert "made to fail" in answer.err


def test_a_comparison_is_on_one_task(shell: Shell) -> None:
    answer = shell("compare", "--task", "trec6,sms", "--dry-run")
    assert (answer.code, answer.out) == (2, "")
    assert "--task: expected one task; got 2 (trec6, sms)" in answer.err
    assert "ptviz train mpt --task trec6,sms" in answer.err


def test_a_dry_run_lists_the_references(shell: Shell, arguments, trained):
    answer = shell(*arguments, "--references", "lora", "--dry-run", "--json")
    assert answer.code == 0, answer.err
    assert [row for row in answer.json if row["method"] == "lora"] == [
        {"method": "lora", "seed": seed, "state": "missing", "run": ""} for seed in range(2)
    ]
    assert not trained


def test_references_are_trained_once_and_shown_beside_the_methods(
    shell: Shell, table: Path, trained, tmp_path: Path
) -> None:
    words = ["compare", "--methods", "prompt-tuning", "--seeds", 2, "--backbone", "tiny-encoder", "--task", table,
             "--steps", 3, "--references", "lora,full"]  # fmt: skip
    answer = shell(*words, "--json")
    assert answer.code == 0, answer.err
    assert answer.err.count("training LoRA") == answer.err.count("training full") == 2
    found = {row["reference"]: row for row in answer.json["references"]}
    assert set(found) == {"lora", "full"}
    assert 0 < found["lora"]["trained"] < found["full"]["trained"]
    assert all(row["seeds"] == [0, 1] and 0 <= row["mean"] <= 1 and not row["tuned"] for row in found.values())
    assert {row["method"] for row in answer.json["methods"]} == {"prompt-tuning"}
    again = shell(*words, "--json")
    assert again.json["references"] == answer.json["references"]
    assert "training" not in again.err
    sheet = tmp_path / "comparison.csv"
    for form in ([], ["--markdown"], ["--latex", "--csv", sheet]):
        shown = shell(*words, *form).out
        assert "LoRA (r = 8)" in shown
        assert "(not tuned)" in shown
    with sheet.open() as file:
        rows = {row["method"]: row for row in csv.DictReader(file)}
    assert [*rows] == ["prompt-tuning", "lora", "full"]
    assert float(rows["lora"]["test_mean"]) == found["lora"]["mean"]
    more = shell(*[3 if word == 2 else word for word in words])
    assert more.err.count("training LoRA") == 1, "only the new seed"
    bad = shell(*words[:-1], "adapters")
    assert (bad.code, bad.out) == (2, "")
    assert "expected lora or full" in bad.err


def test_the_caption_of_a_latex_table_says_what_its_intervals_are_over(shell: Shell, arguments, trained) -> None:
    marked = "Intervals marked (examples) are over the test examples of one seed."
    several = shell(*arguments, "--latex").out
    assert ("(examples)" in several.replace(marked, ""), marked in several) == (False, False)
    one = shell(*[1 if word == 2 else word for word in arguments], "--latex").out
    assert ("(examples)" in one.replace(marked, ""), marked in one) == (True, True)
