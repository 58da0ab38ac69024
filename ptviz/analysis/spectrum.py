"""The spectrum of a matrix: singular values, effective rank, best low-rank approximation.

Best approximation: Eckart and Young, "The approximation of one matrix by another of lower rank", Psychometrika 1936,
https://doi.org/10.1007/BF02288367. Effective rank: ``ptviz.prompt_statistics``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ptviz.prompt_statistics import effective_rank, is_collapsed


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Singular values of a matrix of ``rows`` x ``columns``, largest first, and measures of them.

    ``approximation_errors[r]`` is the relative Frobenius error of the best approximation of rank r (0 to 1; 1 for
    rank 0). ``centred`` is whether the mean row was subtracted first.
    """

    values: Float[np.ndarray, " n"]
    approximation_errors: Float[np.ndarray, " ranks"]
    effective_rank: float
    rows: int
    columns: int
    centred: bool = False

    @property
    def max_rank(self) -> int:
        """Return the largest rank that a matrix of this shape can have."""
        return max(min(self.rows - self.centred, self.columns), 0)

    @property
    def is_collapsed(self) -> bool:
        """Return whether the effective rank is under a tenth of the largest possible one, if that is 10 or more."""
        return is_collapsed(self.effective_rank, self.max_rank)


def compute_spectrum(matrix: Float[np.ndarray, "rows columns"], *, centred: bool = False) -> Spectrum:
    """Compute the spectrum of a matrix, such as a prompt (m, d); ``centred`` subtracts the mean row first.

    A matrix of zeros has effective rank 0.
    """
    x = np.asarray(matrix, dtype=np.float64)
    rank = effective_rank(x, centred=centred)
    if centred and len(x):
        x = x - x.mean(0)
    values = np.linalg.svd(x, compute_uv=False) if x.size else np.zeros(0)
    energy = values**2
    total = float(energy.sum())
    remaining = np.concatenate([np.cumsum(energy[::-1])[::-1], [0.0]])
    return Spectrum(
        values=values,
        approximation_errors=np.sqrt(remaining / total) if total > 0 else np.zeros(len(values) + 1),
        effective_rank=rank,
        rows=x.shape[0],
        columns=x.shape[1],
        centred=centred,
    )


def low_rank_approximation(matrix: Float[np.ndarray, "rows columns"], rank: int) -> Float[np.ndarray, "rows columns"]:
    """Return the nearest matrix of at most ``rank`` in the Frobenius norm (Eckart and Young 1936).

    Raises:
        ValueError: if ``rank`` is negative.
    """
    if rank < 0:
        raise ValueError(f"expected a rank of 0 or more; got {rank}")
    left, values, right = np.linalg.svd(np.asarray(matrix, dtype=np.float64), full_matrices=False)
    nearest: Float[np.ndarray, "rows columns"] = (left[:, :rank] * values[:rank]) @ right[:rank]
    return nearest
