"""Tensors without a library of their own: bare prompts, textual inversion, collections of prompts.

Bare: google-research/prompt-tuning's .npy, and torch tensors as ATTEMPT and thunlp/Prompt-Transferability save them.
Textual inversion: ``<token>`` (diffusers), ``emb_params`` or ``string_to_param.*`` (webui), ``clip_l`` and ``clip_g``.
"""

from __future__ import annotations

from ptviz.checkpoints.bundle import INPUT, LIBRARY, PromptBundle, Values, uses_of
from ptviz.checkpoints.errors import CheckpointError, listed, shown
from ptviz.checkpoints.formats.state_dict import State, prompt

_SINGLE = ("learned_embedding", "prompt_embeddings", "prompt_embedding", "prefix_embeddings", "soft_prompt", "tensor")


def recognise_single(state: State) -> bool:
    """Whether there is one tensor only, or one under a name that other people's code gives to its prompt."""
    return len(state.tensors) == 1 or any(state.ending(name) is not None for name in _SINGLE)


def read_single(state: State) -> PromptBundle:
    """The one prompt.

    Raises:
        CheckpointError: if its shape is no prompt's.
    """
    found = next(((name, a) for name in _SINGLE if (a := state.ending(name)) is not None), None)
    key, array = found or next(iter(state.tensors.items()))
    values = prompt(key or state.name, array)
    notes = []
    if array.ndim > 2 and key:
        notes.append(f"leading axes of size 1 were dropped from {shown(key)}")
    if values.array.shape[0] > values.array.shape[1]:
        notes.append("more rows than columns: this may be a weight of another layer rather than a prompt")
    if key.endswith("prompt_embeddings"):
        notes.append(
            "these look like the weights of a PEFT adapter: without adapter_config.json it cannot be told whether they "
            "stand at the input or are keys and values. Give both files"
        )
    form = _titles(key) or "bare tensor"
    told = {**state.told(), **({"tensor": shown(key)} if key else {})}
    width = values.array.shape[1]
    return PromptBundle(state.name, form, INPUT, {"P": values}, told, tuple(notes), uses_of(INPUT, width))


def _titles(key: str) -> str:
    if key.startswith("<") or key in ("emb_params", "*") or key.startswith("string_to_param"):
        return "textual inversion"
    return "soft prompt module" if key.endswith("learned_embedding") else ""


def recognise_library(state: State) -> bool:
    """Whether every tensor is a prompt."""
    return all(array.ndim in (1, 2) for array in state.tensors.values())


def read_library(state: State) -> PromptBundle:
    """Every tensor as a prompt under its own name.

    Raises:
        CheckpointError: if one cannot be.
    """
    if len(state.tensors) > 512:
        raise CheckpointError(
            f"{shown(state.name)} holds {len(state.tensors):,} tensors, as a whole model does: expected a prompt. Got "
            f"{listed(list(state.tensors))}"
        )
    tensors: dict[str, Values] = {shown(name): prompt(name, array) for name, array in state.tensors.items()}
    widths = sorted({values.array.shape[1] for values in tensors.values()})
    notes = () if len(widths) == 1 else (f"its prompts differ in width ({listed([str(w) for w in widths])})",)
    form = "textual inversion" if {"clip_l", "clip_g"} <= set(tensors) else "collection of prompts"
    uses = uses_of(LIBRARY, widths[0] if len(widths) == 1 else None)
    return PromptBundle(state.name, form, LIBRARY, tensors, state.told(), notes, uses)
