"""inspect, export and import: prompts of any origin in, prompts for any program out."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ptviz.checkpoints import limits
from tests.checkpoints.files import ABSENT, DATA, bombs, saved
from tests.families import model_of

Shell = Callable[..., Any]


@pytest.fixture
def trained(shell: Shell, table: Path) -> str:
    """The id of a short run of prompt tuning on a tiny decoder."""
    options = ["--backbone", "tiny-decoder", "--task", str(table), "--steps", "4", "--batch", "4", "--set", "m=3"]
    return str(shell("train", "prompt-tuning", *options, "--json").json["run"])


def test_a_run_goes_out_to_every_program_and_comes_back(shell: Shell, trained: str, tmp_path: Path) -> None:
    folder = tmp_path / "adapter"
    assert shell("export", trained, "--to", "peft", folder, "--json").json["peft_type"] == "PROMPT_TUNING"
    shown = shell("inspect", folder, "--json", "--backbone", "tiny-decoder").json
    assert (shown["format"], shown["fits"]) == ("PEFT PROMPT_TUNING", True)
    npz = shell("export", trained, "--to", "npz", tmp_path / "p.npz", "--json").json
    written = np.load(npz["path"])["P"]
    assert shown["facts"][0]["norms"] == pytest.approx(np.linalg.norm(written, axis=1).tolist(), abs=1e-3)
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


def adapter(folder: Path, rows: torch.Tensor, **config: object) -> Path:
    folder.mkdir(parents=True)
    config = {"peft_type": "PROMPT_TUNING", **config}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    state = {"prompt_embeddings": rows, "base_model.classifier.weight": torch.ones(2, rows.shape[1])}
    (folder / "adapter_model.bin").write_bytes(saved(state))
    return folder


def test_import_warns_of_all_that_inspect_warns_of_and_says_its_uses(shell: Shell, tmp_path: Path) -> None:
    rows = torch.randn(12, 32, generator=torch.Generator().manual_seed(0))
    rows[3] *= 50
    place = adapter(tmp_path / "a", rows)
    first = shell("inspect", place, "--backbone", "tiny-decoder", "--json").json
    second = shell("import", place, "--backbone", "tiny-decoder", "--json").json
    assert first["warnings"] == second["warnings"]
    assert first["uses"] == second["uses"]
    assert any("task head" in text for text in second["warnings"])
    assert any("row 3 is an outlier" in text for text in second["warnings"])
    assert any("off the vocabulary" in text for text in second["warnings"])
    printed = [shell(command, place, "--backbone", "tiny-decoder").out for command in ("inspect", "import")]
    notes = [[line for line in out.splitlines() if line.startswith("note: ")] for out in printed]
    assert notes[0] == notes[1] == [f"note: {text}" for text in first["warnings"]]
    assert all("predict with it\tyes" in out for out in printed)


def test_a_prompt_that_no_run_can_start_from_is_saved_and_said(shell: Shell, tmp_path: Path, table: Path) -> None:
    sizes = {"num_layers": 2, "num_attention_heads": 4, "token_dim": 32, "num_transformer_submodules": 2}
    place = adapter(tmp_path / "a", torch.randn(3, 128), peft_type="PREFIX_TUNING", task_type="SEQ_2_SEQ_LM", **sizes)
    answer = shell("import", place)
    assert answer.code == 0
    assert "predict with it\tno\tPEFT gives these keys and values to the decoder" in answer.out
    answer = shell("train", "prefix-tuning", "--backbone", "tiny-encoder-decoder", "--task", table, "--start", place)
    assert answer.code == 2
    assert "no run can start from a: PEFT gives" in answer.err


def test_import_checks_the_fit_with_a_folder_by_its_config(shell: Shell, tmp_path: Path) -> None:
    model_of("llama").config.save_pretrained(tmp_path / "model")
    place = adapter(tmp_path / "a", torch.randn(3, 64))
    answer = shell("import", place, "--backbone", tmp_path / "model")
    assert answer.code == 2
    assert "its vectors have 32 dimensions, these have 64" in answer.err
    assert not shell("inspect", place, "--backbone", tmp_path / "model", "--json").json["fits"]
    answer = shell("import", place, "--backbone", "user/model", "--json")
    assert "not checked whether it fits user/model" in answer.json["warnings"][0]


def test_a_folder_without_rights_is_one_line(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error of the system stands in: root, as which containers run, has every right."""

    def denied(self: Path) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(limits.Path, "iterdir", denied)
    answer = shell("inspect", tmp_path)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.splitlines()[-1].endswith("it cannot be read: Permission denied")


@pytest.mark.skipif(sys.platform != "linux", reason="/proc and /dev/zero are Linux's")
@pytest.mark.parametrize("command", ["inspect", "import"])
def test_what_is_no_file_is_one_line(shell: Shell, tmp_path: Path, command: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    expected = {
        "/proc/self/mem": "mem is empty",
        "/proc/self/environ": "environ is empty",
        "~nosuchuser/x": "~nosuchuser/x does not exist",
        "~nosuchuser": "~nosuchuser does not exist",
        "/dev/zero": "got a folder, device, pipe or socket",
        str(tmp_path / "pipe"): "got a folder, device, pipe or socket",
        str(tmp_path / "loop"): "cannot be read",
        "a" * 5000: "cannot be read: File name too long",
        str(tmp_path / "absent"): "does not exist",
    }
    for path, words in expected.items():
        answer = shell(command, path)
        assert (answer.code, answer.out) == (2, ""), path
        (line,) = [line for line in answer.err.splitlines() if line.startswith("ptviz: ")]
        assert words in line, path
        assert "internal error" not in line
    answer = shell("import", tmp_path / "absent", "--backbone", "~nosuchuser/x")
    assert answer.code == 2
    assert "internal error" not in answer.err
