"""Load a saved state into a method."""

from __future__ import annotations

from torch import Tensor

from ptviz.methods.base import PromptMethod
from ptviz.runs.atomic_io import StoreError


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
