"""Prompts in clusters, and whether the similarity of two prompts says how well one does the other's task.

Whether it does is disputed: Vu et al., "SPoT", ACL 2022, section 4, https://aclanthology.org/2022.acl-long.346, find
correlations with the gain from cosines; Su et al., "On Transferability of Prompt Tuning for Natural Language
Processing", NAACL 2022, section 5, https://aclanthology.org/2022.naacl-main.290, find vector similarities weak.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.cluster.hierarchy import dendrogram, linkage
from scipy.spatial.distance import squareform
from scipy.stats import rankdata

BOOTSTRAP_RESAMPLES = 500
"""Resamples of a bootstrap."""
_MIN_POINTS = 4
"""Points below which no correlation is told: three points lie near some line by chance."""


@dataclass(frozen=True, eq=False)
class Dendrogram:
    """A clustering of n prompts: the order that puts like beside like, and the n - 1 brackets that join them.

    A bracket has four corners: ``places`` across, in units of leaves from 0; ``heights`` up, as distances.
    """

    order: tuple[int, ...]
    positions: Float[np.ndarray, "links 4"]
    heights: Float[np.ndarray, "links 4"]


@dataclass(frozen=True)
class CorrelationEstimate:
    """A correlation (-1 to 1) and its bootstrap interval of 95 %; NaN where there are too few points to tell."""

    value: float = math.nan
    low: float = math.nan
    high: float = math.nan


@dataclass(frozen=True, eq=False)
class TransferCorrelation:
    """Similarity against measured transfer: n points, each a source prompt on another task.

    ``targets`` and ``sources`` say which task (row of the grid) and which prompt (column) a point belongs to.
    """

    similarity: Float[np.ndarray, " n"]
    transfer: Float[np.ndarray, " n"]
    targets: tuple[int, ...]
    sources: tuple[int, ...]
    pearson: CorrelationEstimate
    spearman: CorrelationEstimate


def cluster(similarity: Float[np.ndarray, "n n"]) -> Dendrogram:
    """Cluster by average linkage (UPGMA) on the distance 1 - similarity, neighbours ordered to be alike.

    Ordering of leaves: Bar-Joseph et al., "Fast optimal leaf ordering for hierarchical clustering", Bioinformatics
    2001, https://doi.org/10.1093/bioinformatics/17.suppl_1.S22.
    """
    count = len(similarity)
    if count < 2:
        return Dendrogram(tuple(range(count)), np.zeros((0, 4)), np.zeros((0, 4)))
    apart = np.maximum(1 - (similarity + similarity.T) / 2, 0)
    np.fill_diagonal(apart, 0)
    joined = linkage(squareform(apart, checks=False), "average", optimal_ordering=True)
    drawn = dendrogram(joined, no_plot=True)
    # scipy puts leaf i at 5 + 10 i.
    places = (np.asarray(drawn["icoord"], dtype=np.float64) - 5) / 10
    return Dendrogram(
        tuple(int(leaf) for leaf in drawn["leaves"]), places, np.asarray(drawn["dcoord"], dtype=np.float64)
    )


def error_reduction(reached: Float[np.ndarray, "t n"], scratch: Float[np.ndarray, "t n"]) -> Float[np.ndarray, "t n"]:
    """Which share of the errors left from scratch a start takes away: (s' - s) / (1 - s) of accuracies s' and s.

    1 leaves no error, 0 changes nothing, below 0 it harms; NaN where there was no error to take away. Source: Vu et
    al., "SPoT", ACL 2022, section 4.2, https://aclanthology.org/2022.acl-long.346.
    """
    left = 1 - np.asarray(scratch, dtype=np.float64)
    found = np.full(left.shape, math.nan)
    np.divide(reached - scratch, left, out=found, where=left > 1e-9)
    return found


def mean_error_reduction(
    reached: Float[np.ndarray, "t n seeds"], scratch: Float[np.ndarray, "t n seeds"]
) -> Float[np.ndarray, "t n"]:
    """The error reduction of mean accuracies, over the seeds that were made both ways; NaN where there is none."""
    both = np.isfinite(reached) & np.isfinite(scratch)
    count = both.sum(-1)
    means = [
        np.divide(np.where(both, one, 0).sum(-1), count, out=np.full(count.shape, math.nan), where=count > 0)
        for one in (reached, scratch)
    ]
    return error_reduction(*means)


def correlate_transfer(
    similarity: Float[np.ndarray, "n n"],
    trained_on: Sequence[str],
    measured: Float[np.ndarray, "t n"],
    tasks: Sequence[str],
    *,
    draws: int = BOOTSTRAP_RESAMPLES,
    seed: int = 0,
) -> TransferCorrelation:
    """Does the similarity of source prompt j to the prompts of task i go with what j reaches on i?

    ``measured`` holds accuracies or gains, rows target tasks, columns source prompts, NaN where nothing was measured.
    A prompt on its own task is no transfer and is left out; so is a task that no prompt here was trained on. Where
    several prompts were trained on the target task, their mean similarity counts.

    The points of one source prompt hang together, so the bootstrap draws source prompts, not points (a cluster
    bootstrap: Davison and Hinkley, "Bootstrap Methods and their Application", 1997, section 3.8).
    """
    found: list[tuple[float, float, int, int]] = []
    for row, task in enumerate(tasks):
        own = [i for i, name in enumerate(trained_on) if name == task]
        for column, name in enumerate(trained_on):
            value = float(measured[row, column])
            if own and name != task and math.isfinite(value):
                found.append((float(np.mean(similarity[own, column])), value, row, column))
    x = np.array([point[0] for point in found], dtype=np.float64)
    y = np.array([point[1] for point in found], dtype=np.float64)
    targets, sources = tuple(point[2] for point in found), tuple(point[3] for point in found)
    drawn = _resample_sources(sources, draws, seed)
    pearson = _estimate_correlation(x, y, drawn, ranked=False)
    return TransferCorrelation(x, y, targets, sources, pearson, _estimate_correlation(x, y, drawn, ranked=True))


def _resample_sources(sources: tuple[int, ...], draws: int, seed: int) -> list[np.ndarray]:
    """The places of the points in each resample."""
    blocks = [np.flatnonzero(np.array(sources) == source) for source in dict.fromkeys(sources)]
    if len(blocks) < 3:
        return []
    chance = np.random.default_rng(seed)
    picks = chance.integers(len(blocks), size=(draws, len(blocks)))
    return [np.concatenate([blocks[block] for block in pick.tolist()]) for pick in picks]


def _estimate_correlation(
    x: np.ndarray, y: np.ndarray, drawn: Sequence[np.ndarray], *, ranked: bool
) -> CorrelationEstimate:
    if len(x) < _MIN_POINTS:
        return CorrelationEstimate()
    value = _correlation(x, y, ranked)
    again = np.array([_correlation(x[places], y[places], ranked) for places in drawn])
    again = again[np.isfinite(again)]
    if not math.isfinite(value) or not len(again):
        return CorrelationEstimate(value)
    low, high = np.quantile(again, (0.025, 0.975)).tolist()
    return CorrelationEstimate(value, low, high)


def _correlation(x: np.ndarray, y: np.ndarray, ranked: bool) -> float:
    """Pearson's, or of the ranks: Spearman's. NaN where one side is constant."""
    if ranked:
        x, y = rankdata(x), rankdata(y)
    x, y = x - x.mean(), y - y.mean()
    size = float(np.sqrt((x @ x) * (y @ y)))
    return float(np.clip(float(x @ y) / size, -1, 1)) if size > 1e-12 else math.nan
