"""Labelled texts, the splits they are cut into, and the error of every task that cannot be had."""

from __future__ import annotations

from typing import Literal, NamedTuple

SplitName = Literal["train", "validation", "test"]

PAIR_SEPARATOR = " | "
"""What stands between the two texts of a pair."""


class TaskError(ValueError):
    """A task that cannot be had: what was expected, what came, what to do."""


class Example(NamedTuple):
    """One labelled text; ``label`` indexes the task's classes. The texts of a pair are joined by ``PAIR_SEPARATOR``."""

    text: str
    label: int


class TaskSplits(NamedTuple):
    """The three splits of a task."""

    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    test: tuple[Example, ...]
