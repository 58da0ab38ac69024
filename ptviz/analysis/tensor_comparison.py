r"""Comparisons of a method's tensors: the energy that several prompts share, and two tensors row by row.

The energy of a prompt is its squared Frobenius norm. With :math:`\bar P` the mean of k prompts, it splits exactly:

.. math:: \sum_j \|P_j\|^2 = k \|\bar P\|^2 + \sum_j \|P_j - \bar P\|^2

The sums of squares of an analysis of variance: Scheffé, "The Analysis of Variance", 1959, chapter 3.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True, eq=False)
class SharedEnergy:
    """The share of the energy of k prompts that is in their distances from the mean prompt.

    ``own_shares`` (k) are those of each prompt: the energy of its distance over the sum of this energy and the mean
    prompt's (0: equal to the mean; towards 1: far from it). ``total_share`` is that of all together (0: equal prompts;
    1: their mean is zero).
    """

    own_shares: Float[np.ndarray, " k"]
    total_share: float


@dataclass(frozen=True, eq=False)
class RowComparison:
    """Two tensors row by row: the L2 norms of both, and the cosines between them.

    With the second as the first plus a difference, ``difference_shares`` is the energy of the difference over the sum
    of its energy and the first's (0: equal rows; 1/2: as large as the first; towards 1: much larger than the first);
    ``total_difference_share`` is that of all rows together.
    """

    first_norms: Float[np.ndarray, " n"]
    second_norms: Float[np.ndarray, " n"]
    cosines: Float[np.ndarray, " n"]
    difference_shares: Float[np.ndarray, " n"]
    total_difference_share: float


def compute_shared_energy(prompts: Float[np.ndarray, "k m d"]) -> SharedEnergy:
    """Compute the share of energy that each of k prompts does not share with the others; 0 for prompts of zeros."""
    x = np.asarray(prompts, dtype=np.float64)
    if not x.size:
        return SharedEnergy(np.zeros(len(x)), 0.0)
    own, shared = ((x - x.mean(0)) ** 2).sum((1, 2)), (x.mean(0) ** 2).sum()
    # Not over the prompt's own energy: a prompt shorter than the mean is farther from it than from zero.
    total = _safe_ratio(own.sum(keepdims=True), own.sum(keepdims=True) + len(x) * shared)
    return SharedEnergy(own_shares=_safe_ratio(own, own + shared), total_share=float(total[0]))


def compare_rows(first: Float[np.ndarray, "n d"], second: Float[np.ndarray, "rows columns"]) -> RowComparison:
    """Compare two tensors of one shape row by row.

    Raises:
        ValueError: if the shapes differ.
    """
    if first.shape != second.shape:
        raise ValueError(f"expected two tensors of one shape; got {first.shape} and {second.shape}")
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    first_norms, second_norms = np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)
    difference = ((b - a) ** 2).sum(1)
    energy = first_norms**2 + difference
    total = _safe_ratio(difference.sum(keepdims=True), energy.sum(keepdims=True))
    return RowComparison(
        first_norms=first_norms,
        second_norms=second_norms,
        cosines=_safe_ratio((a * b).sum(1), first_norms * second_norms),
        difference_shares=_safe_ratio(difference, energy),
        total_difference_share=float(total[0]),
    )


def _safe_ratio(part: Float[np.ndarray, " n"], total: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Return part / total; 0 where the total is 0."""
    ratio: Float[np.ndarray, " n"] = np.where(total > 0, part / np.where(total > 0, total, 1.0), 0.0)
    return ratio
