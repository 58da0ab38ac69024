"""Dropout on trained keys and values, drawn for every example by itself."""

from __future__ import annotations

from typing import Annotated

from jaxtyping import Float
from torch import Tensor, nn

from ptviz.methods.hyperparameters import Hyperparameter

Dropout = Annotated[float, Hyperparameter("dropout", "share of key and value entries dropped while training", 0.0, 0.9)]


def drop_per_example(
    key_values: Float[Tensor, "S 2 H m h"], dropout: nn.Dropout, examples: int
) -> Float[Tensor, "S 2 #B H m h"]:
    """Return keys and values with a mask of their own for each example; batch axis 1 where nothing is dropped.

    Source: the released code of P-Tuning v2 and of prefix tuning, which expand to the batch before they drop.
    """
    shared = key_values[:, :, None]
    if not dropout.training or dropout.p == 0:
        return shared
    dropped: Tensor = dropout(shared.expand(-1, -1, examples, -1, -1, -1))
    return dropped
