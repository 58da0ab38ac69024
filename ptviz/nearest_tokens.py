"""The vocabulary tokens nearest to some vectors, as in Lester et al. 2021, section 7.

Lester, Al-Rfou and Constant, "The Power of Scale for Parameter-Efficient Prompt Tuning", EMNLP 2021,
https://aclanthology.org/2021.emnlp-main.243. They use cosine; dot product and L2 show how the result depends on it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float, Int

NeighbourMetric = Literal["cosine", "dot", "L2"]
NEIGHBOUR_METRICS: tuple[NeighbourMetric, ...] = get_args(NeighbourMetric)
CHUNK_ROWS = 8192
"""Vocabulary rows compared at a time: a table on disk is never loaded completely."""


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The k nearest tokens of each of m vectors, nearest first: ``ids`` and their ``scores``.

    Scores are cosines (-1 to 1), dot products, or L2 distances, the last in the unit of the vectors.
    """

    metric: NeighbourMetric
    ids: Int[np.ndarray, "m k"]
    scores: Float[np.ndarray, "m k"]


def nearest_tokens(
    vectors: Float[np.ndarray, "m d"],
    vocabulary: Float[np.ndarray, "V _"],
    k: int = 5,
    metric: NeighbourMetric = "cosine",
) -> Neighbours:
    """Return the k tokens nearest to each vector; fewer if the vocabulary is smaller. Reads the vocabulary in chunks.

    Raises:
        ValueError: for an unknown metric, a k below 1, or widths that differ.
    """
    check_widths(vectors, vocabulary, metric)
    if k < 1:
        raise ValueError(f"expected at least one neighbour; got k={k}")
    ids = np.zeros((len(vectors), 0), dtype=np.int64)
    best = np.zeros((len(vectors), 0), dtype=np.float32)
    for start, closeness in iterate_scores(vectors, vocabulary, metric):
        here = np.broadcast_to(np.arange(start, start + closeness.shape[1]), closeness.shape)
        ids, best = np.concatenate([ids, here], 1), np.concatenate([best, closeness], 1)
        count = min(k, best.shape[1])
        order = np.argpartition(-best, count - 1, axis=1)[:, :count]
        ids, best = np.take_along_axis(ids, order, 1), np.take_along_axis(best, order, 1)
    order = np.argsort(-best, axis=1, kind="stable")
    ids, best = np.take_along_axis(ids, order, 1), np.take_along_axis(best, order, 1)
    if metric == "L2":
        # Computed again for the k returned: the expanded square loses digits where distances are small.
        best = np.linalg.norm(vocabulary[ids] - np.asarray(vectors, dtype=np.float32)[:, None], axis=2)
    return Neighbours(metric, ids, best)


def check_widths(vectors: np.ndarray, vocabulary: np.ndarray, metric: str) -> None:
    """Check that there is such a metric, and that vectors are as wide as the vocabulary.

    Raises:
        ValueError: if not.
    """
    if metric not in NEIGHBOUR_METRICS:
        raise ValueError(f"expected a metric of {', '.join(NEIGHBOUR_METRICS)}; got {metric!r}")
    if vectors.shape[1] != vocabulary.shape[1]:
        raise ValueError(f"expected vectors as wide as the vocabulary, {vocabulary.shape[1]}; got {vectors.shape[1]}")


def iterate_scores(
    vectors: np.ndarray, vocabulary: np.ndarray, metric: NeighbourMetric
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (first id, scores (m, chunk)) per chunk of the vocabulary; scores are larger for nearer tokens."""
    x = np.asarray(vectors, dtype=np.float32)
    if metric == "cosine":
        x = normalise_rows(x)
    for start in range(0, len(vocabulary), CHUNK_ROWS):
        rows = np.asarray(vocabulary[start : start + CHUNK_ROWS], dtype=np.float32)
        if metric == "cosine":
            rows = normalise_rows(rows)
        product = x @ rows.T
        yield start, product if metric != "L2" else 2 * product - (rows**2).sum(1)


def normalise_rows(rows: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
    """Return rows scaled to length 1; a row of zeros stays unchanged."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    scaled: Float[np.ndarray, "n d"] = rows / np.where(lengths > 0, lengths, 1)
    return scaled
