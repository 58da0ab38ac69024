"""Waywardness: a prompt that solves a task although its nearest words are those of an unrelated sentence.

Khashabi et al., "Prompt Waywardness: The Curious Case of Discretized Interpretation of Continuous Prompts", NAACL 2022,
section 4. https://aclanthology.org/2022.naacl-main.266
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


@dataclass(frozen=True)
class WaywardRun:
    """One trained prompt: the weight gamma of the pull to the sentence, test score, and nearest words."""

    run: str
    gamma: float
    seed: int
    accuracy: float
    nearest_words: str


@dataclass(frozen=True)
class WaywardPoint:
    """The result of one prompt: F1 (0 to 1) of its nearest words with the sentence, and the relative drop of score."""

    run: WaywardRun
    f1: float
    accuracy_drop: float


@dataclass(frozen=True)
class Waywardness:
    """Prompts pulled to one sentence, smallest gamma first.

    ``unconstrained_accuracy`` is the mean score of the runs with gamma 0, to which drops are relative; None if there
    is no such run. Without one above zero there are no points.
    """

    sentence: str
    unconstrained_accuracy: float | None
    points: tuple[WaywardPoint, ...]


def compute_waywardness(sentence: str, prompts: Sequence[WaywardRun]) -> Waywardness:
    """Compute prompt F1 and relative drop of the score of each prompt."""
    unconstrained = [prompt.accuracy for prompt in prompts if prompt.gamma == 0]
    baseline = sum(unconstrained) / len(unconstrained) if unconstrained else None
    if not baseline or baseline < 0:
        return Waywardness(sentence, baseline, ())
    points = tuple(
        WaywardPoint(
            run=prompt,
            f1=prompt_f1(prompt.nearest_words, sentence),
            accuracy_drop=(baseline - prompt.accuracy) / baseline,
        )
        for prompt in sorted(prompts, key=lambda prompt: (prompt.gamma, prompt.seed))
    )
    return Waywardness(sentence, baseline, points)


def prompt_f1(words: str, sentence: str) -> float:
    """Return F1 of the words of two texts, as multisets: 1 for the same words in any order.

    Case, punctuation and articles are ignored.
    Source: ``f1_score`` in ``util.py`` of https://github.com/Alrope123/prompt-waywardness.
    """
    found, wanted = _normalised_words(words), _normalised_words(sentence)
    same = sum((Counter(found) & Counter(wanted)).values())
    if not same:
        return 0.0
    precision, recall = same / len(found), same / len(wanted)
    return 2 * precision * recall / (precision + recall)


def join_tokens(tokens: Sequence[str]) -> str:
    """Join tokens to a text: a leading space begins a word, or, in word pieces, ## continues one."""
    if any(token.startswith(" ") for token in tokens):
        return "".join(tokens).strip()
    return " ".join(tokens).replace(" ##", "").strip()


def _normalised_words(text: str) -> list[str]:
    return _ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split()
