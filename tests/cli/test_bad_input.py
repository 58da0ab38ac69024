"""Bad input: exit code 2, one clear line on stderr, nothing on stdout, never a traceback."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Shell = Callable[..., Any]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("nonsense", "nonsense"),
        ("methods --nonsense", "--nonsense"),
        ("methods extra", "extra"),
        ("methods --json --markdown", "choose one"),
        ("count", "METHOD"),
        ("count nonsense", "prompt-tuning"),
        ("count smop --set k", "NAME=VALUE"),
        ("count smop --set k=0", "1 to 32"),
        ("count smop --set k=2 --set k=3", "twice"),
        ("count smop --set q=2", "q"),
        ("count smop --width none", "--width"),
        ("count smop --width 0", "width"),
        ("count prompt-tuning --set init=text", "text"),
        ("train", "METHOD"),
        ("train nonsense", "prompt-tuning"),
        ("train prompt-tuning --steps 0", "steps"),
        ("train prompt-tuning --steps many", "--steps"),
        ("train prompt-tuning --optimiser sgd", "adamw"),
        ("train prompt-tuning --lr -1", "lr"),
        ("train prompt-tuning --set m=1000", "1 to 200"),
        ("train prompt-tuning --set init=text --backbone tiny-encoder", "text"),
        ("train prompt-tuning --task nonsense --backbone tiny-encoder", "nonsense"),
        ("train prompt-tuning --task ./nonsense.csv --backbone tiny-encoder", "nonsense.csv"),
        ("train prompt-tuning --backbone ./nonsense", "nonsense"),
        ("train prompt-tuning --device abacus --backbone tiny-encoder", "abacus"),
        ("train prompt-tuning --extend 5", "--resume"),
        ("train prompt-tuning --branch nonsense", "RUN:STAGE:STEP"),
        ("train prompt-tuning --branch nonsense:0:10", "nonsense"),
        ("train --resume nonsense", "nonsense"),
        ("train --resume nonsense --steps 5", "--steps"),
        ("train prompt-tuning --resume nonsense", "METHOD"),
        ("train --resume nonsense --extend 0", "--extend"),
        ("runs --state nonsense", "finished"),
        ("show", "RUN"),
        ("show nonsense", "nonsense"),
        ("show ../nonsense", "run"),
        ("export nonsense", "nonsense"),
        ("export nonsense --to pickle", "safetensors"),
        ("predict nonsense hello", "nonsense"),
        ("get nonsense", "smollm2-135m"),
        ("bench --family nonsense", "encoder-decoder"),
        ("bench --dtype float64", "bfloat16"),
        ("bench --m 0", "--m"),
        ("app --port 0", "--port"),
        ("app --port none", "--port"),
        ("inspect a\0b.npz", "without a NUL character (\\x00)"),
        ("train prompt-tuning --task a\0b.csv", "without a NUL character (\\x00)"),
    ],
)
def test_one_line_and_exit_code_2(shell: Shell, words: str, message: str, home: Path) -> None:
    answer = shell(*words.split())
    assert answer.code == 2, answer
    assert answer.out == ""
    assert len(answer.err.strip().splitlines()) == 1
    assert answer.err.startswith("ptviz: ")
    assert message.lower() in answer.err.lower()
    assert not list(home.glob("runs/[!.]*")), "bad input leaves no run behind"


def test_json_changes_nothing_about_errors(shell: Shell) -> None:
    answer = shell("train", "nonsense", "--json")
    assert (answer.code, answer.out) == (2, "")


def test_help_is_not_an_error(shell: Shell) -> None:
    for words in ([], ["--help"], ["train", "-h"], ["--version"]):
        answer = shell(*words)
        assert answer.code == 0
        assert answer.out
        assert not answer.err
