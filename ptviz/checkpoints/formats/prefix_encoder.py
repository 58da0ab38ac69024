"""Prefix encoders as saved by P-tuning v2, ChatGLM and PANDA: a table, with or without an MLP to apply.

``prefix_encoder.embedding.weight`` (m, S * 2 * H * h), or (m, width) followed by ``prefix_encoder.trans.{0,2}``:
linear, tanh, linear. https://github.com/THUDM/P-tuning-v2 (model/prefix_encoder.py).
"""

from __future__ import annotations

import numpy as np

from ptviz.checkpoints.bundle import Array, PromptBundle
from ptviz.checkpoints.containers.arrays import check_shape, to_finite_float32
from ptviz.checkpoints.errors import CheckpointError
from ptviz.checkpoints.formats.state_dict import StoredTensors, make_key_value_bundle, to_prompt_matrix


def detect(state: StoredTensors) -> bool:
    """Return whether the file has a prefix encoder's table."""
    return state.tensor_ending_in("prefix_encoder.embedding.weight") is not None


def read_prefix_encoder(state: StoredTensors) -> PromptBundle:
    """Return keys and values, with the MLP applied if there is one.

    Raises:
        CheckpointError: if the MLP's shapes do not fit the table.
    """
    table = state.tensor_ending_in("prefix_encoder.embedding.weight")
    assert table is not None
    rows = to_prompt_matrix("prefix_encoder.embedding.weight", table).array
    encoded = apply_mlp(state, rows, "prefix_encoder.trans")
    note = () if encoded is rows else ("its MLP was applied: these are the keys and values that the backbone used",)
    return make_key_value_bundle(state.name, "prefix encoder (P-tuning v2)", encoded, state, note)


def apply_mlp(state: StoredTensors, rows: Array, mlp: str) -> Array:
    """Return ``linear(tanh(linear(rows)))`` with layers 0 and 2 of the named MLP; ``rows`` if there is no MLP.

    Raises:
        CheckpointError: if the shapes do not fit.
    """
    layers = [
        (state.tensor_ending_in(f"{mlp}.{index}.weight"), state.tensor_ending_in(f"{mlp}.{index}.bias"))
        for index in (0, 2)
    ]
    (first, first_bias), (last, last_bias) = layers
    if first is None or last is None:
        return rows
    if first.ndim != 2 or last.ndim != 2 or first.shape[1] != rows.shape[1] or last.shape[1] != first.shape[0]:
        raise CheckpointError(
            f"expected an MLP for vectors of width {rows.shape[1]}; got layers {first.shape} and {last.shape}"
        )
    check_shape(mlp, (len(rows), last.shape[0]))
    hidden = rows @ first.T + (0 if first_bias is None else first_bias)
    return to_finite_float32(mlp, np.tanh(hidden) @ last.T + (0 if last_bias is None else last_bias))
