"""Expert loads, dead experts, and the mutual information of expert and class."""

from __future__ import annotations

import numpy as np
import pytest

from ptviz.analysis.routing import compute_expert_load, entropy, summarise_routing


def one_hot(experts: list[int], k: int) -> np.ndarray:
    return np.eye(k)[experts]


def test_one_expert_per_class_has_full_information():
    labels = np.array([0, 0, 1, 1])
    found = summarise_routing(one_hot([2, 2, 0, 0], 3), labels, 2)
    assert found.class_counts.tolist() == [[0, 0, 2], [2, 0, 0]]
    assert found.mutual_information == pytest.approx(np.log(2)) == found.class_entropy
    assert found.dead.tolist() == [False, True, False]
    assert found.balance == pytest.approx(2 / 3)
    assert found.entropy == pytest.approx(0)


def test_a_random_expert_has_no_information():
    found = summarise_routing(one_hot([0, 1, 0, 1], 2), np.array([0, 0, 1, 1]), 2)
    assert found.mutual_information == pytest.approx(0, abs=1e-12)
    assert found.balance == pytest.approx(1)


def test_load_is_weight_and_share_is_wins():
    found = summarise_routing(np.array([[0.6, 0.4], [0.6, 0.4]]), np.array([0, 1]), 2)
    assert found.mean_weights == pytest.approx([0.6, 0.4])
    assert found.win_shares == pytest.approx([1, 0])


@pytest.mark.parametrize("n", [0, 1])
def test_nothing_and_one(n):
    found = summarise_routing(np.full((n, 4), 0.25), np.zeros(n, dtype=int), 3)
    assert found.class_counts.shape == (3, 4)
    assert found.mutual_information == 0


def test_a_label_out_of_range_is_refused():
    with pytest.raises(ValueError, match="labels of 0 to 1; got 2 to 2"):
        summarise_routing(np.ones((1, 2)), np.array([2]), 2)


def test_entropy_of_even_weights_is_log_k():
    assert entropy(np.ones((1, 5)))[0] == pytest.approx(np.log(5))
    assert entropy(np.zeros((1, 5)))[0] == 0


def test_the_smoothed_load_is_a_centred_mean():
    loads = np.array([[1.0, 0], [0, 1], [0, 1], [1, 0]])
    found = compute_expert_load(np.arange(4), loads, window=3)
    assert found.smoothed_loads[1] == pytest.approx([1 / 3, 2 / 3])
    assert found.smoothed_loads[0] == pytest.approx([1 / 2, 1 / 2])
    assert found.balance[0] == pytest.approx(1)
    assert len(compute_expert_load(np.arange(0), np.zeros((0, 2))).smoothed_loads) == 0
