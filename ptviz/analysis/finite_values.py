"""A check that the vectors of a prompt are numbers, before a library fails on them in words of its own."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float


def check_finite(tokens: Float[np.ndarray, "... m d"], whose: str = "") -> None:
    """Check that all values of a prompt are finite; ``whose`` says which of several prompts is meant.

    Raises:
        ValueError: naming the first prompt token that has another value.
    """
    bad = np.argwhere(~np.isfinite(tokens).all(-1))
    if len(bad):
        raise ValueError(
            f"prompt token {bad[0][-1]}{whose} is not a finite number in every dimension: choose an "
            "earlier step, or train again with a smaller learning rate"
        )
