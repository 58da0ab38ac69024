"""`ptviz app --classroom`: the addresses that it prints, and the rules that the server gets."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import typer

from ptviz.classroom.access import load_keys
from ptviz.classroom.rules import CLASSROOM_VARIABLE, ClassroomRules, active_rules
from tests.app_server import free_port
from tests.cli.conftest import Shell

pytestmark = pytest.mark.skipif(os.name != "posix", reason="replaces its process: un-skip where another way is tested")


@pytest.fixture(autouse=True)
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The command lines of servers, which are not started; the environment is put back."""
    monkeypatch.setenv(CLASSROOM_VARIABLE, "")
    found: list[list[str]] = []

    def stay(path: str, command: list[str]) -> None:
        found.append(command)
        raise typer.Exit

    monkeypatch.setattr(os, "execv", stay)
    return found


def test_it_prints_both_addresses_and_hands_the_rules_on(shell: Shell, commands: list[list[str]]) -> None:
    port = free_port()
    options = ("--max-steps", 300, "--backbones", "tiny-encoder, tiny-decoder", "--max-runs", 7)
    answer = shell("app", "--classroom", "--port", port, *options)
    keys = load_keys()
    assert f"http://127.0.0.1:{port}/?token={keys.token}" in answer.out
    assert f"http://127.0.0.1:{port}/?token={keys.teacher}" in answer.out
    assert "add --host 0.0.0.0" in answer.out
    assert active_rules() == ClassroomRules(300, ("tiny-encoder", "tiny-decoder"), 7)
    (command,) = commands
    assert "--server.headless=true" in command
    assert "--server.maxUploadSize=5" in command
    assert not [word for word in command if keys.token in word or keys.teacher in word]


def test_a_server_for_all_interfaces_names_addresses_that_others_reach(shell: Shell) -> None:
    answer = shell("app", "--classroom", "--port", free_port(), "--host", "0.0.0.0")
    assert "/?token=" in answer.out
    assert "0.0.0.0" not in answer.out
    assert "127.0.0.1" not in answer.out


def test_without_the_option_there_is_no_classroom(
    shell: Shell, commands: list[list[str]], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CLASSROOM_VARIABLE, ClassroomRules().to_text())
    answer = shell("app", "--port", free_port(), "--headless")
    assert active_rules() is None
    assert "token" not in answer.out
    assert not (home / "classroom.json").exists()
    assert not [word for word in commands[0] if "maxUploadSize" in word]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--max-steps", "5"), "--max-steps: it limits the visitors of a classroom; add --classroom"),
        (("--backbones", "tiny-encoder"), "--backbones: it limits"),
        (("--classroom", "--backbones", "nowhere"), "got nowhere"),
        (("--classroom", "--max-steps", "2000000"), "expected at most 1,000,000; got 2,000,000"),
        (("--classroom", "--max-steps", "0"), "max-steps"),
    ],
)
def test_bad_options_start_nothing(
    shell: Shell, commands: list[list[str]], home: Path, words: tuple[str, ...], reason: str
) -> None:
    answer = shell("app", "--port", free_port(), *words)
    assert answer.code == 2
    assert reason in answer.err
    assert not commands
    assert not (home / "classroom.json").exists()


def test_a_cluster_has_no_classroom(shell: Shell, commands: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PTVIZ_EXECUTOR", "ray")
    answer = shell("app", "--classroom", "--port", free_port())
    assert answer.code == 2
    assert "unset PTVIZ_EXECUTOR" in answer.err
    assert not commands
