"""Statistics against scipy and statsmodels, and against values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from ptviz.analysis.statistics import (
    MIN_SEEDS,
    adjust_holm,
    bootstrap_rows,
    judge_claim,
    student_interval,
    student_p_value,
)


def test_the_interval_of_three_seeds_by_hand():
    found = student_interval([0.7, 0.8, 0.9])
    reach = 4.302652729911275 * 0.1 / math.sqrt(3)  # t of 2 degrees of freedom at 97.5%
    assert (found.low, found.high) == pytest.approx((0.8 - reach, 0.8 + reach))
    assert found.over == "seeds"


@pytest.mark.parametrize("n", [2, 3, 5, 30])
def test_interval_and_p_are_scipys(n: int):
    values = np.random.default_rng(n).normal(0.02, 0.05, n)
    expected = stats.ttest_1samp(values, 0.0)
    found, limits = student_interval(values.tolist()), expected.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((limits.low, limits.high))
    assert student_p_value(values.tolist()) == pytest.approx(expected.pvalue)


@pytest.mark.parametrize("values", [[], [0.5], [0.5, math.nan]])
def test_too_few_or_unknown_values_give_no_interval(values):
    assert student_interval(values) is None
    assert student_p_value(values) is None


def test_equal_differences_have_no_test():
    assert student_p_value([0.05, 0.05, 0.05, 0.05, 0.05]) is None
    assert student_p_value([0.1 + 0.2, 0.3, 0.3]) is None, "equal but for rounding"


def test_holm_by_hand():
    assert adjust_holm([0.01, 0.04, None, 0.03]) == pytest.approx((0.03, 0.06, None, 0.06), nan_ok=True)
    assert adjust_holm([]) == ()
    assert adjust_holm([0.9, 0.8]) == (1.0, 1.0)


def test_holm_is_that_of_statsmodels():
    draw = np.random.default_rng(0)
    for n in (1, 2, 5, 15):
        p = draw.uniform(0, 0.2, n).tolist()
        assert adjust_holm(p) == pytest.approx(multipletests(p, method="holm")[1].tolist())


def test_the_bootstrap_over_rows_is_near_the_binomial_one_and_always_the_same():
    rows = [1.0] * 80 + [0.0] * 20
    found = bootstrap_rows(rows)
    assert found == bootstrap_rows(rows)
    width = 1.96 * math.sqrt(0.8 * 0.2 / 100)
    assert (found.low, found.high) == pytest.approx((0.8 - width, 0.8 + width), abs=0.015)
    assert found.over == "rows"
    assert bootstrap_rows([1.0]) is None


@pytest.mark.parametrize(
    ("differences", "margin", "said"),
    [
        ([0.10, 0.12, 0.09, 0.11, 0.10], 0.0, "holds"),
        ([-0.10, -0.12, -0.09, -0.11, -0.10], 0.0, "does not hold"),
        ([0.10, -0.12, 0.09, -0.11, 0.10], 0.0, "unclear"),
        ([0.10, 0.12, 0.09, 0.11], 0.0, "unclear"),  # one seed too few
        ([0.10] * 5, 0.0, "unclear"),  # the seeds did not vary: perhaps they are one run
        ([-0.004, -0.006, -0.005, -0.003, -0.004], 0.0, "does not hold"),
        ([-0.004, -0.006, -0.005, -0.003, -0.004], 0.01, "holds"),
        ([], 0.0, "unclear"),
    ],
)
def test_verdicts(differences, margin, said):
    assert judge_claim(differences, margin) == said


def test_exact_values_need_no_seeds():
    assert judge_claim([64.0], exact=True) == "holds"
    assert judge_claim([0.0], exact=True) == "does not hold"
    assert judge_claim([-64.0] * 3, exact=True) == "does not hold"
    assert MIN_SEEDS == 5
