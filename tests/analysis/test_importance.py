"""Token importance and waywardness, checked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from ptviz.analysis.importance import compute_importance
from ptviz.analysis.waywardness import WaywardRun, compute_waywardness, join_tokens, prompt_f1


def test_increases_are_relative_to_the_whole_prompt():
    found = compute_importance([0.9, 0.6, 0.7], [0.5, 0.8, 0.7], 0.7, 0.75, [3.0, 1.0, 2.0, 9.0])
    assert found.loss_increases == pytest.approx([0.2, -0.1, 0.0])
    assert found.accuracy_changes == pytest.approx([-0.25, 0.05, -0.05])
    assert found.scores.tolist() == [3.0, 1.0, 2.0], "scores of tokens not measured yet wait"
    # Sizes 0.2, 0.1, 0 have ranks 3, 2, 1; scores 3, 1, 2: Spearman 1 - 6 * 2 / (3 * 8).
    assert found.rank_correlation == pytest.approx(0.5)


def test_few_tokens_or_equal_scores_have_no_correlation():
    assert compute_importance([], [], 0.0, 0.0).rank_correlation is None
    assert compute_importance([1.0, 2.0], [0.0, 0.0], 0.5, 0.0, [1.0, 2.0]).rank_correlation is None
    assert compute_importance([1.0, 2.0, 3.0], [0.0] * 3, 0.5, 0.0, [1.0] * 3).rank_correlation is None
    with pytest.raises(ValueError, match="expected 2 accuracies and scores; got 2 and 1"):
        compute_importance([1.0, 2.0], [0.0, 0.0], 0.5, 0.0, [1.0])


@pytest.mark.parametrize(
    ("words", "sentence", "f1"),
    [
        ("the cat sat", "A cat, sat!", 1.0),
        ("sat cat", "cat sat", 1.0),
        ("cat cat cat", "cat sat", 2 * (1 / 3) * (1 / 2) / (1 / 3 + 1 / 2)),
        ("dog", "cat", 0.0),
        ("", "cat", 0.0),
    ],
)
def test_prompt_f1_counts_words_as_often_as_they_occur(words: str, sentence: str, f1: float):
    assert prompt_f1(words, sentence) == pytest.approx(f1)


def test_tokens_are_joined_to_text():
    assert join_tokens(["class", "##ify", "it"]) == "classify it"
    assert join_tokens([" class", "ify", " it"]) == "classify it"
    assert join_tokens([]) == ""


def test_drops_are_relative_to_the_unconstrained_accuracy():
    pulled = [
        WaywardRun("c", 0.1, 0, 0.4, "cat sat"),
        WaywardRun("a", 0.0, 0, 0.7, "dog"),
        WaywardRun("b", 0.0, 1, 0.9, "dog ran"),
    ]
    found = compute_waywardness("cat sat", pulled)
    assert found.unconstrained_accuracy == pytest.approx(0.8)
    assert [place.run.run for place in found.points] == ["a", "b", "c"]
    assert np.allclose([place.accuracy_drop for place in found.points], [0.125, -0.125, 0.5])
    assert [place.f1 for place in found.points] == [0.0, 0.0, 1.0]
    alone = compute_waywardness("cat sat", pulled[:1])
    assert (alone.unconstrained_accuracy, alone.points) == (None, ())
