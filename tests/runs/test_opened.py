"""Prompts kept from checkpoints: told apart by the numbers that were read, and by nothing that lies beside them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ptviz.checkpoints.safety import LIMITS
from ptviz.checkpoints.sniff import open_here
from ptviz.runs import Store, prompts
from ptviz.runs.opened import keep_opened
from tests.checkpoints.files import ROWS, saved


def adapter(folder: Path, rows: torch.Tensor = ROWS) -> Path:
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text('{"peft_type": "PROMPT_TUNING"}')
    (folder / "adapter_model.bin").write_bytes(saved({"prompt_embeddings": rows}))
    return folder


@pytest.mark.parametrize("inner", ["", "default"])
def test_a_model_beside_an_adapter_is_not_read(tmp_path: Path, inner: str) -> None:
    store = Store(tmp_path / "home" / "runs")
    folder = adapter(tmp_path / "a" / inner)
    with (folder / "model.safetensors").open("wb") as file:
        file.truncate(LIMITS.file + 1)  # takes no room on disk
    place = tmp_path / "a"
    first = keep_opened(store, place, open_here(place))
    assert keep_opened(store, place, open_here(place)).id == first.id
    assert len(prompts.kept(store)) == 1
    (folder / "adapter_model.bin").write_bytes(saved({"prompt_embeddings": ROWS + 1}))
    assert keep_opened(store, place, open_here(place)).id != first.id
