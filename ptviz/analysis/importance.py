"""What each prompt token is worth: measured by taking it away, beside XPrompt's first-order score of it.

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
    """Of each measured token: its number, and the rise of the loss (nats) and of accuracy (0 to 1) without it.

    ``scores`` are the first-order scores of the same tokens in nats, if they were computed: E |dL/dgamma|, how much
    the loss would change if it went on as it begins to. ``agreement`` is Spearman's rank correlation between the size
    of the measured rises and the scores; none with fewer than three tokens, or where all are alike.
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
    """Put measurements side by side: loss and accuracy without each of the first n tokens, and of the whole prompt.

    Raises:
        ValueError: if losses and accuracies differ in number, or there are fewer scores than tokens.
    """
    n = len(losses)
    if len(accuracies) != n or 0 < len(scores) < n:
        raise ValueError(f"expected {n} accuracies and scores; got {len(accuracies)} and {len(scores)}")
    rises = np.asarray(losses, dtype=np.float64) - loss
    first = np.asarray(scores[:n], dtype=np.float64) if scores else None
    agreement = None if first is None else _rank_correlation(np.abs(rises), first)
    return TokenImportance(np.arange(n), rises, np.asarray(accuracies, dtype=np.float64) - accuracy, first, agreement)


def _rank_correlation(a: np.ndarray, b: np.ndarray) -> float | None:
    from scipy.stats import spearmanr

    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    return float(spearmanr(a, b).statistic)
