"""Waywardness: how far a prompt that solves a task can be read as a sentence about something else.

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
    """One trained prompt: the weight of its pull to the sentence, its accuracy, and the words it reads as."""

    run: str
    gamma: float
    seed: int
    accuracy: float
    nearest_words: str


@dataclass(frozen=True)
class WaywardPoint:
    """Where a prompt stands: ``f1`` of its words with the sentence, and the share ``drop`` of the accuracy lost."""

    run: WaywardRun
    f1: float
    accuracy_drop: float


@dataclass(frozen=True)
class Waywardness:
    """Prompts pulled to one sentence, weakest pull first.

    ``free`` is the mean accuracy without a pull, which drops are shares of; None if there is no such run, and then no
    place either.
    """

    sentence: str
    unconstrained_accuracy: float | None
    points: tuple[WaywardPoint, ...]


def compute_waywardness(sentence: str, prompts: Sequence[WaywardRun]) -> Waywardness:
    """Prompt F1 and relative accuracy drop of each prompt."""
    free = [prompt.accuracy for prompt in prompts if prompt.gamma == 0]
    best = sum(free) / len(free) if free else None
    if not best:
        return Waywardness(sentence, best, ())
    ordered = sorted(prompts, key=lambda prompt: (prompt.gamma, prompt.seed))
    places = tuple(WaywardPoint(p, prompt_f1(p.nearest_words, sentence), (best - p.accuracy) / best) for p in ordered)
    return Waywardness(sentence, best, places)


def prompt_f1(words: str, sentence: str) -> float:
    """F1 of the words of two texts, each counted as often as it occurs: 1 where both say the same in any order.

    Case, punctuation and articles do not count.
    Source: ``f1_score`` in ``util.py`` of https://github.com/Alrope123/prompt-waywardness.
    """
    found, wanted = _normalised_words(words), _normalised_words(sentence)
    same = sum((Counter(found) & Counter(wanted)).values())
    if not same:
        return 0.0
    precision, recall = same / len(found), same / len(wanted)
    return 2 * precision * recall / (precision + recall)


def join_tokens(tokens: Sequence[str]) -> str:
    """A text from tokens as a reader knows them: a leading space begins a word, or, of word pieces, ## goes on."""
    if any(token.startswith(" ") for token in tokens):
        return "".join(tokens).strip()
    return " ".join(tokens).replace(" ##", "").strip()


def _normalised_words(text: str) -> list[str]:
    return _ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split()
