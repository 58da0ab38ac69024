"""The importance of each prompt token: the change of loss and accuracy without it, and XPrompt's first-order score.

Ma et al., "XPrompt: Exploring the Extreme of Prompt Tuning", EMNLP 2022, section 3.
https://aclanthology.org/2022.emnlp-main.758
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int


@dataclass(frozen=True, eq=False)
class TokenImportance:
    """For each measured token its index, and the change of loss (nats) and accuracy (-1 to 1) without it.

    ``scores`` are the first-order scores of the same tokens in nats, if they were computed: E |dL/dgamma|, the change
    of the loss by linear extrapolation. ``rank_correlation`` is Spearman's, between the absolute loss changes and the
    scores; None with fewer than three tokens, or where all are equal.
    """

    tokens: Int[np.ndarray, " n"]
    loss_increases: Float[np.ndarray, " n"]
    accuracy_changes: Float[np.ndarray, " n"]
    scores: Float[np.ndarray, " n"] | None
    rank_correlation: float | None


def compute_importance(
    losses: Sequence[float],
    accuracies: Sequence[float],
    loss: float,
    accuracy: float,
    scores: Sequence[float] = (),
) -> TokenImportance:
    """Compute the importance of the first n tokens.

    ``losses`` (nats) and ``accuracies`` are those without each token, ``loss`` and ``accuracy`` those of the prompt
    with all tokens.

    Raises:
        ValueError: if losses and accuracies differ in number, or there are fewer scores than tokens.
    """
    n = len(losses)
    if len(accuracies) != n or 0 < len(scores) < n:
        raise ValueError(f"expected {n} accuracies and scores; got {len(accuracies)} and {len(scores)}")
    increases = np.asarray(losses, dtype=np.float64) - loss
    first_order = np.asarray(scores[:n], dtype=np.float64) if scores else None
    return TokenImportance(
        tokens=np.arange(n),
        loss_increases=increases,
        accuracy_changes=np.asarray(accuracies, dtype=np.float64) - accuracy,
        scores=first_order,
        rank_correlation=None if first_order is None else _rank_correlation(np.abs(increases), first_order),
    )


def _rank_correlation(a: np.ndarray, b: np.ndarray) -> float | None:
    from scipy.stats import spearmanr

    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    return float(spearmanr(a, b).statistic)
