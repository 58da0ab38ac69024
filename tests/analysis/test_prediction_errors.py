"""Errors of a classifier: by hand, and against scikit-learn and statsmodels."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import precision_recall_fscore_support
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import proportion_confint

from ptviz.analysis.prediction_errors import (
    compute_calibration,
    count_changes,
    count_confusions,
    group_by_words,
    score_classes,
)
from ptviz.analysis.statistics import wilson_interval


def test_confusions_are_counted_by_class_and_prediction() -> None:
    found = count_confusions(["a", "a", "b"], ["a", "b", "b"], ["a", "b", "c"])
    assert found.counts.tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 0]]
    assert found.shares[:2].tolist() == [[0.5, 0.5, 0], [0, 1, 0]]
    assert np.isnan(found.shares[2]).all(), "a class without examples has no shares"
    assert count_confusions([], [], ["a", "b"]).counts.tolist() == [[0, 0], [0, 0]]
    with pytest.raises(ValueError, match="expected labels among a, b; got 'd'"):
        count_confusions(["a"], ["d"], ["a", "b"])


def test_scores_of_classes_are_those_of_scikit_learn() -> None:
    draw = np.random.default_rng(0)
    names = ["a", "b", "c"]
    labels, predicted = ([names[i] for i in draw.integers(0, 3, 60)] for _ in range(2))
    found = score_classes(count_confusions(labels, predicted, names), count_confusions(labels, labels, names))
    expected = precision_recall_fscore_support(labels, predicted, labels=names)
    for index, one in enumerate(found):
        assert (one.precision, one.recall, one.f1, one.support) == pytest.approx([part[index] for part in expected])
        assert one.zero_shot_recall == 1
    (only,) = [one for one in score_classes(count_confusions(["a"], ["a"], ["a", "b"])) if one.name == "b"]
    assert (only.precision, only.recall, only.f1) == (None, None, None)


def test_the_expected_calibration_error_is_the_weighted_gap() -> None:
    found = compute_calibration([0.55, 0.6, 0.95, 1.0], [True, False, True, True], bins=10)
    assert [(one.low, one.high, one.count) for one in found.bins] == [(0.5, 0.6, 2), (0.9, 1.0, 2)]
    assert [one.accuracy for one in found.bins] == [0.5, 1.0]
    # |0.5 - 0.575| * 2 / 4 + |1 - 0.975| * 2 / 4
    assert found.error == pytest.approx(0.05)
    assert compute_calibration([0.0, 0.1], [False, False]).bins[0].count == 2, "a bin holds its upper end"


def test_a_calibrated_model_has_the_error_of_chance() -> None:
    draw = np.random.default_rng(1)
    sure = draw.uniform(0.5, 1, 400)
    found = compute_calibration(sure, draw.random(400) < sure)
    assert 0.01 < found.perfect < 0.06
    assert found.error < 2 * found.perfect
    assert compute_calibration(sure, draw.random(400) < 0.5).error > 4 * found.perfect
    assert compute_calibration(sure, draw.random(400) < sure).perfect == found.perfect, "the same draws"
    assert compute_calibration(np.tile(sure, 16), np.ones(6400, bool)).perfect < found.perfect / 2


@pytest.mark.parametrize("bins", [0, 101])
def test_bad_bins_and_certainties_are_refused(bins: int) -> None:
    with pytest.raises(ValueError, match=f"bins: expected 1 to 100; got {bins}"):
        compute_calibration([0.5], [True], bins)
    for bad in (1.5, -0.1, math.nan):
        with pytest.raises(ValueError, match="confidence: expected probabilities from 0 to 1"):
            compute_calibration([bad], [True])
    assert math.isnan(compute_calibration([], []).error)


def test_changes_are_tested_as_statsmodels_does() -> None:
    right = [True] * 12 + [False] * 5 + [True] * 4
    before = [False] * 12 + [True] * 3 + [False] * 2 + [True] * 4
    found = count_changes(right, before)
    assert (found.both_right, found.fixed, found.broken, found.both_wrong) == (4, 12, 3, 2)
    assert found.p == pytest.approx(mcnemar([[4, 3], [12, 2]], exact=True).pvalue)
    assert count_changes([True], [True]).p == 1


def test_the_interval_of_a_share_is_wilsons() -> None:
    found = wilson_interval(7, 9)
    assert (found.low, found.high) == pytest.approx(proportion_confint(7, 9, method="wilson"))
    assert found.over == "rows"


def test_texts_are_grouped_by_words() -> None:
    texts = ["a"] * 4 + ["a b"] * 4 + ["a b c d e"] * 2
    found = group_by_words(texts, [1, 1, 0, 0, 1, 1, 1, 1, 0, 0], [0] * 8 + [1, 1], groups=2)
    assert sum(group.count for group in found) == 10
    assert [(group.shortest, group.longest, group.count, group.score) for group in found] == [
        (1, 2, 8, 0.75),
        (5, 5, 2, 0),
    ]
    assert [group.zero_shot for group in found] == [0, 1]
    assert found[1].interval == wilson_interval(0, 2)
    assert group_by_words([], []) == ()
    (one,) = group_by_words(["a", "b"], [0.25, 0.5], groups=5)
    assert (one.count, one.score) == (2, 0.375)
    (unknown,) = group_by_words(["a"], [math.nan])
    assert unknown.interval is None
