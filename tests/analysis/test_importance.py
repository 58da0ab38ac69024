"""What tokens are worth, and what pulled prompts read as: values against hand counts."""

from __future__ import annotations

import numpy as np
import pytest

from ptviz.analysis.importance import importance
from ptviz.analysis.waywardness import Pulled, prompt_f1, spelled, waywardness


def test_rises_are_against_the_whole_prompt():
    found = importance([0.9, 0.6, 0.7], [0.5, 0.8, 0.7], 0.7, 0.75, [3.0, 1.0, 2.0, 9.0])
    assert found.losses == pytest.approx([0.2, -0.1, 0.0])
    assert found.accuracies == pytest.approx([-0.25, 0.05, -0.05])
    assert found.scores.tolist() == [3.0, 1.0, 2.0], "scores of tokens not measured yet wait"
    # Sizes 0.2, 0.1, 0 have ranks 3, 2, 1; scores 3, 1, 2: Spearman 1 - 6 * 2 / (3 * 8).
    assert found.agreement == pytest.approx(0.5)


def test_few_tokens_or_equal_scores_agree_with_nothing():
    assert importance([], [], 0.0, 0.0).agreement is None
    assert importance([1.0, 2.0], [0.0, 0.0], 0.5, 0.0, [1.0, 2.0]).agreement is None
    assert importance([1.0, 2.0, 3.0], [0.0] * 3, 0.5, 0.0, [1.0] * 3).agreement is None
    with pytest.raises(ValueError, match="expected 2 accuracies and scores; got 2 and 1"):
        importance([1.0, 2.0], [0.0, 0.0], 0.5, 0.0, [1.0])


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


def test_tokens_are_spelled_as_text():
    assert spelled(["class", "##ify", "it"]) == "classify it"
    assert spelled([" class", "ify", " it"]) == "classify it"
    assert spelled([]) == ""


def test_drops_are_shares_of_the_free_accuracy():
    pulled = [
        Pulled("c", 0.1, 0, 0.4, "cat sat"),
        Pulled("a", 0.0, 0, 0.7, "dog"),
        Pulled("b", 0.0, 1, 0.9, "dog ran"),
    ]
    found = waywardness("cat sat", pulled)
    assert found.free == pytest.approx(0.8)
    assert [place.prompt.run for place in found.places] == ["a", "b", "c"]
    assert np.allclose([place.drop for place in found.places], [0.125, -0.125, 0.5])
    assert [place.f1 for place in found.places] == [0.0, 0.0, 1.0]
    alone = waywardness("cat sat", pulled[:1])
    assert (alone.free, alone.places) == (None, ())
