"""Pairs of utterances that mean the same or not, made from a set of intents.

They stand in for paraphrase: no such set comes with a package. Utterances are split first and paired within their
split, each at most once, so no utterance is in two splits or in two pairs.
"""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

from ptviz.tasks.example import PAIR, Row, Splits
from ptviz.tasks.splits import by_class, stratified

DIFFERENT, SAME = 0, 1


def paired(rows: Iterable[Row], seed: int = 0) -> Splits:
    """Splits of pairs, half of them of one intent; ``rows`` are single utterances labelled with their intent."""
    train, validation, test = stratified(rows, seed)
    return Splits(
        pair_up(train, f"train {seed}"), pair_up(validation, f"validation {seed}"), pair_up(test, f"test {seed}")
    )


def pair_up(rows: Iterable[Row], seed: str) -> tuple[Row, ...]:
    """Every utterance in at most one pair: half of each intent's with one another, the others across intents."""
    random = Random(f"pairs {seed}")
    pairs: list[Row] = []
    left: list[Row] = []
    for group in by_class(rows).values():
        random.shuffle(group)
        half = len(group) // 4 * 2
        pairs += [_join(a, b, SAME) for a, b in zip(group[:half:2], group[1:half:2], strict=True)]
        left += group[half:]
    # As many differing pairs as equal ones, so that neither answer is the likelier one.
    pairs += [_join(a, b, DIFFERENT) for a, b in _across(left, random)[: len(pairs)]]
    random.shuffle(pairs)
    return tuple(pairs)


def _across(rows: list[Row], random: Random) -> list[tuple[Row, Row]]:
    """Pairs of rows with different labels, each row once; the few that find no partner are left out."""
    random.shuffle(rows)
    pairs: list[tuple[Row, Row]] = []
    waiting: list[Row] = []  # all of one label: the next row of another label takes one of them
    for row in rows:
        if waiting and waiting[-1].label != row.label:
            pairs.append((waiting.pop(), row))
        else:
            waiting.append(row)
    return pairs


def _join(first: Row, second: Row, label: int) -> Row:
    return Row(first.text + PAIR + second.text, label)
