"""inspect, export and import: prompts of any origin in, prompts for any program out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.checkpoints.files import ABSENT, DATA, bombs

Shell = Callable[..., Any]


@pytest.fixture
def trained(shell: Shell, table: Path) -> str:
    """The id of a short run of prompt tuning on a tiny decoder."""
    options = ["--backbone", "tiny-decoder", "--task", str(table), "--steps", "4", "--batch", "4", "--set", "m=3"]
    return str(shell("train", "prompt-tuning", *options, "--json").json["run"])


def test_a_run_goes_out_to_every_program_and_comes_back(shell: Shell, trained: str, tmp_path: Path) -> None:
    folder = tmp_path / "adapter"
    assert shell("export", trained, "--to", "peft", folder, "--json").json["peft_type"] == "PROMPT_TUNING"
    told = shell("inspect", folder, "--json", "--backbone", "tiny-decoder").json
    assert (told["format"], told["fits"]) == ("PEFT PROMPT_TUNING", True)
    npz = shell("export", trained, "--to", "npz", tmp_path / "p.npz", "--json").json
    written = np.load(npz["path"])["P"]
    assert told["facts"][0]["norms"] == pytest.approx(np.linalg.norm(written, axis=1).tolist(), abs=1e-3)
    assert shell("inspect", trained, "--json").json["format"] == "ptviz run"

    shell("export", trained, "--to", "tensorboard-projector", tmp_path / "tb", "--json")
    rows = np.loadtxt(tmp_path / "tb" / "tensors.tsv")
    labels = (tmp_path / "tb" / "metadata.tsv").read_text().splitlines()
    assert len(labels) == len(rows) + 1  # a line of column names
    assert labels[1].startswith("P[0]\tprompt\t")
    assert np.allclose(rows[:3], written, atol=1e-5)

    bundle = shell("export", trained, "--to", "bundle", tmp_path / "run.zip", "--json").json["path"]
    assert shell("inspect", bundle).code == 0
    again = shell("import", bundle, "--json").json["run"]
    assert again != trained
    first, second = (shell("show", id, "--json").json for id in (trained, again))
    assert first["losses"] == second["losses"]
    assert first["evaluations"] == second["evaluations"]


def test_a_bomb_is_bad_input(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "p.pt").write_bytes(bombs(tmp_path / "ran")["eval in a torch zip"])
    answer = shell("inspect", tmp_path / "p.pt")
    assert (answer.code, answer.out) == (2, "")
    assert "builtins.eval" in answer.err
    assert not (tmp_path / "ran").exists()
    assert shell("inspect", tmp_path / "absent").code == 2
    assert shell("import", tmp_path / "p.pt").code == 2


@pytest.mark.skipif(not DATA.exists(), reason=ABSENT)
def test_a_real_prompt_for_people(shell: Shell) -> None:
    answer = shell("inspect", DATA / "checkpoints/google/sst2.npy")
    assert answer.code == 0
    assert "m=100 x d=768" in answer.out
    assert json.loads(shell("inspect", DATA / "checkpoints/google/sst2.npy", "--json").out)["kind"] == "input prompt"
