"""Put a saved state into a method."""

from __future__ import annotations

from torch import Tensor

from ptviz.methods.base import PromptMethod
from ptviz.runs.atomic_io import StoreError


def load_state(method: PromptMethod, state: dict[str, Tensor]) -> None:
    """Put a state in a method.

    Raises:
        StoreError: if the shapes are those of another method, backbone or other knobs.
    """
    try:
        method.load_state_dict(state)
    except RuntimeError as error:
        told = " ".join(str(error).split())
        title = method.card.title
        raise StoreError(f"the snapshot does not fit {title} as set here: keep backbone and sizes. {told}") from error
