"""Prompts kept from checkpoints: told apart by the numbers that were read, and by nothing that lies beside them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ptviz.backbones.shape import named_backbone_shape
from ptviz.checkpoints.detect import open_in_process
from ptviz.checkpoints.limits import LIMITS
from ptviz.runs import Store, StoreError, saved_prompts
from ptviz.runs.import_prompt import import_checkpoint_prompt
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
    first = import_checkpoint_prompt(store, place, open_in_process(place))
    assert import_checkpoint_prompt(store, place, open_in_process(place)).id == first.id
    assert len(saved_prompts.list_saved_prompts(store.prompts_folder)) == 1
    (folder / "adapter_model.bin").write_bytes(saved({"prompt_embeddings": ROWS + 1}))
    assert import_checkpoint_prompt(store, place, open_in_process(place)).id != first.id


def test_keys_and_values_without_a_config_are_split_as_the_backbone_has_them(tmp_path: Path) -> None:
    store = Store(tmp_path / "home" / "runs")
    sizes = named_backbone_shape("tiny-encoder")
    assert sizes is not None
    features = 2 * sizes.sites * sizes.heads * sizes.head_width
    table = torch.randn(5, features)
    place = tmp_path / "p.pt"
    place.write_bytes(saved({"prefix_encoder.embedding.weight": table}))
    bundle = open_in_process(place)
    with pytest.raises(StoreError, match="name the backbone"):
        import_checkpoint_prompt(store, place, bundle)
    with pytest.raises(StoreError, match="numbers a token"):
        import_checkpoint_prompt(store, place, open_in_process(other(tmp_path, features + 2)), backbone="tiny-encoder")
    one = import_checkpoint_prompt(store, place, bundle, backbone="tiny-encoder")
    kept = saved_prompts.load_prompt_tensors(store.prompts_folder, one.id)["key_values"]
    assert kept.shape == (sizes.sites, 2, sizes.heads, 5, sizes.head_width)
    # The layout of P-tuning v2: view (m, 2 * S, H, h), permute, split in pairs, a layer's keys before its values.
    theirs = table.view(5, 2 * sizes.sites, sizes.heads, sizes.head_width).permute(1, 2, 0, 3).split(2)
    assert torch.equal(kept, torch.stack(theirs))


def other(folder: Path, features: int) -> Path:
    path = folder / "other.pt"
    path.write_bytes(saved({"prefix_encoder.embedding.weight": torch.randn(5, features)}))
    return path
