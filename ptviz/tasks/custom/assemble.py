"""From a stream of rows to a task: rows checked, too many of them sampled, classes named and worded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from ptviz.tasks.custom.errors import table_error, table_name
from ptviz.tasks.custom.label_words import word_classes
from ptviz.tasks.custom.labels import ClassSpellings, read_label, sort_class_names, to_class_name
from ptviz.tasks.custom.options import LIMITS, TableLimits, TableOptions
from ptviz.tasks.custom.tables import NumberedRow, SwallowedLine
from ptviz.tasks.example import PAIR_SEPARATOR, Example, TaskError, TaskSplits
from ptviz.tasks.splits import MIN_EXAMPLES_PER_CLASS, drop_duplicates
from ptviz.tasks.task import Task

MAX_ROWS = 100_000
"""Rows kept of a larger table."""
MAX_CLASSES = 200
"""Classes of a task at most; more mean that the label column holds something else."""
DEFAULT_CUE = "Answer:"
CUSTOM_FAMILY = "your own"
_LISTED_ROWS = 20
_MAX_LABEL_LENGTH = 1000


class Columns(NamedTuple):
    """The columns of a task: those of its texts, in the order in which they are joined, and that of its labels."""

    texts: tuple[str, ...]
    label: str

    @property
    def names(self) -> list[str]:
        """All columns, that of the labels last."""
        return [*self.texts, self.label]


@dataclass
class CollectedExamples:
    """Rows as (text, class name), how many rows there were, how many of each class, and what was noticed."""

    labelled_texts: list[tuple[str, str]] = field(default_factory=list)
    total_rows: int = 0
    class_counts: Counter[str] = field(default_factory=Counter)
    spellings: ClassSpellings = field(default_factory=ClassSpellings)
    skipped: list[str] = field(default_factory=list)
    skipped_rows: int = 0
    cut_texts: int = 0

    def notes(self) -> tuple[str, ...]:
        """Say what was skipped, cut, or taken as one."""
        notes = self.spellings.notes()
        if self.skipped_rows:
            more = f"; and {self.skipped_rows - len(self.skipped):,} more" * (self.skipped_rows > len(self.skipped))
            notes += (f"{_count(self.skipped_rows, 'bad row')} skipped: {'; '.join(self.skipped)}{more}",)
        if self.cut_texts:
            notes += (f"{_count(self.cut_texts, 'text')} cut to {LIMITS.text:,} characters",)
        return notes


def collect_examples(
    source: Path | str,
    rows: Iterable[NumberedRow],
    columns: Columns,
    limit: int,
    seed: int,
    *,
    skip_bad_rows: bool = False,
    limits: TableLimits = LIMITS,
) -> CollectedExamples:
    """Return all rows of a stream of values in ``columns``; above ``limit``, a uniform sample.

    The sample is drawn in one pass that keeps ``limit`` rows at a time.
    Source: Vitter, "Random Sampling with a Reservoir", 1985, algorithm R, https://doi.org/10.1145/3147.3165

    Raises:
        TaskError: naming row and column, for the first row that cannot be used (unless bad rows are skipped), for one
            class too many, or for more text than fits in memory.
    """
    random = Random(f"reservoir {seed}")
    found = CollectedExamples()
    characters = 0
    for number, values in rows:
        try:
            texts, name, spelling = _check_row(source, number, values, columns)
        except TaskError as error:
            if not skip_bad_rows:
                raise
            _record_skipped(found, source, error)
            continue
        found.spellings.add(name, spelling)
        found.class_counts[name] += 1
        if len(found.class_counts) > MAX_CLASSES:
            problem = f"{name[:40]!r} is class number {MAX_CLASSES + 1}; expected {MAX_CLASSES} at most: is this the "
            raise table_error(source, problem + "column of labels?", number, columns.label)
        found.total_rows += 1
        found.cut_texts += any(len(text) > limits.text for text in texts)
        example = (PAIR_SEPARATOR.join(text[: limits.text] for text in texts), name)
        if len(found.labelled_texts) < limit:
            found.labelled_texts.append(example)
            characters += len(example[0])
        elif (place := int(random.random() * found.total_rows)) < limit:
            characters += len(example[0]) - len(found.labelled_texts[place][0])
            found.labelled_texts[place] = example
        if characters > limits.kept:
            problem = f"the texts have more than {limits.kept:,} characters in all; take fewer rows, or shorter texts"
            raise table_error(source, problem, number)
    return found


def _check_row(
    source: Path | str, number: int, values: Sequence[Any] | TaskError, columns: Columns
) -> tuple[list[str], str, str]:
    """Return the texts, the class and the spelling of the label of one row."""
    if isinstance(values, TaskError):
        raise values
    *texts, label = values
    for text, column in zip(texts, columns.texts, strict=True):
        if not isinstance(text, str) or not text.strip():
            got = "an empty one" if text is None or isinstance(text, str) else f"{_brief(text)}, a {_type_name(text)}"
            raise table_error(source, f"expected a text; got {got}: fill it in, or delete the row", number, column)
        _check_characters(source, number, column, text)
    if isinstance(label, str) and len(label) > _MAX_LABEL_LENGTH:
        problem = (
            f"expected a label of at most {_MAX_LABEL_LENGTH:,} characters; got {len(label):,}: is this the column "
        )
        raise table_error(source, problem + "of labels?", number, columns.label)
    try:
        name, spelling = read_label(label)
    except TypeError:
        problem = f"expected one label in each row, a text, a number, or true or false; got {_brief(label)}, "
        raise table_error(source, f"{problem}a {_type_name(label)}", number, columns.label) from None
    if not name:
        raise table_error(
            source, f"expected a label; got {label!r}: fill it in, or delete the row", number, columns.label
        )
    _check_characters(source, number, columns.label, name)
    return [text.strip() for text in texts], name, spelling


def _check_characters(source: Path | str, number: int, column: str, text: str) -> None:
    """Refuse lone surrogates: bytes that the encoding does not have, or half of a character in JSON."""
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError as error:
        code = ord(text[error.start])
        what = f"byte 0x{code - 0xDC00:02X} is not in the encoding" if 0xDC80 <= code <= 0xDCFF else "half a character"
        problem = f"expected readable text; {what} (after {text[max(0, error.start - 20) : error.start]!r}): "
        raise table_error(source, problem + "name the file's encoding", number, column) from error


def _type_name(value: Any) -> str:
    return {"dict": "JSON object"}.get(type(value).__name__, type(value).__name__)


def _brief(value: Any) -> str:
    # repr of a large list takes long; its beginning is enough.
    return repr(value[:5] if isinstance(value, list | bytes) else value)[:40]


def _record_skipped(found: CollectedExamples, source: Path | str, error: TaskError) -> None:
    found.skipped_rows += 1
    if len(found.skipped) < _LISTED_ROWS:
        found.skipped.append(str(error).removeprefix(f"{table_name(source)}, ")[:200])


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def swallowed_notes(found: CollectedExamples, lines: Iterable[SwallowedLine]) -> tuple[str, ...]:
    """Warn of lines within quoted cells that would be rows, with a label that other rows have too."""
    likely = [line for line in lines if line.label and to_class_name(line.label) in found.class_counts]
    if not likely:
        return ()
    return (
        f"{found.total_rows:,} rows read, {len(likely):,} look swallowed by a quote, the first in row {likely[0].row}"
        ": if quotes are part of the texts, choose quoting: none",
    )


def sampling_note(found: CollectedExamples, source: str) -> tuple[str, ...]:
    """Say that a table was too large to be kept whole, if it was."""
    if found.total_rows == len(found.labelled_texts):
        return ()
    return (f"{source}: {found.total_rows:,} rows, of which {len(found.labelled_texts):,} were sampled",)


def label_examples(
    found: CollectedExamples, source: str, column: str
) -> tuple[list[str], list[Example], tuple[str, ...]]:
    """Return classes, distinct rows labelled by them, and notes on what was left out.

    Raises:
        TaskError: if fewer than two classes have the rows that three splits need.
    """
    if not found.labelled_texts:
        skipped = f" ({found.skipped_rows:,} bad rows skipped: {found.skipped[0]})" if found.skipped else ""
        raise table_error(source, f"there are no rows below the header; expected a text and a label in each{skipped}")
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
        some = ", ".join(repr(name[:40]) for name in rare[:5]) + (" ..." if len(rare) > 5 else "")
        classes = _count(len(rare), "class", "classes")
        notes.append(f"{classes} with fewer than {MIN_EXAMPLES_PER_CLASS} different texts left out: {some}")
    if len(unique) < len(found.labelled_texts):
        notes.append(f"{_count(len(found.labelled_texts) - len(unique), 'repeated text')} left out")
    index = {label: place for place, label in enumerate(kept)}
    rows = [Example(row.text, index[row.label]) for row in unique if row.label in index]
    return [found.spellings.class_name(names[label]) for label in kept], rows, tuple(notes)


def custom_task(
    name: str,
    classes: Sequence[str],
    splits: TaskSplits,
    source: str,
    notes: tuple[str, ...],
    options: TableOptions | None = None,
) -> Task:
    """Return a task of a user's own rows, its label words and descriptions made from the names of the classes.

    Raises:
        TaskError: naming two classes whose words are the same.
    """
    words = {to_class_name(label): word for label, word in (options.words if options else ())}
    label_words, descriptions = word_classes(classes, words)
    return Task(
        name=name,
        title=name,
        family=CUSTOM_FAMILY,
        classes=tuple(classes),
        label_words=label_words,
        descriptions=descriptions,
        cue=DEFAULT_CUE,
        train=splits.train,
        validation=splits.validation,
        test=splits.test,
        source=source,
        notes=notes,
    )
