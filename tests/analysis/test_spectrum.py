"""Spectra of matrices whose spectrum is known."""

from __future__ import annotations

import numpy as np
import pytest

from ptviz.analysis.spectrum import compute_spectrum, low_rank_approximation


def of_rank(rank: int, rows: int = 12, columns: int = 20) -> np.ndarray:
    generator = np.random.default_rng(0)
    return generator.normal(size=(rows, rank)) @ generator.normal(size=(rank, columns))


def test_equal_singular_values_count_as_many():
    assert compute_spectrum(np.eye(7)).effective_rank == pytest.approx(7)
    assert compute_spectrum(np.diag([5.0, 0, 0])).effective_rank == pytest.approx(1)


def test_effective_rank_uses_squares():
    shares = np.array([4, 1]) / 5
    expected = np.exp(-(shares * np.log(shares)).sum())
    assert compute_spectrum(np.diag([2.0, 1.0])).effective_rank == pytest.approx(expected)


def test_centring_removes_the_common_row():
    same = np.ones((5, 8))
    assert compute_spectrum(same).effective_rank == pytest.approx(1)
    found = compute_spectrum(same, centred=True)
    assert found.effective_rank == 0
    assert found.max_rank == 4


def test_the_reported_error_is_the_actual_one():
    x = of_rank(6)
    found = compute_spectrum(x)
    for rank in (0, 1, 4, 6, 12):
        made = np.linalg.norm(x - low_rank_approximation(x, rank)) / np.linalg.norm(x)
        assert found.approximation_errors[rank] == pytest.approx(made, abs=1e-9)
    assert np.linalg.matrix_rank(low_rank_approximation(x, 3)) == 3


def test_collapse_depends_on_shape_and_rank():
    assert compute_spectrum(of_rank(1)).is_collapsed
    assert not compute_spectrum(of_rank(12)).is_collapsed
    assert not compute_spectrum(np.ones((3, 9))).is_collapsed  # three rows cannot be said to collapse


@pytest.mark.parametrize("shape", [(0, 5), (1, 5), (4, 0)])
def test_nothing_and_one_row(shape):
    found = compute_spectrum(np.ones(shape))
    assert len(found.approximation_errors) == len(found.values) + 1
    assert found.effective_rank == pytest.approx(1 if shape == (1, 5) else 0)


def test_a_negative_rank_is_refused():
    with pytest.raises(ValueError, match="rank of 0 or more"):
        low_rank_approximation(np.eye(3), -1)
