"""Prompts saved as plain tensors: bare prompts, textual inversion, collections of prompts.

Bare: google-research/prompt-tuning's .npy, and torch tensors as ATTEMPT and thunlp/Prompt-Transferability save them.
Textual inversion: ``<token>`` (diffusers), ``emb_params`` or ``string_to_param.*`` (webui), ``clip_l`` and ``clip_g``.
"""

from __future__ import annotations

from contextlib import suppress

from ptviz.checkpoints.bundle import INPUT, LIBRARY, Array, NamedAxesArray, PromptBundle, list_capabilities
from ptviz.checkpoints.errors import CheckpointError
from ptviz.checkpoints.formats.named_tensors import StoredTensors, describe_left_out, to_prompt_matrix
from ptviz.safe_text import safe_list, safe_text

_PROMPT_NAMES = (
    "learned_embedding",
    "prompt_embeddings",
    "prompt_embedding",
    "prefix_embeddings",
    "soft_prompt",
    "tensor",
)


def _named_prompts(state: StoredTensors) -> dict[str, Array]:
    """Return the tensors with a common name for a prompt; of several, those with the shape of one."""
    named = {name: state.tensors[name] for end in _PROMPT_NAMES for name in state.names_ending_in(end)}
    return {name: array for name, array in named.items() if _can_be_prompt(array)} or named


def _can_be_prompt(array: Array) -> bool:
    with suppress(CheckpointError):
        return bool(to_prompt_matrix("", array).array.size)
    return False


def detect_single(state: StoredTensors) -> bool:
    """Return whether the file has one tensor, or one with a common name for a prompt."""
    return len(state.tensors) == 1 or len(_named_prompts(state)) == 1


def read_single(state: StoredTensors) -> PromptBundle:
    """Return the only prompt.

    Raises:
        CheckpointError: if its shape is not that of a prompt.
    """
    key, array = next(iter((_named_prompts(state) or state.tensors).items()))
    values = to_prompt_matrix(key or state.name, array)
    notes = [*describe_left_out([name for name in state.tensors if name != key])]
    if array.ndim > 2 and key:
        notes.append(f"leading axes of size 1 were dropped from {safe_text(key)}")
    if values.array.shape[0] > values.array.shape[1]:
        notes.append("more rows than columns: this may be the weight of a layer rather than a prompt")
    if key.endswith("prompt_embeddings"):
        notes.append(
            "these look like the weights of a PEFT adapter: without adapter_config.json it is unknown whether they "
            "are input embeddings or keys and values. Use both files"
        )
    form = _format_name(key) or "bare tensor"
    metadata = {**state.description(), **({"tensor": safe_text(key)} if key else {})}
    width = values.array.shape[1]
    return PromptBundle(state.name, form, INPUT, {"P": values}, metadata, tuple(notes), list_capabilities(INPUT, width))


def _format_name(key: str) -> str:
    if key.startswith("<") or key in ("emb_params", "*") or key.startswith("string_to_param"):
        return "textual inversion"
    return "soft prompt module" if key.endswith("learned_embedding") else ""


def detect_library(state: StoredTensors) -> bool:
    """Return whether several tensors have a common name for a prompt, or every tensor can be a prompt."""
    return len(_named_prompts(state)) > 1 or all(array.ndim in (1, 2) for array in state.tensors.values())


def read_library(state: StoredTensors) -> PromptBundle:
    """Return every tensor with a common name for a prompt as one by its name, or every tensor if none has.

    Raises:
        CheckpointError: if a tensor is not a prompt, or there are too many.
    """
    prompts = _named_prompts(state) or state.tensors
    if len(prompts) > 512:
        raise CheckpointError(
            f"{safe_text(state.name)}: expected a prompt; got {len(prompts):,} tensors, as in a complete model: "
            f"{safe_list(list(prompts))}"
        )
    tensors: dict[str, NamedAxesArray] = {
        safe_text(name): to_prompt_matrix(name, array) for name, array in prompts.items()
    }
    widths = sorted({values.array.shape[1] for values in tensors.values()})
    notes = describe_left_out([name for name in state.tensors if name not in prompts])
    if len(widths) > 1:
        notes += (f"its prompts differ in width ({safe_list([str(w) for w in widths])})",)
    form = "textual inversion" if {"clip_l", "clip_g"} <= set(tensors) else "collection of prompts"
    uses = list_capabilities(LIBRARY, widths[0] if len(widths) == 1 else None)
    return PromptBundle(state.name, form, LIBRARY, tensors, state.description(), notes, uses)
