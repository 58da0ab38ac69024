"""Large arrays in the messages between a page and the worker."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float


def encode_array(values: Float[np.ndarray, ...]) -> str:
    """Encode shares as text, with 11 bits each: a page shows three digits."""
    return base64.b64encode(values.astype("<f2").tobytes()).decode()


def decode_array(packed: str, shape: Sequence[int]) -> Float[np.ndarray, ...]:
    """Decode the text of ``encode_array`` to float32."""
    flat = np.frombuffer(base64.b64decode(packed), dtype="<f2")
    return flat.reshape(tuple(shape)).astype(np.float32)
