"""A run, a saved prompt and a record of transfer that an earlier version wrote can still be used by every command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ptviz.runs import Store, saved_prompts
from tests.old_home import PROMPT, RUN, copy_old_home

Shell = Callable[..., Any]


@pytest.fixture(autouse=True)
def _old_home(home: Path) -> None:
    copy_old_home(home)


def test_the_run_is_listed_and_shown(shell: Shell) -> None:
    [listed] = shell("runs", "--json").json
    assert (listed["run"], listed["state"], listed["step"]) == (RUN, "finished", 4)
    shown = shell("show", RUN, "--json").json
    assert shown["steps"] == [0, 1, 2, 3]
    assert [one["step"] for one in shown["evaluations"]] == [0, 4]
    assert [one["step"] for one in shown["snapshots"]] == [0, 4]
    assert Store().get(RUN).config.checked().hyperparameters["m"] == 4


def test_the_run_predicts_and_is_exported(shell: Shell, tmp_path: Path) -> None:
    answer = shell("predict", RUN, "who wrote it", "--json")
    assert answer.code == 0, answer.err
    assert np.isclose(sum(answer.json["with"][0]), 1)
    written = shell("export", RUN, tmp_path / "prompt.npz", "--json").json
    assert np.array_equal(np.load(written["path"])["P"], Store().get(RUN).prompt()["P"].numpy())


def test_the_run_is_extended(shell: Shell) -> None:
    answer = shell("train", "--resume", RUN, "--extend", 2, "--json")
    assert answer.code == 0, answer.err
    assert Store().get(RUN).history().steps.tolist() == [0, 1, 2, 3, 4, 5]


def test_the_saved_prompt_starts_a_run(shell: Shell, small: list[str]) -> None:
    assert [one.id for one in saved_prompts.list_saved_prompts(Store().prompts_folder)] == [PROMPT]
    options = [word for word in small if word not in ("--set", "m=3")]
    answer = shell("train", "prompt-tuning", *options, "--start", PROMPT, "--json")
    assert answer.code == 0, answer.err
    assert Store().get(answer.json["run"]).config.start == PROMPT


def test_measured_transfer_is_not_measured_again(shell: Shell) -> None:
    answer = shell("transfer", "--rows", 20, "--json")
    assert answer.code == 0, answer.err
    assert (answer.json["measured"], answer.json["reused"]) == (0, 3)
