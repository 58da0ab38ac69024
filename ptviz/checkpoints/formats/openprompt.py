"""OpenPrompt's templates in a model's state dict: https://github.com/thunlp/OpenPrompt (openprompt/prompts).

SoftTemplate ``soft_embeds``; MixedTemplate ``soft_embedding.weight`` (row 0 is never used); PtuningTemplate
``new_embedding.weight`` with an LSTM and MLP, or an MLP alone, applied here; PrefixTuningTemplate ``wte.weight`` with
``control_trans``, also applied.
"""

from __future__ import annotations

import re

import numpy as np

from ptviz.checkpoints.bundle import INPUT, Array, NamedAxesArray, PromptBundle, list_capabilities
from ptviz.checkpoints.containers.arrays import to_finite_float32
from ptviz.checkpoints.errors import CheckpointError
from ptviz.checkpoints.formats.prefix_encoder import apply_mlp
from ptviz.checkpoints.formats.state_dict import StoredTensors, make_key_value_bundle, to_prompt_matrix

TENSOR_NAMES = ("soft_embeds", "soft_embedding.weight", "new_embedding.weight")


def detect(state: StoredTensors) -> bool:
    """Return whether the file has a tensor of one of the templates."""
    return any(state.tensor_ending_in(name) is not None for name in TENSOR_NAMES) or _is_prefix(state)


def _is_prefix(state: StoredTensors) -> bool:
    return (
        state.tensor_ending_in("wte.weight") is not None
        and state.tensor_ending_in("control_trans.0.weight") is not None
    )


def read_openprompt(state: StoredTensors) -> PromptBundle:
    """Return the template's prompt, with its encoder applied.

    Raises:
        CheckpointError: if the encoder's shapes do not fit.
    """
    if _is_prefix(state):
        return _read_prefix(state)
    name = next(name for name in TENSOR_NAMES if state.tensor_ending_in(name) is not None)
    found = state.tensor_ending_in(name)
    assert found is not None
    rows, notes = to_prompt_matrix(name, found).array, []
    if name == "soft_embedding.weight" and len(rows) > 1:
        rows = rows[1:]
        notes.append("row 0 of a MixedTemplate's table is never used: excluded")
    tensors = {"P": NamedAxesArray(rows, ("m", "d"))}
    if name == "new_embedding.weight":
        encoded = _apply_encoder(state, rows)
        if encoded is not rows:
            tensors = {"P": NamedAxesArray(encoded, ("m", "d")), "table": NamedAxesArray(rows, ("rows", "d"))}
            notes.append("its encoder was applied: P is the backbone's input, table holds the trained parameters")
    form = f"OpenPrompt {name.split('.')[0]}"
    width = tensors["P"].array.shape[1]
    return PromptBundle(
        state.name, form, INPUT, tensors, state.description(), tuple(notes), list_capabilities(INPUT, width)
    )


def _read_prefix(state: StoredTensors) -> PromptBundle:
    table = state.tensor_ending_in("wte.weight")
    assert table is not None
    encoded = apply_mlp(state, to_prompt_matrix("wte.weight", table).array, "control_trans")
    notes = ["its MLP was applied: these are the keys and values that the backbone used"]
    if any("decoder_control_trans" in name for name in state.tensors):
        notes.append("the decoder's own prefix (decoder_control_trans) is not shown")
    return make_key_value_bundle(state.name, "OpenPrompt prefix", encoded, state, tuple(notes))


def _apply_encoder(state: StoredTensors, rows: Array) -> Array:
    """Apply P-tuning's encoder: a two-layer bidirectional LSTM and an MLP with ReLU, or the MLP alone."""
    try:
        hidden = _apply_lstm(state, rows)
    except (RuntimeError, ValueError, KeyError) as error:
        raise CheckpointError("expected an LSTM (new_lstm_head) that fits its table; the shapes differ") from error
    layers = [state.tensor_ending_in(f"new_mlp_head.{index}.weight") for index in (0, 2)]
    biases = [state.tensor_ending_in(f"new_mlp_head.{index}.bias") for index in (0, 2)]
    if layers[0] is None or layers[1] is None:
        return hidden
    for layer, bias, last in ((layers[0], biases[0], False), (layers[1], biases[1], True)):
        if layer.ndim != 2 or layer.shape[1] != hidden.shape[1]:
            raise CheckpointError(f"expected an MLP for vectors of width {hidden.shape[1]}; got {layer.shape}")
        hidden = hidden @ layer.T + (0 if bias is None else bias)
        hidden = hidden if last else np.maximum(hidden, 0)
    return to_finite_float32("new_mlp_head", hidden)


def _apply_lstm(state: StoredTensors, rows: Array) -> Array:
    import torch

    weights = {
        name.rpartition("new_lstm_head.")[2]: torch.from_numpy(array.copy())
        for name, array in state.tensors.items()
        if "new_lstm_head." in name
    }
    if not weights:
        return rows
    layers = sum(re.fullmatch(r"weight_ih_l\d+", name) is not None for name in weights)
    hidden_size = weights["weight_hh_l0"].shape[1]
    lstm = torch.nn.LSTM(
        rows.shape[1], hidden_size, layers, bidirectional="weight_ih_l0_reverse" in weights, batch_first=True
    )
    lstm.load_state_dict(weights)
    with torch.no_grad():
        found = lstm(torch.from_numpy(rows.copy())[None])[0][0]
    return to_finite_float32("new_lstm_head", found.numpy())
