"""Prompts kept from checkpoints: told apart by the numbers that were read, and by nothing that lies beside them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import save

from ptviz.backbones import BackboneError
from ptviz.backbones.listing import named_backbone_shape
from ptviz.checkpoints.detect import open_in_process
from ptviz.checkpoints.diagnostics import list_warnings
from ptviz.checkpoints.limits import LIMITS
from ptviz.runs import Store, StoreError, saved_prompts
from ptviz.runs.import_prompt import find_backbone_reference, import_checkpoint_prompt
from tests.checkpoints.files import ROWS, saved
from tests.families import TINY_SIZES, model_of


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
    # The layout of P-Tuning v2: view (m, 2 * S, H, h), permute, split in pairs, a layer's keys before its values.
    theirs = table.view(5, 2 * sizes.sites, sizes.heads, sizes.head_width).permute(1, 2, 0, 3).split(2)
    assert torch.equal(kept, torch.stack(theirs))


def other(folder: Path, features: int) -> Path:
    path = folder / "other.pt"
    path.write_bytes(saved({"prefix_encoder.embedding.weight": torch.randn(5, features)}))
    return path


def model_folder(folder: Path, family: str) -> str:
    """A model's config, without weights and tokeniser."""
    model_of(family).config.save_pretrained(folder)
    return str(folder)


def test_a_folder_that_was_never_loaded_is_checked_by_its_config(tmp_path: Path) -> None:
    store = Store(tmp_path / "home" / "runs")
    backbone = model_folder(tmp_path / "model", "llama")
    prompts = {"fits.pt": torch.randn(4, 32), "wide.pt": torch.randn(4, 64)}
    for name, rows in prompts.items():
        (tmp_path / name).write_bytes(saved(rows))
    good, wide = (tmp_path / name for name in prompts)
    assert import_checkpoint_prompt(store, good, open_in_process(good), backbone=backbone).backbone == backbone
    with pytest.raises(StoreError, match="its vectors have 32 dimensions, these have 64"):
        import_checkpoint_prompt(store, wide, open_in_process(wide), backbone=backbone)
    with pytest.raises(BackboneError, match="no such folder"):
        import_checkpoint_prompt(store, good, open_in_process(good), backbone=str(tmp_path / "absent"))


@pytest.mark.parametrize("heads", [4, 2])
def test_keys_and_values_are_split_by_the_backbones_heads(tmp_path: Path, heads: int) -> None:
    """Whatever heads the adapter's config gives: older ones name those of the queries."""
    store = Store(tmp_path / "home" / "runs")
    backbone = model_folder(tmp_path / "model", "llama")
    flat = torch.randn(5, 2 * 2 * 16)
    folder = tmp_path / "adapter"
    folder.mkdir()
    config = {"peft_type": "PREFIX_TUNING", "num_layers": 2, "num_attention_heads": heads, "token_dim": 16}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    (folder / "adapter_model.bin").write_bytes(saved({"prompt_embeddings": flat}))
    bundle = open_in_process(folder)
    reference = find_backbone_reference(backbone)
    assert reference is not None
    assert any("split as for" in text for text in list_warnings(bundle, (), reference)) == (heads == 4)
    one = import_checkpoint_prompt(store, folder, bundle, backbone=backbone)
    kept = saved_prompts.load_prompt_tensors(store.prompts_folder, one.id)["key_values"]
    assert torch.equal(kept, flat.view(5, 4, 2, 8).permute(1, 2, 0, 3).reshape(2, 2, 2, 5, 8))


def test_a_file_that_names_its_heads_is_not_split_otherwise(tmp_path: Path) -> None:
    store = Store(tmp_path / "home" / "runs")
    backbone = model_folder(tmp_path / "model", "llama")
    path = tmp_path / "p.safetensors"
    axes = {"axes": json.dumps({"KV": ["S", "kv", "H", "m", "h"]})}
    path.write_bytes(save({"KV": torch.randn(2, 2, 4, 5, 4)}, axes))
    with pytest.raises(StoreError, match=r"\(2, 4, 4\); .* has \(2, 2, 8\)"):
        import_checkpoint_prompt(store, path, open_in_process(path), backbone=backbone)


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (transformers.GPTJConfig(vocab_size=600, n_embd=32, n_layer=2, n_head=4, rotary_dim=4), "AttentionInterface"),
        (transformers.MambaConfig(vocab_size=600, hidden_size=32, num_hidden_layers=2), "mamba"),
        (transformers.DebertaV2Config(**TINY_SIZES), "AttentionInterface"),
    ],
    ids=["gptj", "mamba", "deberta"],
)
def test_a_backbone_that_prompts_cannot_reach_is_refused_with_the_reason(
    config: transformers.PretrainedConfig, reason: str, tmp_path: Path
) -> None:
    """A prompt for it opens and is saved without a backbone."""
    store = Store(tmp_path / "home" / "runs")
    architectures = {"gptj": "GPTJForCausalLM", "mamba": "MambaForCausalLM"}
    config.architectures = [architectures.get(config.model_type, "DebertaV2ForMaskedLM")]
    config.save_pretrained(tmp_path / "model")
    place = adapter(tmp_path / "a", torch.randn(3, 32))
    assert import_checkpoint_prompt(store, place, open_in_process(place)).m == 3
    with pytest.raises(BackboneError, match=reason):
        import_checkpoint_prompt(store, place, open_in_process(place), backbone=str(tmp_path / "model"))
