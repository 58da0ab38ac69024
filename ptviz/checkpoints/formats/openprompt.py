"""OpenPrompt's templates in a model's state dict: https://github.com/thunlp/OpenPrompt (openprompt/prompts).

SoftTemplate ``soft_embeds``; MixedTemplate ``soft_embedding.weight`` (row 0 is never used); PtuningTemplate
``new_embedding.weight`` with an LSTM and MLP, or an MLP alone, applied here; PrefixTuningTemplate ``wte.weight`` with
``control_trans``, also applied.
"""

from __future__ import annotations

import numpy as np

from ptviz.checkpoints.bundle import INPUT, NamedAxesArray, PromptBundle, list_capabilities
from ptviz.checkpoints.formats.named_tensors import (
    StoredTensors,
    describe_left_out,
    make_key_value_bundle,
    to_prompt_matrix,
)
from ptviz.checkpoints.formats.prompt_encoder import APPLIED, apply_lstm, apply_mlp

TENSOR_NAMES = ("soft_embeds", "soft_embedding.weight", "new_embedding.weight")


def detect(state: StoredTensors) -> bool:
    """Return whether the file has a tensor of one of the templates."""
    return any(state.name_ending_in(name) for name in TENSOR_NAMES) or _is_prefix(state)


def _is_prefix(state: StoredTensors) -> bool:
    return bool(state.name_ending_in("wte.weight") and state.name_ending_in("control_trans.0.weight"))


def read_openprompt(state: StoredTensors) -> PromptBundle:
    """Return the template's prompt, with its encoder applied.

    Raises:
        CheckpointError: if the encoder's shapes do not fit.
    """
    if _is_prefix(state):
        return _read_prefix(state)
    kind = next(kind for kind in TENSOR_NAMES if state.name_ending_in(kind))
    name = state.name_ending_in(kind)
    rows, notes = to_prompt_matrix(name, state.tensors[name]).array, []
    if kind == "soft_embedding.weight" and len(rows) > 1:
        rows = rows[1:]
        notes.append("row 0 of a MixedTemplate's table is never used: excluded")
    tensors = {"P": NamedAxesArray(rows, ("m", "d"))}
    if kind == "new_embedding.weight":
        prefix = name.removesuffix(kind)
        encoded = apply_mlp(state, apply_lstm(state, rows, prefix + "new_lstm_head."), prefix + "new_mlp_head")
        if encoded is not rows:
            tensors = {"P": NamedAxesArray(encoded, ("m", "d")), "table": NamedAxesArray(rows, ("rows", "d"))}
            notes.append(f"{APPLIED}; table holds the trained parameters")
    notes += describe_left_out([other for other in state.names_ending_in(kind) if other != name])
    form = f"OpenPrompt {kind.split('.')[0]}"
    width = tensors["P"].array.shape[1]
    return PromptBundle(
        state.name, form, INPUT, tensors, state.description(), tuple(notes), list_capabilities(INPUT, width)
    )


def _read_prefix(state: StoredTensors) -> PromptBundle:
    name = state.name_ending_in("wte.weight")
    encoded = apply_mlp(
        state,
        to_prompt_matrix(name, state.tensors[name]).array,
        state.name_ending_in("control_trans.0.weight").removesuffix(".0.weight"),
        np.tanh,
    )
    notes = [APPLIED]
    if any("decoder_control_trans" in name for name in state.tensors):
        notes.append("the decoder's own prefix (decoder_control_trans) is not shown")
    return make_key_value_bundle(state.name, "OpenPrompt prefix", encoded, state, tuple(notes))
