r"""Parts of a method against each other: what several prompts share, and how far one part is from another.

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
    """What k prompts have for themselves: ``own`` (k) is the share of each one's energy in its distance from the mean.

    ``total`` is that of all of them together (0: all the same; 1: nothing in common).
    """

    own_shares: Float[np.ndarray, " k"]
    total_share: float


@dataclass(frozen=True, eq=False)
class RowComparison:
    """Two parts row by row: the lengths of both, and the cosines between them.

    With the second as the first plus a difference, ``apart`` is the difference's share of the energy of these two, and
    ``share`` that of all rows together (0: the same; 1/2: as large as the first; 1: the first is nothing beside it).
    """

    first_norms: Float[np.ndarray, " n"]
    second_norms: Float[np.ndarray, " n"]
    cosines: Float[np.ndarray, " n"]
    difference_shares: Float[np.ndarray, " n"]
    total_difference_share: float


def compute_shared_energy(prompts: Float[np.ndarray, "k m d"]) -> SharedEnergy:
    """How much of each of k prompts is its own, and not shared with the others; prompts of zeros own nothing."""
    x = np.asarray(prompts, dtype=np.float64)
    if not x.size:
        return SharedEnergy(np.zeros(len(x)), 0.0)
    energy = (x**2).sum((1, 2))
    apart = ((x - x.mean(0)) ** 2).sum((1, 2))
    return SharedEnergy(
        _safe_ratio(apart, energy), float(_safe_ratio(apart.sum(keepdims=True), energy.sum(keepdims=True))[0])
    )


def compare_rows(first: Float[np.ndarray, "n d"], second: Float[np.ndarray, "rows columns"]) -> RowComparison:
    """Compare two parts of one shape row by row.

    Raises:
        ValueError: if the shapes differ.
    """
    if first.shape != second.shape:
        raise ValueError(f"expected two parts of one shape; got {first.shape} and {second.shape}")
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    lengths = np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)
    cosines = _safe_ratio((a * b).sum(1), lengths[0] * lengths[1])
    apart = ((b - a) ** 2).sum(1)
    energy = lengths[0] ** 2 + apart
    share = _safe_ratio(apart.sum(keepdims=True), energy.sum(keepdims=True))
    return RowComparison(*lengths, cosines, _safe_ratio(apart, energy), float(share[0]))


def _safe_ratio(part: Float[np.ndarray, " n"], whole: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Shares; 0 where there is nothing to share."""
    found: Float[np.ndarray, " n"] = np.where(whole > 0, part / np.where(whole > 0, whole, 1.0), 0.0)
    return found
