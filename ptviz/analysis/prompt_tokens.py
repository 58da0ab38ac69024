"""Prompt tokens and the vocabulary: norms, distances, pairwise cosines, outlier tokens.

Trained prompts tend to lie outside the cloud of word embeddings: Bailey et al., "Soft prompting might be a bug, not a
feature", ICML 2023 workshop on deployable generative AI, https://openreview.net/forum?id=MHWDdMEJ5s
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from ptviz.nearest_tokens import CHUNK_ROWS, nearest_tokens, normalise_rows
from ptviz.prompt_statistics import find_outliers

NORM_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
"""The quantiles of ``VocabularyStats``."""
_SAMPLE_SIZE = 300
"""Vocabulary tokens whose distance to their nearest other is computed: all of them would take V x V distances."""


@dataclass(frozen=True, eq=False)
class VocabularyStats:
    """Statistics of a vocabulary: quantiles ``NORM_QUANTILES`` of L2 norms and of L2 distances to the nearest token.

    The distances are those of a sample of 300 tokens, each to its nearest other token. Units are the embeddings'.
    """

    norm_quantiles: Float[np.ndarray, " bands"]
    distance_quantiles: Float[np.ndarray, " bands"]
    mean_embedding: Float[np.ndarray, " d"]


@dataclass(frozen=True, eq=False)
class PromptGeometry:
    """The geometry of m prompt tokens: L2 norms, L2 distances to the nearest vocabulary token, pairwise cosines.

    ``outliers`` are those of ``ptviz.prompt_statistics.find_outliers``; ``distances`` are NaN without a vocabulary.
    """

    norms: Float[np.ndarray, " m"]
    distances: Float[np.ndarray, " m"]
    cosines: Float[np.ndarray, "m m"]
    outliers: Bool[np.ndarray, " m"]
    vocabulary_stats: VocabularyStats | None = None

    @property
    def outside_vocabulary(self) -> Bool[np.ndarray, " m"]:
        """Return which tokens are farther from the vocabulary than 95% of its tokens from their nearest other."""
        if self.vocabulary_stats is None or not len(self.distances):
            return np.zeros(len(self.norms), dtype=bool)
        far: Bool[np.ndarray, " m"] = self.distances > self.vocabulary_stats.distance_quantiles[-1]
        return far


def compute_vocabulary_stats(vocabulary: Float[np.ndarray, "V d"], seed: int = 0) -> VocabularyStats:
    """Compute the statistics of a vocabulary in chunks: a table on disk may be larger than memory.

    Raises:
        ValueError: if it has fewer than two tokens.
    """
    count = len(vocabulary)
    if count < 2:
        raise ValueError(f"expected a vocabulary of at least two tokens; got {count}")
    norms, total = [], np.zeros(vocabulary.shape[1])
    for start in range(0, count, CHUNK_ROWS):
        rows = np.asarray(vocabulary[start : start + CHUNK_ROWS], dtype=np.float32)
        norms.append(np.linalg.norm(rows, axis=1))
        total += rows.sum(0, dtype=np.float64)
    drawn = np.sort(np.random.default_rng(seed).permutation(count)[:_SAMPLE_SIZE])
    # The nearest token of a token is itself: take the second.
    spacing = nearest_tokens(np.asarray(vocabulary[drawn], dtype=np.float32), vocabulary, 2, "L2").scores[:, 1]
    return VocabularyStats(
        np.quantile(np.concatenate(norms), NORM_QUANTILES), np.quantile(spacing, NORM_QUANTILES), total / count
    )


def compute_geometry(
    vectors: Float[np.ndarray, "m d"],
    vocabulary: Float[np.ndarray, "V d"] | None = None,
    vocabulary_stats: VocabularyStats | None = None,
) -> PromptGeometry:
    """Compute norms, cosines and outliers of m vectors; with a vocabulary also their distances to it.

    ``vocabulary_stats`` are those of ``compute_vocabulary_stats``, computed once for all prompts of a backbone.
    """
    x = np.asarray(vectors, dtype=np.float32)
    distances = np.full(len(x), np.nan)
    if vocabulary is not None and len(x):
        distances = nearest_tokens(x, vocabulary, 1, "L2").scores[:, 0].astype(np.float64)
    norms = np.linalg.norm(x, axis=1).astype(np.float64)
    return PromptGeometry(
        norms=norms,
        distances=distances,
        cosines=pairwise_cosines(x),
        outliers=find_outliers(x),
        vocabulary_stats=vocabulary_stats,
    )


def pairwise_cosines(vectors: Float[np.ndarray, "m d"]) -> Float[np.ndarray, "m m"]:
    """Return the cosine of every pair of rows; a row of zeros has cosine 0 with all."""
    rows = normalise_rows(np.asarray(vectors, dtype=np.float64))
    cosines: Float[np.ndarray, "m m"] = rows @ rows.T
    return cosines
