"""Where trained keys and values start: at random, or as the frozen backbone's own of real words."""

from __future__ import annotations

from typing import Annotated, Literal

from ptviz.methods.hyperparameters import Hyperparameter

KeyValueInit = Annotated[
    Literal["random", "vocabulary", "labels", "text"],
    Hyperparameter(
        "init",
        "first keys and values: random, or the backbone's own of sampled words, of the class labels or of a text",
        added_later=True,
    ),
]
KeyValueText = Annotated[str, Hyperparameter("text", "first words, for the initialisation text", added_later=True)]
