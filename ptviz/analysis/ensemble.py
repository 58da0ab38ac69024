"""Several prompts for one task as one classifier: a vote of their predictions, or the mean of their probabilities.

Source: Lester, Al-Rfou and Constant 2021, section 6 (prompt ensembling: N prompts of different seeds, one frozen model,
simple majority voting), https://aclanthology.org/2021.emnlp-main.243. The paper does not say how ties are broken: here
by the larger mean probability.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

TIE_RULE = "a tie goes to the class of the larger mean probability"


@dataclass(frozen=True)
class EnsembleScores:
    """Accuracies on the same rows: of each member, of the vote, and of the class of the largest mean probability."""

    members: tuple[float, ...]
    vote: float
    mean_probability: float

    @property
    def mean(self) -> float:
        """Return the mean accuracy of the members."""
        return float(np.mean(self.members))

    @property
    def best(self) -> float:
        """Return the accuracy of the best member, which was selected on these rows."""
        return max(self.members)


def count_votes(probabilities: Float[np.ndarray, "R n c"]) -> Int[np.ndarray, "n c"]:
    """Return how many of the R members predict each class for each row.

    Raises:
        ValueError: without a member or a class.
    """
    members = np.asarray(probabilities, dtype=np.float64)
    if members.ndim != 3 or not members.shape[0] or not members.shape[2]:
        raise ValueError(f"expected probabilities of shape (members, rows, classes); got {members.shape}")
    return np.stack([(members.argmax(2) == c).sum(0) for c in range(members.shape[2])], 1)


def vote(probabilities: Float[np.ndarray, "R n c"]) -> Int[np.ndarray, " n"]:
    """Return the class that most of the R members predict for each row; see ``TIE_RULE``.

    Raises:
        ValueError: without a member or a class.
    """
    counts, means = count_votes(probabilities), np.asarray(probabilities, dtype=np.float64).mean(0)
    # Mean probabilities are at most 1, so half of one decides between equal counts only.
    found: Int[np.ndarray, " n"] = (counts + means / 2).argmax(1)
    return found


def score_ensemble(probabilities: Float[np.ndarray, "R n c"], labels: Sequence[int]) -> EnsembleScores:
    """Return the accuracies of the members, of their vote and of their mean probability.

    Raises:
        ValueError: without a member, a class or a row, or if the rows and labels differ in number.
    """
    members, truth = np.asarray(probabilities, dtype=np.float64), np.asarray(labels)
    voted = vote(members)
    if len(truth) != len(voted) or not len(truth):
        raise ValueError(f"expected a label for each of {len(voted)} rows, at least one; got {len(truth)}")
    own = tuple(float(one) for one in (members.argmax(2) == truth).mean(1))
    mean = members.mean(0).argmax(1)
    return EnsembleScores(own, float((voted == truth).mean()), float((mean == truth).mean()))
