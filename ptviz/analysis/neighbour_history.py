"""Neighbours of prompt tokens in the vocabulary over steps: their ranks, and how many of them stay."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from ptviz.nearest_tokens import NeighbourMetric, Neighbours, check_widths, iterate_scores, nearest_tokens


def neighbour_ranks(
    vectors: Float[np.ndarray, "m d"],
    vocabulary: Float[np.ndarray, "V d"],
    ids: Int[np.ndarray, " m"],
    metric: NeighbourMetric = "cosine",
) -> Int[np.ndarray, " m"]:
    """Return the rank of one given token (m) among all neighbours of each vector; 1 is the nearest.

    Raises:
        ValueError: for an unknown metric or widths that differ.
    """
    check_widths(vectors, vocabulary, metric)
    token = np.asarray(vocabulary[ids], dtype=np.float32)
    own = np.concatenate(
        [next(iterate_scores(vectors[i : i + 1], token[i : i + 1], metric))[1][:, 0] for i in range(len(ids))]
        or [np.zeros(0, dtype=np.float32)]
    )
    nearer = np.zeros(len(vectors), dtype=np.int64)
    for start, closeness in iterate_scores(vectors, vocabulary, metric):
        # Sums are taken in another order here: rounding must not let the token outrank itself.
        inside = (ids >= start) & (ids < start + closeness.shape[1])
        closeness[np.flatnonzero(inside), ids[inside] - start] = -np.inf
        nearer += (closeness > own[:, None]).sum(1)
    return nearer + 1


def nearest_tokens_over_steps(
    values: Sequence[Float[np.ndarray, "m d"]],
    vocabulary: Float[np.ndarray, "V d"],
    k: int = 5,
    metric: NeighbourMetric = "cosine",
) -> list[Neighbours]:
    """Return ``nearest_tokens`` of m vectors at every step, reading the vocabulary once for all steps.

    Raises:
        ValueError: as ``nearest_tokens``.
    """
    if not len(values):
        return []
    m, found = len(values[0]), nearest_tokens(np.concatenate(values), vocabulary, k, metric)
    return [
        Neighbours(metric, found.ids[i * m : i * m + m], found.scores[i * m : i * m + m]) for i in range(len(values))
    ]


def neighbour_ranks_over_steps(
    values: Sequence[Float[np.ndarray, "m d"]],
    vocabulary: Float[np.ndarray, "V d"],
    ids: Int[np.ndarray, " m"],
    metric: NeighbourMetric = "cosine",
) -> Int[np.ndarray, "m steps"]:
    """Return ``neighbour_ranks`` of m vectors at every step, reading the vocabulary once for all steps.

    Raises:
        ValueError: as ``neighbour_ranks``.
    """
    count = len(values)
    if not count:
        return np.zeros((len(ids), 0), dtype=np.int64)
    ranks: Int[np.ndarray, "m steps"] = neighbour_ranks(np.concatenate(values), vocabulary, np.tile(ids, count), metric)
    return ranks.reshape(count, -1).T


def neighbour_overlap(before: Neighbours, after: Neighbours) -> Float[np.ndarray, " m"]:
    """Return the share (0 to 1) of each vector's neighbours before that are also among its neighbours after.

    Raises:
        ValueError: if the two differ in the number of vectors or neighbours.
    """
    if before.ids.shape != after.ids.shape:
        raise ValueError(f"expected neighbours of one shape; got {before.ids.shape} and {after.ids.shape}")
    pairs = zip(before.ids.tolist(), after.ids.tolist(), strict=True)
    return np.array([len(set(a) & set(b)) / len(a) for a, b in pairs], dtype=np.float64)
