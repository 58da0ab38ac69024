"""Prompts saved with the encoder they were trained through: the encoder is applied, as the backbone's input was made.

PEFT's modules (src/peft/tuners, https://github.com/huggingface/peft) as ``prompt_encoder.<adapter>.``, or alone:
``embedding.weight``, with ``mlp_head`` and perhaps ``lstm_head`` (P-Tuning), ``transform`` (prefix tuning), or nothing.
The original code of P-Tuning, https://github.com/THUDM/P-Tuning, has the same names without the adapter's.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ptviz.checkpoints.bundle import INPUT, KEY_VALUE, LIBRARY, Array, NamedAxesArray, PromptBundle, list_capabilities
from ptviz.checkpoints.containers.arrays import to_finite_float32
from ptviz.checkpoints.errors import CheckpointError
from ptviz.checkpoints.formats.named_tensors import StoredTensors, make_key_value_bundle, to_prompt_matrix
from ptviz.checkpoints.limits import LIMITS, check_scalars
from ptviz.safe_text import safe_list, safe_text

_TABLE = re.compile(r"(?:(.*\.)?prompt_encoder\.(?:([^.]+)\.)?|(.*\.)?)embedding\.weight")
_HEADS = ("mlp_head.0.weight", "lstm_head.weight_ih_l0", "transform.0.weight")
APPLIED = "its encoder was applied: these are the vectors that the backbone used"


class EncodedPrompt(NamedTuple):
    """The prompt of one encoder: keys and values ``(m, features)`` or an input prompt ``(m, d)``."""

    kind: str
    rows: Array
    applied: bool


def find_encoders(state: StoredTensors) -> dict[str, str]:
    """Return the prefix of the tensors of every prompt encoder, by the name of its adapter."""
    found = {}
    for name in state.tensors:
        if match := _TABLE.fullmatch(name):
            prefix = name.removesuffix("embedding.weight")
            if "prompt_encoder." in prefix or any(prefix + head in state.tensors for head in _HEADS):
                found[match[2] or prefix.rstrip(".") or "P"] = prefix
    return found


def detect(state: StoredTensors) -> bool:
    """Return whether the file has a prompt encoder."""
    return bool(find_encoders(state))


def read_prompt_encoder(state: StoredTensors) -> PromptBundle:
    """Return the prompt of the encoder; of several, a library of input prompts.

    Raises:
        CheckpointError: if the shapes do not fit, or several encoders do not make input prompts.
    """
    found = {name: encode(state, prefix) for name, prefix in find_encoders(state).items()}
    notes = (APPLIED,) if any(prompt.applied for prompt in found.values()) else ()
    form = "prompt encoder"
    if len(found) == 1:
        (prompt,) = found.values()
        if prompt.kind == KEY_VALUE:
            return make_key_value_bundle(state.name, form, prompt.rows, state, notes)
        if not prompt.applied:
            notes = (
                "without adapter_config.json it is unknown whether these are input embeddings or keys and values: use "
                "both files",
            )
        tensors, kind = {"P": NamedAxesArray(prompt.rows, ("m", "d"))}, INPUT
    else:
        if others := [name for name, prompt in found.items() if prompt.kind != INPUT]:
            raise CheckpointError(
                f"{safe_text(state.name)}: expected one prefix encoder; got {len(found)}: {safe_list(list(found))}. "
                f"Save {safe_text(others[0])} alone"
            )
        tensors, kind = {safe_text(n): NamedAxesArray(prompt.rows, ("m", "d")) for n, prompt in found.items()}, LIBRARY
    widths = {values.array.shape[1] for values in tensors.values()}
    uses = list_capabilities(kind, widths.pop() if len(widths) == 1 else None)
    return PromptBundle(state.name, form, kind, tensors, state.description(), notes, uses)


def encode(state: StoredTensors, prefix: str) -> EncodedPrompt:
    """Return the prompt of the encoder whose tensors begin with ``prefix``.

    Raises:
        CheckpointError: if the shapes do not fit.
    """
    rows = to_prompt_matrix(prefix + "embedding.weight", state.tensors[prefix + "embedding.weight"]).array
    if prefix + "transform.0.weight" in state.tensors:
        return EncodedPrompt(KEY_VALUE, apply_mlp(state, rows, prefix + "transform", np.tanh), True)
    hidden = apply_mlp(state, apply_lstm(state, rows, prefix + "lstm_head."), prefix + "mlp_head")
    return EncodedPrompt(INPUT, hidden, hidden is not rows)


def _relu(hidden: Array) -> Array:
    return np.maximum(hidden, 0)


def apply_mlp(state: StoredTensors, rows: Array, prefix: str, activation: Callable[[Array], Array] = _relu) -> Array:
    """Return linear layers 0, 2, 4 ... of the named MLP applied, an activation between them; ``rows`` without any.

    Raises:
        CheckpointError: if the shapes do not fit.
    """
    hidden, index = rows, 0
    while (weight := state.tensors.get(f"{prefix}.{index}.weight")) is not None:
        bias = state.tensors.get(f"{prefix}.{index}.bias")
        if (
            weight.ndim != 2
            or weight.shape[1] != hidden.shape[1]
            or (bias is not None and bias.shape != weight.shape[:1])
        ):
            raise CheckpointError(
                f"{safe_text(prefix)}.{index}: expected a layer for vectors of width {hidden.shape[1]}; got the shape "
                f"{weight.shape}"
            )
        check_scalars(safe_text(prefix), len(rows) * weight.shape[0], weight.size, LIMITS.computed)
        hidden = (activation(hidden) if index else hidden) @ weight.T + (0 if bias is None else bias)
        index += 2
    return to_finite_float32(prefix, hidden) if index else rows


def apply_lstm(state: StoredTensors, rows: Array, prefix: str) -> Array:
    """Return the LSTM whose tensors begin with ``prefix`` applied to the rows; ``rows`` without one.

    Raises:
        CheckpointError: if the shapes do not fit.
    """
    weights = {name.removeprefix(prefix): array for name, array in state.tensors.items() if name.startswith(prefix)}
    if not weights:
        return rows
    import torch

    try:
        hidden_size = weights["weight_hh_l0"].shape[1]
        lstm = torch.nn.LSTM(
            rows.shape[1],
            hidden_size,
            num_layers=sum(re.fullmatch(r"weight_ih_l\d+", name) is not None for name in weights),
            bidirectional="weight_ih_l0_reverse" in weights,
            batch_first=True,
        )
        lstm.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in weights.items()})
        with torch.no_grad():
            found = lstm(torch.from_numpy(rows.copy())[None])[0][0]
    except (RuntimeError, ValueError, KeyError, IndexError) as error:
        raise CheckpointError(
            f"{safe_text(prefix)}: expected an LSTM that fits its table; the shapes differ"
        ) from error
    return to_finite_float32(prefix, found.numpy())
