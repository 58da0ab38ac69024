"""Load a saved state into a method."""

from __future__ import annotations

from torch import Tensor

from ptviz.methods.base import PromptMethod
from ptviz.methods.static_prompt import StaticPrompt
from ptviz.runs.run_file_io import StoreError
from ptviz.runs.snapshots import read_merged_names


def load_state(method: PromptMethod, state: dict[str, Tensor]) -> None:
    """Load a state dict into a method.

    Raises:
        StoreError: if the shapes belong to another method, backbone or other hyperparameters.
    """
    try:
        method.load_state_dict(state)
    except RuntimeError as error:
        details = " ".join(str(error).split())
        title = method.card.title
        raise StoreError(
            f"the snapshot does not fit {title} with these settings: use the same backbone and sizes. {details}"
        ) from error


def restore_method(method: PromptMethod, state: dict[str, Tensor]) -> PromptMethod:
    """Return the method with a state loaded into it; a static prompt where the state is a merged prompt.

    Raises:
        StoreError: if the shapes belong to another method, backbone or other hyperparameters.
    """
    if not (merged := read_merged_names(state)):
        load_state(method, state)
        return method
    embeddings = next((one[None] for one in merged.values() if one.ndim == 2), None)
    key_values = next((one[:, :, None] for one in merged.values() if one.ndim == 5), None)
    try:
        return StaticPrompt(method.card, method.slots, embeddings, key_values)
    except ValueError as error:
        raise StoreError(f"the snapshot does not fit {method.card.title} with these settings: {error}") from error
