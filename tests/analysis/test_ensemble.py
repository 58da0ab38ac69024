"""Votes and mean probabilities of several prompts, against counts by hand."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from ptviz.analysis.ensemble import score_ensemble, vote

RNG = np.random.default_rng(0)


def by_hand(probabilities: np.ndarray, row: int) -> int:
    """Count the members' classes one by one; of equal counts the larger mean probability wins."""
    counts = Counter(max(range(len(own[row])), key=lambda c: own[row][c]) for own in probabilities)
    most = max(counts.values())
    tied = [c for c, count in counts.items() if count == most]
    return max(tied, key=lambda c: sum(own[row][c] for own in probabilities))


@pytest.mark.parametrize("members", [1, 2, 3, 4, 5])
def test_a_vote_is_the_class_of_most_members(members: int) -> None:
    probabilities = RNG.dirichlet(np.ones(4) * 0.5, size=(members, 200))
    assert vote(probabilities).tolist() == [by_hand(probabilities, row) for row in range(200)]


def test_two_votes_beat_one_that_is_surer() -> None:
    probabilities = np.array([[[0.51, 0.49, 0.0]], [[0.51, 0.49, 0.0]], [[0.0, 0.99, 0.01]]])
    assert vote(probabilities).tolist() == [0]
    assert probabilities.mean(0).argmax(1).tolist() == [1], "the mean probability decides otherwise"
    tie = np.array([[[0.6, 0.4]], [[0.2, 0.8]]])
    assert vote(tie).tolist() == [1]


def test_scores_of_an_ensemble() -> None:
    probabilities = np.array(
        [
            [[0.9, 0.1], [0.9, 0.1], [0.2, 0.8]],
            [[0.4, 0.6], [0.3, 0.7], [0.1, 0.9]],
            [[0.8, 0.2], [0.4, 0.6], [0.6, 0.4]],
        ]
    )
    found = score_ensemble(probabilities, [0, 1, 1])
    assert found.members == pytest.approx((2 / 3, 2 / 3, 2 / 3))
    assert found.vote == 1.0
    assert found.mean_probability == pytest.approx(2 / 3), "the first member is too sure of the second row"
    assert (found.mean, found.best) == pytest.approx((2 / 3, 2 / 3))


def test_what_cannot_vote_is_refused() -> None:
    with pytest.raises(ValueError, match="members, rows, classes"):
        vote(np.zeros((0, 3, 2)))
    with pytest.raises(ValueError, match="a label for each of 2 rows"):
        score_ensemble(np.ones((2, 2, 2)), [0])
