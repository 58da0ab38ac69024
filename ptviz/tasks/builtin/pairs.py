"""Pairs of utterances that mean the same or not, made from a set of intents.

They stand in for paraphrase: no such set comes with a package. Utterances are split first and paired within their
split, each at most once, so no utterance is in two splits or in two pairs.
"""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

from ptviz.tasks.example import PAIR_SEPARATOR, Example, TaskSplits
from ptviz.tasks.splits import group_by_class, stratified_split

DIFFERENT_LABEL, SAME_LABEL = 0, 1


def make_pair_splits(rows: Iterable[Example], seed: int = 0) -> TaskSplits:
    """Return splits of pairs, half of them of one intent; ``rows`` are single utterances labelled with their intent."""
    train, validation, test = stratified_split(rows, seed)
    return TaskSplits(
        make_pairs(train, f"train {seed}"),
        make_pairs(validation, f"validation {seed}"),
        make_pairs(test, f"test {seed}"),
    )


def make_pairs(rows: Iterable[Example], seed: str) -> tuple[Example, ...]:
    """Return pairs, each utterance in one at most: half of each intent with one another, the others across intents."""
    random = Random(f"pairs {seed}")
    pairs: list[Example] = []
    left: list[Example] = []
    for group in group_by_class(rows).values():
        random.shuffle(group)
        half = len(group) // 4 * 2
        pairs += [_join_pair(a, b, SAME_LABEL) for a, b in zip(group[:half:2], group[1:half:2], strict=True)]
        left += group[half:]
    # As many differing pairs as equal ones, so that neither answer is the likelier one.
    pairs += [_join_pair(a, b, DIFFERENT_LABEL) for a, b in _pair_different_labels(left, random)[: len(pairs)]]
    random.shuffle(pairs)
    return tuple(pairs)


def _pair_different_labels(rows: list[Example], random: Random) -> list[tuple[Example, Example]]:
    """Return pairs of rows with different labels, each row once; the few without a partner are left out."""
    random.shuffle(rows)
    pairs: list[tuple[Example, Example]] = []
    waiting: list[Example] = []  # all of one label: the next row of another label takes one of them
    for row in rows:
        if waiting and waiting[-1].label != row.label:
            pairs.append((waiting.pop(), row))
        else:
            waiting.append(row)
    return pairs


def _join_pair(first: Example, second: Example, label: int) -> Example:
    return Example(first.text + PAIR_SEPARATOR + second.text, label)
