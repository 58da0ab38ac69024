"""Cutting rows into splits: stratified by class, disjoint by text, the same for the same seed everywhere.

Random streams are seeded with strings, which Python hashes with SHA-512: the same in every process and version.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from random import Random

from ptviz.tasks.example import Example, TaskError, TaskSplits

SPLIT_SHARES = {"validation": 0.15, "test": 0.15}
MIN_EXAMPLES_PER_CLASS = 3
"""Rows a class needs to have one in every split."""


def normalised_text(text: str) -> str:
    """Return a text with single blanks: texts that differ in spacing alone are the same."""
    return " ".join(text.split())


def input_key(row: Example) -> str:
    """Return what two rows of one input share: the text, and the choices in any order if there are some."""
    return "\n".join([normalised_text(row.text), *sorted(map(normalised_text, row.choices))])


def drop_duplicates(rows: Iterable[Example], taken: Iterable[Example] = ()) -> list[Example]:
    """Return the first row of every input that ``taken`` does not hold: no input in two splits, none twice."""
    seen = {input_key(row) for row in taken}
    kept = []
    for row in rows:
        mark = input_key(row)
        if mark not in seen:
            seen.add(mark)
            kept.append(row)
    return kept


def merge_references(rows: Iterable[Example]) -> list[Example]:
    """Return one row for every input, with the targets of all rows of this input: the first row, if it has none."""
    merged: dict[str, Example] = {}
    for row in rows:
        first = merged.setdefault(normalised_text(row.text), row)
        if first is not row:
            merged[normalised_text(row.text)] = first._replace(
                targets=tuple(dict.fromkeys(first.targets + row.targets))
            )
    return list(merged.values())


def group_by_class(rows: Iterable[Example]) -> dict[int, list[Example]]:
    """Return the rows of each label, labels ascending, rows in order."""
    groups: dict[int, list[Example]] = {}
    for row in rows:
        groups.setdefault(row.label, []).append(row)
    return dict(sorted(groups.items()))


def split_off(rows: Iterable[Example], share: float, seed: str) -> tuple[list[Example], list[Example]]:
    """Return the rest and a share (0 to 1) of every class, at least one row of each class in the share."""
    random = Random(seed)
    rest: list[Example] = []
    part: list[Example] = []
    for group in group_by_class(rows).values():
        random.shuffle(group)
        size = max(1, round(share * len(group)))
        part += group[:size]
        rest += group[size:]
    random.shuffle(rest)
    random.shuffle(part)
    return rest, part


def split_off_groups(
    rows: Iterable[Example], share: float, seed: str, group: Callable[[Example], str]
) -> tuple[list[Example], list[Example]]:
    """Return the rest and about a share (0 to 1) of the rows, all rows of a group on the same side.

    Each side has a group at least if there are two.
    """
    groups: dict[str, list[Example]] = {}
    for row in rows:
        groups.setdefault(group(row), []).append(row)
    random, waiting = Random(seed), list(groups.values())
    random.shuffle(waiting)
    count, part = sum(map(len, waiting)), list[Example]()
    while len(waiting) > 1 and (not part or len(part) < round(share * count)):
        part += waiting.pop()
    rest = [row for own in waiting for row in own]
    random.shuffle(rest)
    random.shuffle(part)
    return rest, part


def stratified_split(rows: Iterable[Example], seed: int = 0) -> TaskSplits:
    """Return train, validation and test rows in the shares 70/15/15, each class cut alike.

    Raises:
        TaskError: if a class has fewer than three rows.
    """
    rows = list(rows)
    for label, group in group_by_class(rows).items():
        if len(group) < MIN_EXAMPLES_PER_CLASS:
            raise TaskError(
                f"class {label}: expected at least {MIN_EXAMPLES_PER_CLASS} rows, one a split; got {len(group)}"
            )
    rest, test = split_off(rows, SPLIT_SHARES["test"], f"test {seed}")
    train, validation = split_off(rest, SPLIT_SHARES["validation"] / (1 - SPLIT_SHARES["test"]), f"validation {seed}")
    return TaskSplits(tuple(train), tuple(validation), tuple(test))


def split_by_group(rows: Iterable[Example], group: Callable[[Example], str], seed: int = 0) -> TaskSplits:
    """Return train, validation and test rows in about the shares 70/15/15, all rows of a group in the same split.

    Raises:
        TaskError: if there are fewer than three groups.
    """
    groups: dict[str, list[Example]] = {}
    for row in rows:
        groups.setdefault(group(row), []).append(row)
    if len(groups) < MIN_EXAMPLES_PER_CLASS:
        raise TaskError(f"expected at least {MIN_EXAMPLES_PER_CLASS} groups of rows, one a split; got {len(groups)}")
    random, waiting = Random(f"groups {seed}"), list(groups.values())
    random.shuffle(waiting)
    count = sum(map(len, waiting))
    parts: dict[str, list[Example]] = {}
    for name, share in SPLIT_SHARES.items():
        part = parts[name] = waiting.pop()
        while len(part) < round(share * count) and len(waiting) > MIN_EXAMPLES_PER_CLASS - len(parts):
            part += waiting.pop()
    parts["train"] = [row for rest in waiting for row in rest]
    for part in parts.values():
        random.shuffle(part)
    return TaskSplits(tuple(parts["train"]), tuple(parts["validation"]), tuple(parts["test"]))


def class_quotas(sizes: Sequence[int], limit: int) -> list[int]:
    """Return how many of each class to draw, proportionally, ``limit`` in all; one at least where possible.

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


def stratified_subsample(rows: tuple[Example, ...], limit: int, seed: str) -> tuple[Example, ...]:
    """Return at most ``limit`` rows, classes in proportion; all of them, in their order, when they are few enough."""
    if len(rows) <= limit:
        return rows
    random = Random(seed)
    groups = list(group_by_class(rows).values())
    wanted = class_quotas([len(group) for group in groups], limit)
    kept = [row for group, size in zip(groups, wanted, strict=True) for row in random.sample(group, size)]
    random.shuffle(kept)
    return tuple(kept)


def sample_few_shot(rows: Iterable[Example], classes: Sequence[str], shots: int, seed: str) -> tuple[Example, ...]:
    """Return ``shots`` rows of every class.

    Raises:
        TaskError: naming the class that has too few, and how many it has.
    """
    random = Random(seed)
    groups = group_by_class(rows)
    kept: list[Example] = []
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
