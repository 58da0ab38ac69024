"""train, and everything one can do with what it leaves: runs, show, predict, export, resume, extend, branch."""

from __future__ import annotations

import inspect
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from ptviz.cli import train as training
from ptviz.engine.model_cache import Backend
from ptviz.runs import RunConfig, Store
from ptviz.training import Event, StageStarted, TrainConfig, TrainingError
from tests.app_server import HANGS_SECONDS

Shell = Callable[..., Any]

PROMISED = {"run", "zero_shot", "majority", "validation", "test", "seconds", "steps_per_second", "trained"}


def test_it_ends_with_one_json_object(shell: Shell, small: list[str]) -> None:
    answer = shell("train", "prompt-tuning", *small, "--seed", "1", "--json")
    assert answer.code == 0, answer.err
    result = answer.json
    assert set(result) >= PROMISED
    assert all(0 <= result[name] <= 1 for name in ("zero_shot", "majority", "validation", "test"))
    assert result["trained"] == 3 * 32
    assert result["seconds"] > 0
    assert result["steps_per_second"] > 0
    assert "zero-shot" in answer.err, "progress goes to stderr"
    run = Store().get(result["run"])
    assert run.status().state == "finished"
    assert run.config.training.seed == 1


def test_same_seed_same_numbers(shell: Shell, small: list[str]) -> None:
    first, second = (shell("train", "prompt-tuning", *small, "--json").json for _ in range(2))
    losses = [Store().get(result["run"]).history().losses for result in (first, second)]
    assert first["run"] != second["run"]
    assert np.array_equal(*losses)
    assert first["test"] == second["test"]


def test_for_people_it_ends_with_a_sentence(shell: Shell, small: list[str]) -> None:
    answer = shell("train", "smop", *small, "--name", "mine")
    assert answer.code == 0
    assert answer.out.startswith("mine-")
    assert "test" in answer.out


def test_options_are_the_settings_of_a_run() -> None:
    """One option for every field of TrainConfig, with its default: the shell hides nothing and adds nothing."""
    signature = inspect.signature(training.train).parameters
    usual = TrainConfig()
    for field in fields(TrainConfig):
        if field.name != "planned_steps":  # set by --extend
            assert signature[field.name].default == getattr(usual, field.name), field.name
    assert "planned_steps" not in signature
    for name in ("backbone", "task", "name"):
        assert signature[name].default == getattr(RunConfig(), name), name


def test_a_runs_own_command_makes_it_again(shell: Shell, small: list[str]) -> None:
    first = shell("train", "dept", *small, "--set", "r=2", "--warmup", "0.2", "--shots", "5", "--name", "a b", "--json")
    config = Store().get(first.json["run"]).config
    words = shlex.split(config.shell_command())
    assert words[:2] == ["ptviz", "train"]
    again = shell(*words[1:], "--json")
    assert Store().get(again.json["run"]).config == config


def test_what_is_kept_can_be_listed_shown_asked_and_exported(shell: Shell, small: list[str], tmp_path: Path) -> None:
    id = shell("train", "prompt-tuning", *small, "--json").json["run"]

    [listed] = shell("runs", "--json").json
    assert listed["run"] == id
    assert listed["state"] == "finished"
    assert id in shell("runs").out
    assert shell("runs", "--state", "failed", "--json").json == []

    shown = shell("show", id, "--json").json
    assert shown["run"] == id
    assert shown["status"]["state"] == "finished"
    assert len(shown["losses"]) == len(shown["steps"])
    assert shown["evaluations"]
    assert shown["snapshots"]
    assert shown["command"] in shell("show", id).out

    answer = shell("predict", id, "who wrote it", "where is it", "--json").json
    assert answer["texts"] == ["who wrote it", "where is it"]
    for side in ("with", "without"):
        assert np.allclose(np.sum(answer[side], axis=1), 1, atol=1e-5)
        assert np.shape(answer[side]) == (2, len(answer["classes"]))
    assert "with the prompt" in shell("predict", id, "who wrote it").out

    npz = shell("export", id, "--to", "npz", tmp_path / "new" / "prompt.npz", "--json").json
    tensors = shell("export", id, "--to", "safetensors", str(tmp_path) + "/", "--json").json
    arrays = np.load(npz["path"])
    assert {name: list(arrays[name].shape) for name in arrays} == {"P": [3, 32]}
    assert np.array_equal(arrays["P"], load_file(tensors["path"])["P"])
    assert np.array_equal(arrays["P"], Store().get(id).prompt()["P"].numpy())


def test_a_branch_starts_from_a_snapshot(shell: Shell, small: list[str]) -> None:
    id = shell("train", "prompt-tuning", *small, "--json").json["run"]
    branch = shell("train", "prompt-tuning", *small, "--branch", f"{id}:0:4", "--json")
    assert branch.code == 0, branch.err
    assert Store().get(branch.json["run"]).config.parent == (id, 0, 4)
    other = shell("train", "dept", *small, "--branch", f"{id}:0:4")
    assert other.code == 2
    assert "prompt-tuning" in other.err
    missing = shell("train", "prompt-tuning", *small, "--branch", f"{id}:0:3")
    assert missing.code == 2


def test_a_finished_run_is_extended_not_resumed(shell: Shell, small: list[str]) -> None:
    id = shell("train", "prompt-tuning", *small, "--json").json["run"]
    refused = shell("train", "--resume", id)
    assert refused.code == 2
    assert "--extend" in refused.err
    more = shell("train", "--resume", id, "--extend", "3", "--json")
    assert more.code == 0, more.err
    assert more.json["run"] == id
    assert Store().get(id).history().steps.tolist() == list(range(7))


def test_a_failed_run_ends_with_1(shell: Shell, small: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def train(*words: object, **named: object) -> Iterator[Event]:
        yield StageStarted(0, "tune", 4)
        raise TrainingError("the loss became nan at step 3; try a tenth of that rate")

    engine = replace(Backend.default(), train=train)
    monkeypatch.setattr(Backend, "default", classmethod(lambda cls: engine))
    answer = shell("train", "prompt-tuning", *small, "--json")
    assert answer.code == 1
    assert answer.json["state"] == "failed"
    assert "the loss became nan" in answer.err.splitlines()[-1]
    assert "Traceback" not in answer.err


def test_ctrl_c_stops_cleanly_and_resume_goes_on(shell: Shell, small: list[str], home: Path, tmp_path: Path) -> None:
    options = [*small, "--steps", "3000", "--snapshot-every", "5", "--evaluate-every", "1000"]
    command = [sys.executable, "-m", "ptviz", "train", "prompt-tuning", *options, "--json"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ)
    ) as child:
        store, deadline = Store(), time.monotonic() + HANGS_SECONDS
        while not any(summary.status.step >= 5 for summary in store.list()):
            assert child.poll() is None, child.stderr and child.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=HANGS_SECONDS)
    assert child.returncode == 130, err
    result = json.loads(out)
    assert result["state"] == "stopped"
    assert result["test"] is None
    assert f"--resume {result['run']}" in err
    assert "Traceback" not in err

    run = Store().get(result["run"])
    assert run.status().state == "stopped"
    assert run.status().saved_step
    refused = shell("train", "--resume", run.id, "--steps", "10")
    assert refused.code == 2


def test_an_unknown_source_task_is_refused_before_a_run_exists(shell: Shell):
    answer = shell("train", "attempt", "--backbone", "tiny-encoder", "--task", "trec6", "--sources", "sms,nonsense")
    assert answer.code == 2
    assert "unknown task 'nonsense'" in answer.err
    assert Store().list() == []
