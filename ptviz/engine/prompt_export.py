"""Export a trained prompt for other libraries: NumPy, safetensors, PEFT, vLLM and the Embedding Projector.

Each function takes a method as ``ptviz.engine.load_method.load_run_method`` returns it, writes a file or a folder
whole or not at all, and returns what it wrote as plain data.
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from ptviz.atomic_files import atomic_export, atomic_file
from ptviz.backbones import Backbone
from ptviz.backbones.generation import generation_arguments
from ptviz.checkpoints.formats.peft import CONFIG_FILE
from ptviz.checkpoints.writers.embedding_projector import PROJECTOR_CONFIG, write_embedding_projector
from ptviz.checkpoints.writers.peft import MultitaskFactors, TrainedBackbone, write_peft
from ptviz.engine.export_recipe import describe_layout, embed_prompted_input, make_text_settings
from ptviz.engine.model_cache import load_run_task
from ptviz.methods import PromptMethod
from ptviz.nearest_tokens import nearest_tokens
from ptviz.prompt import Batch, Prompt
from ptviz.runs import Run

ArrayFormat = Literal["npz", "safetensors"]
LAYOUT_FILE = "layout.json"
"""File in the folder of an exported adapter: the text layout of the run, and how its answers are read."""
PROJECTOR_WORDS = 2000
"""Frequent words of the vocabulary that are exported to the projector with the prompt tokens."""


def export_peft(run: Run, backbone: Backbone, method: PromptMethod, folder: Path) -> dict[str, Any]:
    """Write an adapter folder for Hugging Face's PEFT, with the text layout of the run where a script can repeat it.

    Raises:
        CheckpointError: if PEFT has no such prompt, for example one that depends on the input.
        OSError: if the folder holds other files, or cannot be written.
    """
    trained_on = TrainedBackbone(run.config.backbone, backbone.family, backbone.shape)
    prompt = compute_static_prompt(method, backbone)
    with atomic_export(folder, marker=CONFIG_FILE) as draft:
        config, notes = write_peft(draft, prompt, trained_on, find_factors(method, prompt))
        layout, why_not = describe_layout(run, backbone, method.slots)
        if layout is not None:
            (draft / LAYOUT_FILE).write_text(json.dumps(layout, indent=1) + "\n", encoding="utf-8")
            answer = "how a text is generated" if "generate" in layout else "the token of each class"
            notes = [*notes, f"{LAYOUT_FILE} describes the text layout and {answer}"]
        notes += [why_not] if why_not else []
    return {"path": str(folder), "peft_type": config["peft_type"], "notes": notes}


def export_prompt_embeds(run: Run, backbone: Backbone, method: PromptMethod, text: str, path: Path) -> dict[str, Any]:
    """Write the embeddings (L, d) of one input with its prompt as a plain tensor, for ``prompt_embeds`` of vLLM.

    Raises:
        BackboneError: if the backbone is no decoder, or the prompt has more than input embeddings.
        OSError: if the file cannot be written.
    """
    config, task = run.config, load_run_task(run.config)
    example, template = task.split_text(text), task.make_template(backbone.readout_mode)
    found = embed_prompted_input(method, backbone, template, example.texts or (example.text,), config.training.length)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as draft:
        torch.save(found.cpu().contiguous().clone(), draft)
    notes = ["vLLM itself was not tried; it needs enable_prompt_embeds=True"]
    if task.kind == "text":
        settings = make_text_settings(task, backbone, config.training)
        stops = generation_arguments(backbone, settings).get("eos_token_id", [])
        notes.append(f"SamplingParams(temperature=0, max_tokens={settings.max_new_tokens}, stop_token_ids={stops})")
    return {"path": str(path), "shape": list(found.shape), "dtype": str(found.dtype), "notes": notes}


def compute_static_prompt(method: PromptMethod, backbone: Backbone) -> Prompt:
    """Run the method on two dummy inputs; batch size 1 in the result means that the prompt is static."""
    merged = method.merge().eval()
    ids = torch.full((2, merged.slots + 3), backbone.pad_id, device=backbone.device)
    mask = torch.ones_like(ids, dtype=torch.bool)
    slots = torch.zeros_like(mask)
    slots[:, : merged.slots] = True
    read = torch.zeros_like(mask)
    read[:, -1] = True
    none = torch.zeros(2, dtype=torch.long, device=backbone.device)
    with torch.no_grad():
        found: Prompt = merged(Batch(ids, mask, slots, read, none, none, backbone.embed_tokens(ids)))
    return found


def find_factors(method: PromptMethod, prompt: Prompt) -> MultitaskFactors | None:
    """Return the shared prompt, column and row of a method whose product is this prompt, or None."""
    if prompt.embeddings is None or not prompt.is_static or prompt.keep is not None:
        return None
    parts = [(part.axes, part.tensor.detach().float().cpu()) for part in method.tensors().values()]
    columns = [tensor for axes, tensor in parts if axes == ("m",)]
    rows = [tensor for axes, tensor in parts if axes == ("d",)]
    whole = prompt.embeddings[0].detach().float().cpu()
    for shared in (tensor for axes, tensor in parts if axes == ("m", "d")):
        for u, v in itertools.product(columns, rows):
            if shared.shape == whole.shape and torch.allclose(shared * torch.outer(u, v), whole, atol=1e-6):
                return MultitaskFactors(shared.numpy(), u.numpy(), v.numpy())
    return None


def export_projector(backbone: Backbone, method: PromptMethod, folder: Path) -> dict[str, Any]:
    """Write the prompt tokens and the most frequent words for TensorFlow's Embedding Projector.

    Pruned tokens are left out; the others keep their numbers.

    Raises:
        ValueError: if the method has no static prompt in the input.
        OSError: if the folder holds other files, or cannot be written.
    """
    prompt = compute_static_prompt(method, backbone)
    if prompt.embeddings is None or not prompt.is_static:
        raise ValueError("the projector needs a static prompt in the input; this method has none, use --to npz")
    whole = prompt.embeddings[0].detach().float().cpu()
    kept = torch.arange(len(whole)) if prompt.keep is None else prompt.keep.cpu().nonzero()[:, 0]
    rows = whole[kept].numpy()
    table = backbone.embedding_table.detach().float().cpu().numpy()
    common = backbone.make_spec().common_ids.cpu().numpy()[:PROJECTOR_WORDS]

    def word(token: int) -> str:
        return str(backbone.tokeniser.convert_ids_to_tokens(int(token)))

    nearest = common[nearest_tokens(rows, table[common], k=1).ids[:, 0]]
    labels = [(f"P[{i}]", "prompt", word(token)) for i, token in zip(kept.tolist(), nearest, strict=True)]
    labels += [(word(token), "word", "") for token in common]
    columns = ("label", "kind", "nearest word")
    with atomic_export(folder, marker=PROJECTOR_CONFIG) as draft:
        write_embedding_projector(draft, np.concatenate([rows, table[common]]), labels, columns)
    return {"path": str(folder), "rows": len(labels)}


def export_arrays(method: PromptMethod, to: ArrayFormat, path: Path) -> dict[str, Any]:
    """Write the tensors of a method under the paper's symbols, in float32.

    Raises:
        OSError: if the file cannot be written.
    """
    parts = method.tensors()
    arrays = {name: part.tensor.detach().float().cpu().contiguous() for name, part in parts.items()}
    axes = {name: list(part.axes) for name, part in parts.items()}
    write_arrays(path, to, arrays, axes)
    return {"path": str(path), "parts": {name: list(array.shape) for name, array in arrays.items()}, "axes": axes}


def write_arrays(path: Path, to: ArrayFormat, arrays: dict[str, Tensor], axes: dict[str, list[str]]) -> None:
    """Write named arrays as one file; safetensors also holds the names of their axes.

    Raises:
        OSError: if the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as draft:
        if to == "safetensors":
            own = {name: array.clone() for name, array in arrays.items()}
            save_file(own, draft, metadata={"axes": json.dumps(axes)})
        else:
            with draft.open("wb") as file:  # numpy appends .npz to a file name.
                np.savez(file, allow_pickle=False, **{name: array.numpy() for name, array in arrays.items()})
