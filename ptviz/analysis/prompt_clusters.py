"""Clusters of prompts by their similarity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.cluster.hierarchy import dendrogram, linkage
from scipy.spatial.distance import squareform


@dataclass(frozen=True, eq=False)
class Dendrogram:
    """A hierarchical clustering of n prompts: the order of the leaves, and the n - 1 links that join them.

    A link has four corners: ``positions`` across, in units of leaves from 0, and ``heights``, which are distances.
    """

    order: tuple[int, ...]
    positions: Float[np.ndarray, "links 4"]
    heights: Float[np.ndarray, "links 4"]


def cluster(similarity: Float[np.ndarray, "n n"]) -> Dendrogram:
    """Cluster by average linkage (UPGMA) on the distance 1 - similarity, with similar leaves next to each other.

    Without links, and in the given order, if a similarity is not finite.

    Order of the leaves: Bar-Joseph et al., "Fast optimal leaf ordering for hierarchical clustering", Bioinformatics
    2001, https://doi.org/10.1093/bioinformatics/17.suppl_1.S22.
    """
    count = len(similarity)
    if count < 2 or not np.isfinite(similarity).all():
        return Dendrogram(tuple(range(count)), np.zeros((0, 4)), np.zeros((0, 4)))
    distances = np.maximum(1 - (similarity + similarity.T) / 2, 0)
    np.fill_diagonal(distances, 0)
    links = linkage(squareform(distances, checks=False), "average", optimal_ordering=True)
    drawn = dendrogram(links, no_plot=True)
    return Dendrogram(
        order=tuple(int(leaf) for leaf in drawn["leaves"]),
        positions=(np.asarray(drawn["icoord"], dtype=np.float64) - 5) / 10,  # scipy puts leaf i at 5 + 10 i
        heights=np.asarray(drawn["dcoord"], dtype=np.float64),
    )
