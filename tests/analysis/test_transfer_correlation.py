"""Clusters of prompts, and correlations of similarity with transfer, against scipy and planted data."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr

from ptviz.analysis.prompt_clusters import cluster
from ptviz.analysis.prompt_similarity import compute_similarity
from ptviz.analysis.transfer_correlation import correlate_transfer


def test_clustering_puts_similar_prompts_next_to_each_other():
    chance = np.random.default_rng(0)
    first, second = chance.normal(size=(2, 4, 8))
    prompts = [base + 0.1 * chance.normal(size=(4, 8)) for base in (first, second, first, second, first)]
    tree = cluster(compute_similarity(prompts, "concatenated").values)
    kinds = [place % 2 for place in tree.order]
    assert sorted(tree.order) == [0, 1, 2, 3, 4]
    assert sum(a != b for a, b in pairwise(kinds)) == 1
    assert tree.positions.shape == tree.heights.shape == (4, 4)
    assert tree.heights.max() == pytest.approx(1, abs=0.3)
    assert tree.positions.min() >= 0
    assert tree.positions.max() <= 4


@pytest.mark.parametrize("count", [0, 1])
def test_nothing_to_cluster(count: int):
    tree = cluster(np.eye(count))
    assert tree.order == tuple(range(count))
    assert not len(tree.positions)


def planted(noise: float, count: int = 6) -> tuple[np.ndarray, list[str], np.ndarray]:
    chance = np.random.default_rng(1)
    alike = chance.uniform(size=(count, count))
    alike = (alike + alike.T) / 2
    np.fill_diagonal(alike, 1)
    # The diagonal would carry any correlation by itself: here it lies far off the line.
    measured = 0.5 * alike + noise * chance.normal(size=alike.shape)
    np.fill_diagonal(measured, -50)
    return alike, [f"task {i}" for i in range(count)], measured


def test_the_correlations_are_scipys_and_the_diagonal_is_left_out():
    alike, tasks, measured = planted(0.1)
    found = correlate_transfer(alike, tasks, measured, tasks, resamples=200)
    away = ~np.eye(6, dtype=bool)
    assert len(found.similarity) == 30
    assert all(target != source for target, source in zip(found.targets, found.sources, strict=True))
    assert found.pearson.value == pytest.approx(pearsonr(alike[away], measured[away]).statistic)
    assert found.spearman.value == pytest.approx(spearmanr(alike[away], measured[away]).statistic)
    for one in (found.pearson, found.spearman):
        assert -1 <= one.low < one.value < one.high <= 1
    again = correlate_transfer(alike, tasks, measured, tasks, resamples=200)
    assert again.pearson == found.pearson


def test_no_relation_gives_an_interval_around_zero_and_a_perfect_one_reaches_one():
    alike, tasks, measured = planted(0.0)
    assert correlate_transfer(alike, tasks, measured, tasks, resamples=50).pearson.low == pytest.approx(1)
    away = np.random.default_rng(5).normal(size=measured.shape)
    found = correlate_transfer(alike, tasks, away, tasks, resamples=200).pearson
    assert found.low < 0 < found.high


def test_prompts_of_one_task_share_a_point_and_are_not_transfer():
    alike = np.array([[1.0, 0.8, 0.2], [0.8, 1.0, 0.4], [0.2, 0.4, 1.0]])
    measured = np.array([[9.0, 9.0, 0.6], [0.1, np.nan, 9.0], [0.5, 0.5, 0.5]])
    found = correlate_transfer(alike, ["a", "a", "b"], measured, ["a", "b", "nobody's"])
    # On a: only the prompt of b, at its mean similarity to both of a. On b: the first of a; the second is unmeasured.
    assert found.similarity.tolist() == pytest.approx([0.3, 0.2])
    assert found.transfer.tolist() == [0.6, 0.1]
    assert math.isnan(found.pearson.value)


def test_constant_numbers_have_no_correlation():
    _, tasks, _ = planted(0.1)
    found = correlate_transfer(np.ones((6, 6)), tasks, np.ones((6, 6)), tasks)
    assert math.isnan(found.pearson.value)
    assert math.isnan(found.spearman.high)
