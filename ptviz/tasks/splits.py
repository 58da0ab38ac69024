"""Cutting rows into splits: stratified by class, disjoint by text, the same for the same seed everywhere.

Random streams are seeded with strings, which Python hashes with SHA-512: the same in every process and version.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from random import Random

from ptviz.tasks.example import Row, Splits, TaskError

SHARES = {"validation": 0.15, "test": 0.15}
FEWEST = 3
"""Rows a class needs to have one in every split."""


def key(text: str) -> str:
    """What makes two texts the same: spacing does not count."""
    return " ".join(text.split())


def distinct(rows: Iterable[Row], taken: Iterable[Row] = ()) -> list[Row]:
    """The first row of every text, leaving out texts that ``taken`` holds: no text in two splits, no text twice."""
    seen = {key(row.text) for row in taken}
    kept = []
    for row in rows:
        mark = key(row.text)
        if mark not in seen:
            seen.add(mark)
            kept.append(row)
    return kept


def by_class(rows: Iterable[Row]) -> dict[int, list[Row]]:
    """The rows of each label, labels ascending, rows in order."""
    groups: dict[int, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.label, []).append(row)
    return dict(sorted(groups.items()))


def cut(rows: Iterable[Row], share: float, seed: str) -> tuple[list[Row], list[Row]]:
    """Rows without and with a share (0 to 1) of every class, at least one row of each class in the latter."""
    random = Random(seed)
    rest: list[Row] = []
    part: list[Row] = []
    for group in by_class(rows).values():
        random.shuffle(group)
        size = max(1, round(share * len(group)))
        part += group[:size]
        rest += group[size:]
    random.shuffle(rest)
    random.shuffle(part)
    return rest, part


def stratified(rows: Iterable[Row], seed: int = 0) -> Splits:
    """Train, validation and test rows in the shares 70/15/15, each class cut alike.

    Raises:
        TaskError: if a class has fewer than three rows.
    """
    rows = list(rows)
    for label, group in by_class(rows).items():
        if len(group) < FEWEST:
            raise TaskError(f"class {label}: expected at least {FEWEST} rows, one a split; got {len(group)}")
    rest, test = cut(rows, SHARES["test"], f"test {seed}")
    train, validation = cut(rest, SHARES["validation"] / (1 - SHARES["test"]), f"validation {seed}")
    return Splits(tuple(train), tuple(validation), tuple(test))


def quotas(sizes: Sequence[int], limit: int) -> list[int]:
    """How many of each class to draw, proportionally, ``limit`` in all; one at least where the limit allows it.

    Source: the largest-remainder method (Hamilton's).
    """
    exact = [limit * size / sum(sizes) for size in sizes]
    floor = 1 if limit >= len(sizes) else 0
    drawn = [max(floor, math.floor(share)) for share in exact]
    while sum(drawn) < limit:
        behind = max(range(len(sizes)), key=lambda c: (drawn[c] < sizes[c], exact[c] - drawn[c]))
        drawn[behind] += 1
    while sum(drawn) > limit:
        ahead = max(range(len(sizes)), key=lambda c: (drawn[c] > floor, drawn[c] - exact[c]))
        drawn[ahead] -= 1
    return drawn


def subsample(rows: tuple[Row, ...], limit: int, seed: str) -> tuple[Row, ...]:
    """At most ``limit`` rows, classes in proportion; all of them, in their order, when they are few enough."""
    if len(rows) <= limit:
        return rows
    random = Random(seed)
    groups = list(by_class(rows).values())
    wanted = quotas([len(group) for group in groups], limit)
    kept = [row for group, size in zip(groups, wanted, strict=True) for row in random.sample(group, size)]
    random.shuffle(kept)
    return tuple(kept)


def few_shot(rows: Iterable[Row], classes: Sequence[str], shots: int, seed: str) -> tuple[Row, ...]:
    """``shots`` rows of every class.

    Raises:
        TaskError: naming the class that has too few, and how many it has.
    """
    random = Random(seed)
    groups = by_class(rows)
    kept: list[Row] = []
    for label, name in enumerate(classes):
        group = groups.get(label, [])
        if len(group) < shots:
            raise TaskError(
                f"expected {shots} training rows of class {name!r}; it has {len(group)}: "
                f"ask for {len(group)} rows a class or fewer"
            )
        kept += random.sample(group, shots)
    random.shuffle(kept)
    return tuple(kept)
