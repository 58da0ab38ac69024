"""Nearest tokens against the plain computation, over a vocabulary of several chunks."""

from __future__ import annotations

import numpy as np
import pytest

from ptviz.analysis.neighbour_history import neighbour_overlap, neighbour_ranks
from ptviz.analysis.prompt_tokens import compute_geometry, compute_vocabulary_stats
from ptviz.nearest_tokens import NEIGHBOUR_METRICS, nearest_tokens

RNG = np.random.default_rng(0)
VOCABULARY = (RNG.normal(size=(257, 12)) * RNG.uniform(0.2, 3, size=(257, 1))).astype(np.float32)
VECTORS = RNG.normal(size=(9, 12)).astype(np.float32)


def plain(metric: str) -> np.ndarray:
    """Return the score of every vector and token by the definition."""
    if metric == "L2":
        return np.linalg.norm(VECTORS[:, None] - VOCABULARY[None], axis=2)
    product = VECTORS @ VOCABULARY.T
    if metric == "cosine":
        product = product / np.linalg.norm(VECTORS, axis=1)[:, None] / np.linalg.norm(VOCABULARY, axis=1)
    return product


@pytest.mark.parametrize("metric", NEIGHBOUR_METRICS)
@pytest.mark.parametrize("chunk", [50, 10_000])
def test_streamed_neighbours_are_the_plain_ones(metric, chunk, monkeypatch):
    monkeypatch.setattr("ptviz.nearest_tokens.CHUNK_ROWS", chunk)
    scores = plain(metric)
    order = np.argsort(scores if metric == "L2" else -scores, axis=1)[:, :4]
    found = nearest_tokens(VECTORS, VOCABULARY, 4, metric)
    assert np.array_equal(found.ids, order)
    assert np.allclose(found.scores, np.take_along_axis(scores, order, 1), atol=1e-5)
    for place in (0, 2):
        assert (neighbour_ranks(VECTORS, VOCABULARY, order[:, place], metric) == place + 1).all()


def test_metrics_give_different_neighbours():
    assert not np.array_equal(
        nearest_tokens(VECTORS, VOCABULARY, 1, "dot").ids, nearest_tokens(VECTORS, VOCABULARY, 1, "cosine").ids
    )


def test_few_tokens_and_no_vectors():
    assert nearest_tokens(VECTORS, VOCABULARY[:3], 5).ids.shape == (9, 3)
    assert nearest_tokens(VECTORS[:0], VOCABULARY, 5).ids.shape == (0, 5)


def test_overlap_counts_common_neighbours():
    first = nearest_tokens(VECTORS, VOCABULARY, 4)
    assert (neighbour_overlap(first, first) == 1).all()
    assert (neighbour_overlap(first, nearest_tokens(-VECTORS, VOCABULARY, 4)) == 0).all()


def test_mismatched_shapes_are_refused():
    with pytest.raises(ValueError, match="as wide as the vocabulary, 12; got 5"):
        nearest_tokens(VECTORS[:, :5], VOCABULARY[:, :])
    with pytest.raises(ValueError, match="at least one neighbour"):
        nearest_tokens(VECTORS, VOCABULARY, 0)


def test_a_token_of_the_vocabulary_is_its_own_neighbour():
    around = compute_vocabulary_stats(VOCABULARY)
    found = compute_geometry(VOCABULARY[:5], VOCABULARY, around)
    assert np.allclose(found.distances, 0, atol=1e-5)
    assert not found.outside_vocabulary.any()
    assert np.allclose(around.mean_embedding, VOCABULARY.mean(0), atol=1e-6)
    norms = np.linalg.norm(VOCABULARY, axis=1)
    assert np.allclose(around.norm_quantiles, np.quantile(norms, (0.05, 0.25, 0.5, 0.75, 0.95)), atol=1e-5)


def test_spacing_is_the_distance_to_another_token():
    apart = np.linalg.norm(VOCABULARY[:, None] - VOCABULARY[None], axis=2)
    np.fill_diagonal(apart, np.inf)
    expected = np.quantile(apart.min(1), (0.05, 0.25, 0.5, 0.75, 0.95))
    assert np.allclose(compute_vocabulary_stats(VOCABULARY).distance_quantiles, expected, atol=1e-4)


def test_far_rows_are_outside_the_vocabulary():
    found = compute_geometry(VECTORS + 100, VOCABULARY, compute_vocabulary_stats(VOCABULARY))
    assert found.outside_vocabulary.all()
    assert np.allclose(np.diag(found.cosines), 1)


@pytest.mark.parametrize("n", [0, 1])
def test_geometry_of_nothing_and_one(n):
    found = compute_geometry(VECTORS[:n], VOCABULARY, compute_vocabulary_stats(VOCABULARY))
    assert found.cosines.shape == (n, n)
    assert found.outside_vocabulary.shape == (n,)
    assert np.isnan(compute_geometry(VECTORS[:n]).distances).all()
