"""``ptviz train --chat``: an instruct decoder is asked through its chat template; others are refused in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.chat_model import save_chat_model

Shell = Callable[..., Any]
SHORT = ("--steps", "3", "--batch", "4", "--set", "m=3", "--length", "16", "--lr", "0.1")


@pytest.fixture
def instruct(tmp_path: Path) -> str:
    return save_chat_model(tmp_path / "instruct")


def test_a_run_is_asked_through_the_template_everywhere(shell: Shell, instruct: str, table: Path) -> None:
    common = ("train", "prompt-tuning", "--backbone", instruct, "--task", table, *SHORT)
    chat, plain = shell(*common, "--chat", "--json"), shell(*common, "--json")
    assert chat.code == plain.code == 0, chat.err
    assert chat.json["validation"] is not None
    shown = shell("show", chat.json["run"], "--json").json
    assert shown["config"]["table"] == {"chat": True}
    assert "--chat" in shell("show", chat.json["run"]).out
    assert "table" not in shell("show", plain.json["run"], "--json").json["config"]
    both = [shell("predict", run.json["run"], "who is it", "--json").json for run in (chat, plain)]
    assert both[0] != both[1]
    written = shell("generate", chat.json["run"], "who is it", "--max-new-tokens", "4", "--json")
    assert written.code == 0, written.err


def test_texts_are_written_as_the_assistants_answer(shell: Shell, instruct: str, tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text("text,answer\n" + "\n".join(f"who wrote number {i},person {i}" for i in range(40)) + "\n")
    answer = shell(
        "train", "prompt-tuning", "--backbone", instruct, "--task", path, "--target", "answer", *SHORT, "--chat",
        "--json",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    assert shell("predict", answer.json["run"], "who wrote number 3", "--json").code == 0


@pytest.mark.parametrize("backbone", ["tiny-decoder", "tiny-encoder"])
def test_a_tokenizer_without_a_template_is_refused_before_anything_runs(
    shell: Shell, table: Path, backbone: str
) -> None:
    answer = shell("train", "prompt-tuning", "--backbone", backbone, "--task", table, *SHORT, "--chat")
    assert (answer.code, answer.out) == (2, "")
    assert "has no chat template; train without chat, or choose an instruct model" in answer.err
    assert len(answer.err.strip().splitlines()) == 1
    assert shell("runs", "--json").json == []
