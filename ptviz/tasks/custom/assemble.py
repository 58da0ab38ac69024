"""From a stream of values to a task: rows checked, too many of them sampled, classes named and worded."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from ptviz.tasks.custom.label_words import assign_label_words, readable_class_name
from ptviz.tasks.custom.tables import NumberedValues, table_error
from ptviz.tasks.example import PAIR_SEPARATOR, Example, TaskError, TaskSplits
from ptviz.tasks.splits import MIN_EXAMPLES_PER_CLASS, drop_duplicates
from ptviz.tasks.task import Task

MAX_ROWS = 100_000
"""Rows kept of a larger table."""
MAX_CLASSES = 200
"""Classes of a task at most; more mean that the label column holds something else."""
DEFAULT_CUE = "Answer:"


@dataclass
class CollectedExamples:
    """Rows as (text, class name), how many rows there were, and how many of each class."""

    labelled_texts: list[tuple[str, str]] = field(default_factory=list)
    total_rows: int = 0
    class_counts: Counter[str] = field(default_factory=Counter)


def collect_examples(
    source: Path | str, stream: Iterable[NumberedValues], columns: Sequence[str], limit: int, seed: int
) -> CollectedExamples:
    """All rows of a stream of (text, label) or (text, label, second text) values; above ``limit``, a uniform sample.

    The sample is drawn in one pass that keeps ``limit`` rows at a time.
    Source: Vitter, "Random Sampling with a Reservoir", 1985, algorithm R, https://doi.org/10.1145/3147.3165

    Raises:
        TaskError: naming row and column, for an empty or non-text text, a missing label, or one class too many.
    """
    random = Random(f"reservoir {seed}")
    found = CollectedExamples()
    texts = [0, 2] if len(columns) == 3 else [0]
    for number, values in stream:
        for place in texts:
            if not isinstance(values[place], str) or not values[place].strip():
                raise _text_error(source, number, columns[place], values[place])
        name = to_class_name(values[1])
        if not name:
            problem = f"expected a label; got {values[1]!r}: fill it in, or delete the row"
            raise table_error(source, problem, number, columns[1])
        found.class_counts[name] += 1
        if len(found.class_counts) > MAX_CLASSES:
            problem = f"{name[:40]!r} is class number {MAX_CLASSES + 1}; expected {MAX_CLASSES} at most: is this the "
            raise table_error(source, problem + "column of labels?", number, columns[1])
        found.total_rows += 1
        if len(found.labelled_texts) < limit:
            found.labelled_texts.append((_join_texts(values, texts), name))
        elif (place := int(random.random() * found.total_rows)) < limit:
            found.labelled_texts[place] = (_join_texts(values, texts), name)
    return found


def to_class_name(label: Any) -> str:
    """A label as a class name: 1, 1.0 and "1" are the same class; "" if it is missing."""
    if isinstance(label, str):
        return label.strip()
    if label is None or (isinstance(label, float) and not math.isfinite(label)):
        return ""
    if isinstance(label, bool):
        return str(label).lower()
    return str(int(label)) if isinstance(label, float) and label.is_integer() else str(label)


def sort_class_names(names: Iterable[str]) -> list[str]:
    """Class names sorted, numbers by value and before words."""
    return sorted(names, key=lambda name: (not name.isdecimal(), int(name) if name.isdecimal() else 0, name))


def sampling_note(found: CollectedExamples, source: str) -> tuple[str, ...]:
    """Says that a table was too large to be kept whole, if it was."""
    if found.total_rows == len(found.labelled_texts):
        return ()
    return (f"{source}: {found.total_rows:,} rows, of which {len(found.labelled_texts):,} were sampled",)


def label_examples(
    found: CollectedExamples, source: str, column: str
) -> tuple[list[str], list[Example], tuple[str, ...]]:
    """Classes, distinct rows labelled by them, and notes on what was left out.

    Raises:
        TaskError: if fewer than two classes have the rows that three splits need.
    """
    if not found.labelled_texts:
        raise table_error(source, "there are no rows below the header; expected a text and a label in each")
    names = sort_class_names(found.class_counts)
    number = {name: label for label, name in enumerate(names)}
    unique = drop_duplicates(Example(text, number[name]) for text, name in found.labelled_texts)
    sizes = Counter(row.label for row in unique)
    kept = [label for label in range(len(names)) if sizes[label] >= MIN_EXAMPLES_PER_CLASS]
    if len(kept) < 2:
        had = ", ".join(f"{name[:40]!r} ({sizes[label]} different texts)" for label, name in enumerate(names[:5]))
        problem = f"expected at least two classes with {MIN_EXAMPLES_PER_CLASS} different texts each; got {had}"
        raise table_error(source, problem + ": add rows, or choose another column of labels", None, column)
    notes = []
    if rare := [name for label, name in enumerate(names) if label not in kept]:
        some = ", ".join(rare[:5]) + (" ..." if len(rare) > 5 else "")
        notes.append(f"{len(rare)} classes with fewer than {MIN_EXAMPLES_PER_CLASS} different texts left out: {some}")
    if len(unique) < len(found.labelled_texts):
        notes.append(f"{len(found.labelled_texts) - len(unique):,} repeated texts left out")
    index = {label: place for place, label in enumerate(kept)}
    rows = [Example(row.text, index[row.label]) for row in unique if row.label in index]
    return [names[label] for label in kept], rows, tuple(notes)


def custom_task(name: str, classes: Sequence[str], splits: TaskSplits, source: str, notes: tuple[str, ...]) -> Task:
    """A task of somebody's own rows, its label words and descriptions made from the names of the classes."""
    return Task(
        name=name,
        title=name,
        family="your own",
        classes=tuple(classes),
        label_words=assign_label_words(classes),
        descriptions=tuple(readable_class_name(known) for known in classes),
        cue=DEFAULT_CUE,
        train=splits.train,
        validation=splits.validation,
        test=splits.test,
        source=source,
        notes=notes,
    )


def _join_texts(values: Sequence[Any], texts: Sequence[int]) -> str:
    return PAIR_SEPARATOR.join(values[place].strip() for place in texts)


def _text_error(source: Path | str, row: int, column: str, value: Any) -> TaskError:
    got = "an empty one" if value is None or isinstance(value, str) else f"{value!r}, a {type(value).__name__}"
    return table_error(source, f"expected a text; got {got}: fill it in, or delete the row", row, column)
