"""Labelled texts, the splits they are cut into, and the error of every task that cannot be had."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

SplitName = Literal["train", "validation", "test"]

PAIR_SEPARATOR = " | "
"""What stands between the texts of an example with several fields, where they are shown as one."""


class TaskError(ValueError):
    """A task that cannot be had: what was expected, what came, what to do."""


class Example(NamedTuple):
    """One example: an input, and its class, what is to be written, or which choice is right.

    ``text`` is the input in one piece, as it is shown; ``texts`` holds the texts of a task with several fields, which
    ``text`` joins by ``PAIR_SEPARATOR``. ``label`` indexes the task's classes, or the example's own ``choices``.
    ``targets`` are the references of a text-to-text task.
    """

    text: str
    label: int = 0
    texts: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()

    @classmethod
    def of_fields(cls, *texts: str, label: int = 0, targets: tuple[str, ...] = ()) -> Example:
        """Return an example with one text for each field of its task."""
        return cls(PAIR_SEPARATOR.join(texts), label, texts if len(texts) > 1 else (), targets)

    def to_json(self) -> list[Any]:
        """Return a JSON list: text and label, and what else there is."""
        return [*self] if self.texts or self.targets or self.choices else [self.text, self.label]

    @classmethod
    def from_json(cls, values: Sequence[Any]) -> Example:
        """Return the example of a list that ``to_json`` made.

        Raises:
            TypeError, ValueError: if it is no such list.
        """
        text, label, *lists = values
        return cls(str(text), int(label), *(tuple(map(str, part)) for part in lists))


class TaskSplits(NamedTuple):
    """The three splits of a task."""

    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    test: tuple[Example, ...]
