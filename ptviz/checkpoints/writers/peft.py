"""Export a prompt for Hugging Face's PEFT: a folder with adapter_config.json and adapter_model.safetensors.

Layouts: see ``formats/peft.py``. Exporting does not need PEFT; a test loads the export with PEFT and compares scores.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ptviz.backbone_shape import BackboneShape
from ptviz.checkpoints.bundle import Array
from ptviz.checkpoints.containers.arrays import write_safetensors
from ptviz.checkpoints.errors import CheckpointError
from ptviz.checkpoints.formats.peft import CONFIG_FILE, WEIGHT_FILES
from ptviz.prompt import Prompt

_TASK_TYPES = {"decoder": "CAUSAL_LM", "encoder-decoder": "SEQ_2_SEQ_LM", "encoder": "FEATURE_EXTRACTION"}


@dataclass(frozen=True)
class TrainedBackbone:
    """The sizes of a prompt's backbone that PEFT's config names."""

    name: str
    family: str
    shape: BackboneShape


@dataclass(frozen=True)
class MultitaskFactors:
    """A prompt as ``shared * outer(u, v)``: (m, d), (m,) and (d,), as PEFT stores it for each task."""

    shared: Array
    u: Array
    v: Array


def write_peft(
    folder: Path, prompt: Prompt, backbone: TrainedBackbone, factors: MultitaskFactors | None = None
) -> tuple[dict[str, Any], list[str]]:
    """Write a static prompt; return the config and notes on what PEFT does differently.

    With ``factors``, whose product the prompt is, it is written as a multitask prompt of one task.

    Raises:
        CheckpointError: if PEFT has no format for this prompt.
        OSError: if the folder cannot be written.
    """
    config, array, notes = _to_peft(prompt, backbone)
    tensors = {"prompt_embeddings": array}
    if factors is not None and config["peft_type"] == "PROMPT_TUNING":
        config |= {"peft_type": "MULTITASK_PROMPT_TUNING", "num_tasks": 1, "num_ranks": 1}
        cols, rows = factors.u[None, :, None], factors.v[None, None, :]
        tensors = {"prompt_embeddings": factors.shared, "prefix_task_cols": cols, "prefix_task_rows": rows}
        notes.append("PEFT needs task_ids=0 with every call of a multitask prompt")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / WEIGHT_FILES[0]).write_bytes(write_safetensors(tensors, {"format": "pt"}))
    (folder / CONFIG_FILE).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    return config, notes


def _to_peft(prompt: Prompt, backbone: TrainedBackbone) -> tuple[dict[str, Any], Array, list[str]]:
    if not prompt.is_static:
        raise CheckpointError(
            "expected a static prompt; this one depends on the input, for which PEFT has no format. "
            "Export it with --to npz or --to bundle"
        )
    if prompt.delta is not None:
        raise CheckpointError(
            "expected only a prompt; this method also changes the input's embeddings, for which PEFT has no format. "
            "Export it with --to npz or --to bundle"
        )
    if prompt.embeddings is not None and prompt.key_values is not None:
        raise CheckpointError("expected input embeddings or keys and values; PEFT has no format for both together")
    if prompt.key_values is not None:
        return _prefix_to_peft(prompt, backbone)
    if prompt.embeddings is None:
        raise CheckpointError("expected a prompt; this method has none")
    rows = prompt.embeddings[0] if prompt.keep is None else prompt.embeddings[0][prompt.keep]
    array = rows.detach().float().cpu().numpy()
    notes = []
    if backbone.family == "encoder":
        notes.append(
            "PEFT inserts the prompt before [CLS] and shifts the positions of the text; it was trained directly after "
            "[CLS]: scores with PEFT will differ"
        )
    if backbone.family == "encoder-decoder" and len(array) < prompt.embeddings.shape[1]:
        notes.append(
            "pruned tokens keep their places while the prompt is trained, which the relative positions of this family "
            "count; without them the others are nearer to the text: scores with PEFT will differ"
        )
    return (
        _make_config("PROMPT_TUNING", backbone, len(array), backbone.shape.width, prompt_tuning_init="RANDOM"),
        array,
        notes,
    )


def _prefix_to_peft(prompt: Prompt, backbone: TrainedBackbone) -> tuple[dict[str, Any], Array, list[str]]:
    if backbone.family != "decoder":
        raise CheckpointError(
            f"expected a decoder; {backbone.name} is an {backbone.family}, where PEFT's prefix does not reach every "
            "attention site that this one was trained at. Export it with --to npz or --to bundle"
        )
    if prompt.sites is not None:
        raise CheckpointError(
            "expected keys and values at every layer; this prompt has them at some layers only, for which PEFT has no "
            "format. Export it with --to npz or --to bundle"
        )
    assert prompt.key_values is not None
    stacked = prompt.key_values[:, :, 0].detach().float().cpu().numpy()
    sites, _, heads, tokens, width = stacked.shape
    flat = np.ascontiguousarray(stacked.transpose(3, 0, 1, 2, 4)).reshape(tokens, -1)
    config = _make_config("PREFIX_TUNING", backbone, tokens, heads * width, prefix_projection=False)
    return {**config, "num_layers": sites, "num_attention_heads": heads}, flat, []


def _make_config(kind: str, backbone: TrainedBackbone, tokens: int, width: int, **more: object) -> dict[str, Any]:
    return {
        "peft_type": kind,
        "task_type": _TASK_TYPES[backbone.family],
        "base_model_name_or_path": backbone.name,
        "inference_mode": True,
        "num_virtual_tokens": tokens,
        "token_dim": width,
        "num_transformer_submodules": 1,
        "num_attention_heads": backbone.shape.heads,
        "num_layers": backbone.shape.sites,
        **more,
    }
