"""Where prompt tokens lie beside the vocabulary: norms, distances, cosines among each other, rows that ran away.

Trained prompts tend to lie outside the cloud of word embeddings: Bailey et al., "Soft prompting might be a bug, not a
feature", ICML 2023 workshop on deployable generative AI, https://openreview.net/forum?id=MHWDdMEJ5s
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from ptviz.analysis.neighbours import CHUNK, nearest, unit

BANDS = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Quantiles that describe the vocabulary."""
FAR = 3.0
"""A row whose norm is this many times the median of all rows is an outlier."""
_SAMPLE = 300


@dataclass(frozen=True, eq=False)
class Cloud:
    """A vocabulary in numbers: the quantiles ``BANDS`` of its tokens' norms, and of each one's distance to the next.

    ``centre`` is the mean embedding. Distances are those of a sample of 300 tokens, in the unit of the embeddings.
    """

    norms: Float[np.ndarray, " bands"]
    spacing: Float[np.ndarray, " bands"]
    centre: Float[np.ndarray, " d"]


@dataclass(frozen=True, eq=False)
class Geometry:
    """m prompt tokens beside a vocabulary: L2 norms, distance to the nearest token, cosines among each other.

    ``outliers`` marks rows whose norm is more than three times the median.
    """

    norms: Float[np.ndarray, " m"]
    distances: Float[np.ndarray, " m"]
    cosines: Float[np.ndarray, "m m"]
    outliers: Bool[np.ndarray, " m"]
    cloud: Cloud | None = None

    @property
    def outside(self) -> Bool[np.ndarray, " m"]:
        """Rows farther from any token than 95 % of the tokens are from their nearest other."""
        if self.cloud is None or not len(self.distances):
            return np.zeros(len(self.norms), dtype=bool)
        far: Bool[np.ndarray, " m"] = self.distances > self.cloud.spacing[-1]
        return far


def cloud(vocabulary: Float[np.ndarray, "V d"], seed: int = 0) -> Cloud:
    """Norms, centre and spacing of a vocabulary, streamed, so that a table on disk may be larger than memory.

    Raises:
        ValueError: if it holds fewer than two tokens.
    """
    count = len(vocabulary)
    if count < 2:
        raise ValueError(f"expected a vocabulary of at least two tokens; got {count}")
    norms, total = [], np.zeros(vocabulary.shape[1])
    for start in range(0, count, CHUNK):
        rows = np.asarray(vocabulary[start : start + CHUNK], dtype=np.float32)
        norms.append(np.linalg.norm(rows, axis=1))
        total += rows.sum(0, dtype=np.float64)
    drawn = np.sort(np.random.default_rng(seed).permutation(count)[:_SAMPLE])
    # The nearest token of a token is itself: the second one counts.
    spacing = nearest(np.asarray(vocabulary[drawn], dtype=np.float32), vocabulary, 2, "L2").scores[:, 1]
    return Cloud(np.quantile(np.concatenate(norms), BANDS), np.quantile(spacing, BANDS), total / count)


def geometry(
    vectors: Float[np.ndarray, "m d"],
    vocabulary: Float[np.ndarray, "V d"] | None = None,
    around: Cloud | None = None,
) -> Geometry:
    """Norms, cosines and outliers of m vectors; with a vocabulary also their distances to it.

    ``around`` is that vocabulary's cloud, computed once; without a vocabulary, ``distances`` is empty-handed: NaN.
    """
    x = np.asarray(vectors, dtype=np.float32)
    distances = np.full(len(x), np.nan)
    if vocabulary is not None and len(x):
        distances = nearest(x, vocabulary, 1, "L2").scores[:, 0].astype(np.float64)
    norms = np.linalg.norm(x, axis=1).astype(np.float64)
    return Geometry(norms, distances, cosines(x), outliers(x), around)


def cosines(vectors: Float[np.ndarray, "m d"]) -> Float[np.ndarray, "m m"]:
    """The cosine of every pair of rows; a row of zeros has cosine 0 with all."""
    rows = unit(np.asarray(vectors, dtype=np.float64))
    every: Float[np.ndarray, "m m"] = rows @ rows.T
    return every


def outliers(vectors: Float[np.ndarray, "m d"], factor: float = FAR) -> Bool[np.ndarray, " m"]:
    """Which rows have a norm of more than ``factor`` times the median of all rows."""
    if not len(vectors):
        return np.zeros(0, dtype=bool)
    norms = np.linalg.norm(np.asarray(vectors, dtype=np.float64), axis=1)
    far: Bool[np.ndarray, " m"] = norms > factor * np.median(norms)
    return far
