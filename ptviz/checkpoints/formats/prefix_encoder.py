"""Prefix encoders as saved by P-Tuning v2, ChatGLM and PANDA: a table, with or without an MLP to apply.

``prefix_encoder.embedding.weight`` (m, S * 2 * H * h), or (m, width) followed by ``prefix_encoder.trans.{0,2}``:
linear, tanh, linear. https://github.com/THUDM/P-Tuning-v2 (model/prefix_encoder.py).
"""

from __future__ import annotations

import numpy as np

from ptviz.checkpoints.bundle import PromptBundle
from ptviz.checkpoints.formats.named_tensors import (
    StoredTensors,
    describe_left_out,
    make_key_value_bundle,
    to_prompt_matrix,
)
from ptviz.checkpoints.formats.prompt_encoder import APPLIED, apply_mlp

_TABLE = "prefix_encoder.embedding.weight"


def detect(state: StoredTensors) -> bool:
    """Return whether the file has a prefix encoder's table."""
    return bool(state.name_ending_in(_TABLE))


def read_prefix_encoder(state: StoredTensors) -> PromptBundle:
    """Return keys and values, with the MLP applied if there is one.

    Raises:
        CheckpointError: if the MLP's shapes do not fit the table.
    """
    name = state.name_ending_in(_TABLE)
    rows = to_prompt_matrix(name, state.tensors[name]).array
    encoded = apply_mlp(state, rows, name.removesuffix("embedding.weight") + "trans", np.tanh)
    notes: tuple[str, ...] = () if encoded is rows else (APPLIED,)
    notes += describe_left_out([other for other in state.names_ending_in(_TABLE) if other != name])
    return make_key_value_bundle(state.name, "prefix encoder (P-Tuning v2)", encoded, state, notes)
