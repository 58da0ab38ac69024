"""``ptviz generate``: runs, saved prompts and checkpoints write, with the prompt and without it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Shell = Callable[..., Any]
SHORT = ("--max-new-tokens", "5")


@pytest.fixture
def trained(shell: Shell, table: Path) -> str:
    """The id of a short run of prompt tuning on a tiny decoder."""
    options = ["--backbone", "tiny-decoder", "--task", str(table), "--steps", "4", "--batch", "4", "--set", "m=3"]
    return str(shell("train", "prompt-tuning", *options, "--lr", "1", "--json").json["run"])


def test_a_run_its_peft_folder_and_the_saved_prompt_write(shell: Shell, trained: str, tmp_path: Path) -> None:
    answer = shell("generate", trained, "good day", "who", *SHORT, "--json").json
    assert answer["texts"] == ["good day", "who"]
    assert len(answer["with"]) == len(answer["without"]) == 2
    assert answer["template"].startswith("{prompt}\n{text}")
    assert answer["with"] != answer["without"]

    folder = tmp_path / "adapter"
    shell("export", trained, "--to", "peft", folder, "--json")
    options = ("--backbone", "tiny-decoder", *SHORT, "--json")
    plain = shell("generate", folder, "good day", *options).json
    assert plain["template"] == "{prompt}{text}"
    other = shell("generate", folder, "good day", *options, "--template", "{prompt}\n{text}\n").json
    assert other["with"] != plain["with"]

    saved = shell("import", folder, "--backbone", "tiny-decoder", "--json").json
    again = shell("generate", saved["prompt"], "good day", *SHORT, "--json").json
    assert (again["with"], again["without"]) == (plain["with"], plain["without"])


def test_files_go_in_and_out_whole(shell: Shell, trained: str, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("good day\n\nwho is it\n")
    out = tmp_path / "out.jsonl"
    answer = shell("generate", trained, "--file", tmp_path / "in.txt", "--out", out, *SHORT)
    assert (answer.code, answer.out) == (0, "")
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["text"] for row in rows] == ["good day", "who is it"]
    assert set(rows[0]) == {"text", "with", "without"}


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--temperature", "1", "--beams", "2"), "beam search or sampling"),
        (("--top-p", "0"), "top_p: expected"),
        (("--top-p", "0.5"), "are for sampling: set --temperature above 0"),
        (("--seed", "1"), "are for sampling: set --temperature above 0"),
        (("--template", "{prompt}"), "expected {text}"),
        (("--step", "999"), "999"),
    ],
)
def test_bad_settings_are_one_line(shell: Shell, trained: str, words: tuple[str, ...], reason: str) -> None:
    answer = shell("generate", trained, "who", *words)
    assert (answer.code, answer.out) == (2, "")
    assert reason in answer.err


def test_what_cannot_write_says_why(shell: Shell, table: Path, tmp_path: Path) -> None:
    options = ["--backbone", "tiny-encoder", "--task", str(table), "--steps", "2", "--batch", "4", "--json"]
    run = shell("train", "prompt-tuning", *options).json["run"]
    assert "reads texts and generates none" in shell("generate", run, "who").err
    assert shell("generate", tmp_path / "absent", "who").code == 2
    assert "expected texts or --file" in shell("generate", run, "who", "--file", tmp_path / "x").err


def test_classes_of_two_texts_need_a_layout_of_one(shell: Shell, tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text("a,b,label\n" + "".join(f"one {i},two {i},{['no', 'yes'][i % 2]}\n" for i in range(30)))
    options = ["--backbone", "tiny-decoder", "--task", path, "--text", "a,b", "--steps", "2", "--batch", "4", "--json"]
    run = shell("train", "prompt-tuning", *options).json["run"]
    answer = shell("generate", run, "who")
    assert (answer.code, answer.out) == (2, "")
    assert "2 texts an input and no texts to write" in answer.err
    assert shell("generate", run, "who", "--template", "{prompt}{text}", *SHORT).code == 0
