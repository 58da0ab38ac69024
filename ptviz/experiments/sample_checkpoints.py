"""Small checkpoints of the gallery: recorded prompts, saved in several formats by the formats' own libraries."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from ptviz import paths
from ptviz.runs.archive import pack_run
from ptviz.runs.run import Run
from ptviz.runs.snapshots import read_merged_names

SAMPLES: Mapping[str, str] = {
    "peft-prompt-tuning": "PEFT folder",
    "soft-prompt.pt": "torch .pt",
    "openprompt.ckpt": "OpenPrompt",
    "prompts.npz": "numpy .npz",
    "peft-prefix-tuning": "PEFT prefix",
    "run.zip": "ptviz run",
}
"""The files by name, with what the page calls them."""


def list_samples() -> dict[str, Path]:
    """Return the sample checkpoints of the gallery that exist, by what the page calls them."""
    folder = paths.sample_checkpoints_dir()
    return {label: folder / name for name, label in SAMPLES.items() if (folder / name).exists()}


def write_samples(folder: Path, prompt_run: Run, prefix_run: Run) -> list[str]:
    """Write the files: the prompt (m, d) of one run, and the merged keys and values (S, 2, H, m, h) of another.

    Returns:
        The names of the files.

    Raises:
        ImportError: if PEFT is not installed, which writes its own format.
        StoreError: if a prompt cannot be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    prompt, key_values = prompt_run.prompt()["P"], read_merged_names(prefix_run.prompt())["KV"]
    _write_peft(folder / "peft-prompt-tuning", prompt, prompt_run)
    _write_peft_prefix(folder / "peft-prefix-tuning", key_values, prefix_run)
    torch.save({"prompt_embeddings": prompt}, folder / "soft-prompt.pt")
    torch.save({"template.soft_embeds": prompt}, folder / "openprompt.ckpt")
    first = prompt_run.snapshots()[0]
    early = prompt_run.snapshot(first.stage, first.step)["P"]
    np.savez(folder / "prompts.npz", untrained=early.numpy(), trained=prompt.numpy())
    pack_run(prompt_run, folder / "run.zip")
    return list(SAMPLES)


def _write_peft(folder: Path, prompt: Tensor, run: Run) -> None:
    from peft import PromptTuningConfig

    config = PromptTuningConfig(
        task_type="FEATURE_EXTRACTION",
        num_virtual_tokens=prompt.shape[0],
        token_dim=prompt.shape[1],
        num_transformer_submodules=1,
        base_model_name_or_path=run.config.backbone,
        inference_mode=True,
    )
    config.save_pretrained(str(folder))
    save_file({"prompt_embeddings": prompt.contiguous()}, folder / "adapter_model.safetensors")


def _write_peft_prefix(folder: Path, key_values: Tensor, run: Run) -> None:
    from peft import PrefixTuningConfig

    sites, _, heads, tokens, width = key_values.shape
    config = PrefixTuningConfig(
        task_type="FEATURE_EXTRACTION",
        num_virtual_tokens=tokens,
        token_dim=heads * width,
        num_transformer_submodules=1,
        num_attention_heads=heads,
        num_layers=sites,
        prefix_projection=False,
        base_model_name_or_path=run.config.backbone,
        inference_mode=True,
    )
    config.save_pretrained(str(folder))
    flat = key_values.permute(3, 0, 1, 2, 4).reshape(tokens, -1).contiguous()
    save_file({"prompt_embeddings": flat}, folder / "adapter_model.safetensors")
