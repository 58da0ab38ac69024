"""Measure the rows of every prompt of a bundle, with work bounded whatever shapes an untrusted file has.

This runs in the confined process; what is left to the caller is linear in the size of the prompt.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ptviz.checkpoints.bundle import Array, Measurements
from ptviz.prompt_statistics import effective_rank, find_outliers

DEAD_NORM_SHARE = 1e-3
"""A row with a norm below this share of the median norm is dead."""
MAX_ROWS = 1024
"""Largest number of rows for the effective rank; of a longer matrix, as many evenly spaced rows."""
MAX_WORK = 16_000_000_000
"""Multiplications for the effective ranks of all prompts of a file, about: a few seconds of one core."""
_BLOCK = 16_384
_ROUNDING = 1e-24
"""Energy of centred rows that is rounding error, as a share of the energy before centring."""


def measure_prompts(matrices: Mapping[str, Array]) -> dict[str, Measurements]:
    """Return the measurements of matrices of prompt tokens ``(m, width)`` by name."""
    work = MAX_WORK // max(1, len(matrices))
    return {name: _measure(matrix, work) for name, matrix in matrices.items()}


def row_norms(matrix: Array) -> NDArray[np.float64]:
    """Return the norm of every row, without a copy of the matrix in float64."""
    norms: NDArray[np.float64] = np.sqrt(np.einsum("ij,ij->i", matrix, matrix, dtype=np.float64))
    return norms


def dead_rows(norms: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the rows whose norm is close to 0."""
    return np.flatnonzero(norms <= DEAD_NORM_SHARE * np.median(norms))


def outlier_rows(norms: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the rows whose norm is far above the median."""
    return np.flatnonzero(find_outliers(norms[:, None]))


def _measure(matrix: Array, work: int) -> Measurements:
    norms, rows = row_norms(matrix), np.arange(len(matrix))
    rest = np.setdiff1d(rows, [*outlier_rows(norms), *dead_rows(norms)])
    rank = _bounded_rank(matrix, rows, work)
    rest_rank = _bounded_rank(matrix, rest, work) if 1 < len(rest) < len(rows) else rank
    distinct = {hashlib.blake2b((row + np.float32(0)).tobytes(), digest_size=16).digest() for row in matrix}
    return Measurements(rank, rest_rank, len(matrix) - len(distinct))


def _bounded_rank(matrix: Array, rows: NDArray[np.intp], work: int) -> float:
    """Return the effective rank of the centred rows, or of as many evenly spaced ones as the work allows."""
    count, width = min(len(rows), MAX_ROWS), matrix.shape[1]
    while count > 2 and count * width * min(count, width) + 8 * min(count, width) ** 3 > work:
        count = max(2, count // 2)
    chosen = rows[np.linspace(0, len(rows) - 1, count).astype(int)]
    if width <= _BLOCK:
        return effective_rank(matrix[chosen], centred=True)
    # The rank follows from the Gram matrix alone, which needs no copy of all columns.
    gram, energy = np.zeros((count, count)), 0.0
    for start in range(0, width, _BLOCK):
        block = matrix[chosen, start : start + _BLOCK].astype(np.float64)
        energy += float((block**2).sum())
        block -= block.mean(0)
        gram += block @ block.T
    if np.trace(gram) <= _ROUNDING * energy:
        return 0.0
    values, vectors = np.linalg.eigh(gram)
    return effective_rank(vectors * np.sqrt(values.clip(0)))
