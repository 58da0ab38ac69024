"""The commands on a run whose task is text to text, and on a multiple-choice one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.text_tasks import offer_tasks

Shell = Callable[..., Any]


@pytest.fixture
def trained(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    offer_tasks(monkeypatch)

    def train(task: str) -> str:
        options = ["--backbone", "tiny-decoder", "--task", task, "--steps", "4", "--batch", "4", "--set", "m=3"]
        answer = shell("train", "prompt-tuning", *options, "--lr", "0.1", "--json")
        assert answer.code == 0, answer.err
        return str(answer.json["run"])

    return train


def test_a_text_run_writes_with_its_tasks_end_and_longest_target(
    shell: Shell, trained: Callable[[str], str], tmp_path: Path
) -> None:
    run = trained("seer")
    found = shell("predict", run, "the cat sees the dog", "the lamp sees the road", "--json")
    assert found.code == 0, found.err
    answer = found.json
    assert answer["classes"] == []
    assert len(answer["with"]) == len(answer["without"]) == 2
    assert answer["with"] != answer["without"]
    assert "with the prompt:" in shell("predict", run, "the cat sees the dog").out

    (tmp_path / "inputs.txt").write_text("the cat sees the dog\nthe lamp sees the road\n")
    out = tmp_path / "outputs.jsonl"
    assert shell("generate", run, "--file", tmp_path / "inputs.txt", "--out", out).code == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["with"] for row in rows] == answer["with"]
    assert [row["without"] for row in rows] == answer["without"]

    free = shell("generate", run, "the cat sees the dog", "--json").json
    assert free["settings"]["max_new_tokens"] < 16, "the longest target and four more"
    short = shell("generate", run, "the cat sees the dog", "--max-new-tokens", "2", "--json").json
    assert free["with"][0].startswith(short["with"][0])
    assert shell("predict", run, " ").code == 2


@pytest.mark.parametrize("task", ["seer", "who"])
def test_every_command_takes_the_run(shell: Shell, trained: Callable[[str], str], tmp_path: Path, task: str) -> None:
    run = trained(task)
    assert run in shell("runs").out
    assert shell("show", run).code == shell("show", run, "--json").code == 0
    for target in ("npz", "peft", "bundle"):
        answer = shell("export", run, "--to", target, tmp_path / f"out-{target}")
        assert answer.code == 0, answer.err
    answer = shell("inspect", tmp_path / "out-peft")
    assert answer.code == 0, answer.err


def test_a_choice_run_refuses_a_text_alone(shell: Shell, trained: Callable[[str], str]) -> None:
    answer = shell("predict", trained("who"), "who is cat near dog")
    assert (answer.code, answer.out) == (2, "")
    assert "choices of its own" in answer.err
