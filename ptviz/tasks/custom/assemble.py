"""From a stream of rows to a task: rows checked, too many of them sampled, classes named and worded."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from ptviz.tasks.custom.choices import read_choices, resolve_labels
from ptviz.tasks.custom.errors import table_error, table_name
from ptviz.tasks.custom.label_words import word_classes
from ptviz.tasks.custom.labels import ClassSpellings, label_spelling, read_label, sort_class_names, to_class_name
from ptviz.tasks.custom.table_options import LIMITS, TableLimits, TableOptions
from ptviz.tasks.custom.tables import NumberedRow, SwallowedLine
from ptviz.tasks.example import Example, TaskError, TaskSplits
from ptviz.tasks.metrics import check_metric
from ptviz.tasks.splits import MIN_EXAMPLES_PER_CLASS, drop_duplicates, input_key, merge_references
from ptviz.tasks.task import Task, TaskKind
from ptviz.tasks.template import RESERVED_NAMES

MAX_ROWS = 100_000
"""Rows kept of a larger table."""
MAX_CLASSES = 200
"""Classes of a task at most; more mean that the label column holds something else."""
DEFAULT_CUE = "Answer:"
CUSTOM_FAMILY = "your own"
_MISSING_MARKS = ("nan", "na", "n/a", "#n/a", "null")
"""Labels, in lower case, that other programs write where there is none."""
_LISTED_ROWS = 20
_MAX_LABEL_LENGTH = 1000


class Columns(NamedTuple):
    """The columns of a task: those of its texts, in the order of its fields, and that of its labels or targets.

    ``choices`` are those of each row's own choices; the labels then name the right one.
    """

    texts: tuple[str, ...]
    answer: str
    is_target: bool = False
    choices: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        """All columns, that of the answers last."""
        return [*self.texts, *self.choices, self.answer]

    @property
    def kind(self) -> TaskKind:
        """Whether an answer is a class, a target text, or one of the row's own choices."""
        return "text" if self.is_target else "choice" if self.choices else "classification"

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of the task's fields: of several columns their own, as far as a template can name them."""
        return ("text",) if len(self.texts) == 1 else tuple(map(_field_name, self.texts))


def _field_name(column: str) -> str:
    name = re.sub(r"\W+", "_", column).strip("_")
    return name if name.isidentifier() and name not in RESERVED_NAMES else f"field_{name}"


class Row(NamedTuple):
    """One row of a table: its texts, and its class or the target texts.

    A row with ``choices``, "" where a cell is empty, has the name of the right one as its answer. ``number`` is that
    of the row in its file.
    """

    texts: tuple[str, ...]
    answer: str | tuple[str, ...]
    choices: tuple[str, ...] = ()
    number: int = 0

    @property
    def size(self) -> int:
        """The characters of its texts."""
        more = self.answer if isinstance(self.answer, tuple) else self.choices
        return sum(map(len, (*self.texts, *more)))


@dataclass
class CollectedExamples:
    """The rows, how many there were, how many of each class, and what was noticed."""

    rows: list[Row] = field(default_factory=list)
    total_rows: int = 0
    class_counts: Counter[str] = field(default_factory=Counter)
    spellings: ClassSpellings = field(default_factory=ClassSpellings)
    skipped: list[str] = field(default_factory=list)
    skipped_rows: int = 0
    cut_texts: int = 0

    def merge_targets(self) -> list[Example]:
        """Return one row for every input, with the targets of all its rows."""
        return merge_references(Example.of_fields(*row.texts, targets=tuple(row.answer)) for row in self.rows)

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
            row, spelling = check_row(source, number, values, columns)
        except TaskError as error:
            if not skip_bad_rows:
                raise
            _record_skipped(found, source, error)
            continue
        if columns.kind == "classification" and isinstance(row.answer, str):
            _count_class(found, source, number, columns, row.answer, spelling)
        found.total_rows += 1
        row = _cut_row(found, row, limits.text)
        if len(found.rows) < limit:
            found.rows.append(row)
            characters += row.size
        elif (place := int(random.random() * found.total_rows)) < limit:
            characters += row.size - found.rows[place].size
            found.rows[place] = row
        if characters > limits.total_characters:
            most = f"{limits.total_characters:,} characters in all"
            problem = f"the texts have more than {most}; take fewer rows, or shorter texts"
            raise table_error(source, problem, number)
    return found


def _count_class(
    found: CollectedExamples, source: Path | str, number: int, columns: Columns, name: str, spelling: str
) -> None:
    found.spellings.add(name, spelling)
    found.class_counts[name] += 1
    if len(found.class_counts) > MAX_CLASSES:
        problem = f"{name[:40]!r} is class number {MAX_CLASSES + 1}; expected {MAX_CLASSES} at most: is this the "
        raise table_error(source, problem + "column of labels?", number, columns.answer)


def _cut_row(found: CollectedExamples, row: Row, limit: int) -> Row:
    answers = row.answer if isinstance(row.answer, tuple) else ()
    if not any(len(text) > limit for text in (*row.texts, *answers)):
        return row
    found.cut_texts += 1
    answer = tuple(text[:limit] for text in answers) or row.answer
    return row._replace(texts=tuple(text[:limit] for text in row.texts), answer=answer)


def check_row(source: Path | str, number: int, values: Sequence[Any] | TaskError, columns: Columns) -> tuple[Row, str]:
    """Return one row, and the spelling of its label."""
    if isinstance(values, TaskError):
        raise values
    count = len(columns.texts)
    texts, cells, answer = values[:count], values[count:-1], values[-1]
    for text, column in zip(texts, columns.texts, strict=True):
        _check_text(source, number, column, text)
    own = tuple(text.strip() for text in texts)
    if columns.is_target:
        return Row(own, _read_targets(source, number, columns.answer, answer)), ""
    if columns.choices:
        choices = read_choices(source, number, columns.choices, cells)
        for choice in choices:
            _check_characters(source, number, columns.choices[0], choice)
        _, spelling = _read_class(source, number, columns.answer, answer)
        return Row(own, spelling, choices, number), spelling
    name, spelling = _read_class(source, number, columns.answer, answer)
    return Row(own, name), spelling


def _check_text(source: Path | str, number: int, column: str, text: Any) -> None:
    if not isinstance(text, str) or not text.strip():
        got = "an empty one" if text is None or isinstance(text, str) else f"{_brief(text)}, a {_type_name(text)}"
        raise table_error(source, f"expected a text; got {got}: fill it in, or delete the row", number, column)
    _check_characters(source, number, column, text)


def _read_targets(source: Path | str, number: int, column: str, value: Any) -> tuple[str, ...]:
    """Return the different texts of a cell: a text or a number, or a list of them."""
    found = value if isinstance(value, list) else [value]
    if not found:
        raise table_error(source, "expected a target text; got an empty list: fill it in", number, column)
    targets = [label_spelling(one) if isinstance(one, int | float | Decimal) else one for one in found]
    for target in targets:
        _check_text(source, number, column, target)
    return tuple(dict.fromkeys(target.strip() for target in targets))


def _read_class(source: Path | str, number: int, column: str, label: Any) -> tuple[str, str]:
    """Return the class and the spelling of a label."""
    if isinstance(label, str) and len(label) > _MAX_LABEL_LENGTH:
        problem = (
            f"expected a label of at most {_MAX_LABEL_LENGTH:,} characters; got {len(label):,}: is this the column "
        )
        raise table_error(source, problem + "of labels?", number, column)
    try:
        name, spelling = read_label(label)
    except TypeError:
        problem = f"expected one label in each row, a text, a number, or true or false; got {_brief(label)}, "
        raise table_error(source, f"{problem}a {_type_name(label)}", number, column) from None
    if not name:
        raise table_error(source, f"expected a label; got {label!r}: fill it in, or delete the row", number, column)
    _check_characters(source, number, column, name)
    return name, spelling


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
    if found.total_rows == len(found.rows):
        return ()
    return (f"{source}: {found.total_rows:,} rows, of which {len(found.rows):,} were sampled",)


def label_examples(
    found: CollectedExamples, source: str, column: str
) -> tuple[list[str], list[Example], tuple[str, ...]]:
    """Return classes, distinct rows labelled by them, and notes on what was left out.

    Raises:
        TaskError: if fewer than two classes have the rows that three splits need.
    """
    _check_not_empty(found, source)
    names = sort_class_names(found.class_counts)
    number = {name: label for label, name in enumerate(names)}
    labelled = [Example.of_fields(*row.texts, label=number[str(row.answer)]) for row in found.rows]
    unique = drop_duplicates(labelled)
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
    if len(unique) < len(found.rows):
        notes.append(f"{_count(len(found.rows) - len(unique), 'repeated text')} left out")
        labels_of = Counter(text for text, _ in {(input_key(row), row.label) for row in labelled})
        if several := sum(count > 1 for count in labels_of.values()):
            notes.append(f"texts with several labels, of which the first was taken: {several:,}")
    notes += [
        f"the label {names[label]!r} is a class of {_count(sizes[label], 'text')}: if it stands for a missing label, "
        "leave those rows out"
        for label in kept
        if names[label].lower() in _MISSING_MARKS
    ]
    index = {label: place for place, label in enumerate(kept)}
    rows = [row._replace(label=index[row.label]) for row in unique if row.label in index]
    return [found.spellings.class_name(names[label]) for label in kept], rows, tuple(notes)


def _check_not_empty(found: CollectedExamples, source: str) -> None:
    if not found.rows:
        skipped = f" ({found.skipped_rows:,} bad rows skipped: {found.skipped[0]})" if found.skipped else ""
        raise table_error(source, f"there are no rows below the header; expected a text and a label in each{skipped}")


def target_examples(found: CollectedExamples, source: str, column: str) -> tuple[list[Example], tuple[str, ...]]:
    """Return one row for every input, with all target texts that the table has for it, and notes.

    Raises:
        TaskError: if there are too few inputs for three splits.
    """
    _check_not_empty(found, source)
    merged = found.merge_targets()
    if len(merged) < MIN_EXAMPLES_PER_CLASS:
        problem = f"expected at least {MIN_EXAMPLES_PER_CLASS} different inputs, one a split; got {len(merged)}"
        raise table_error(source, problem, None, column)
    repeated = len(found.rows) - len(merged)
    return merged, (f"{_count(repeated, 'row')} with the input of another: their targets are its references",) * (
        repeated > 0
    )


def choice_examples(
    found: CollectedExamples, source: str, columns: Columns, *, skip_bad_rows: bool = False
) -> tuple[list[Example], tuple[str, ...]]:
    """Return distinct rows with their choices and the place of the right one, and how the labels were read.

    Raises:
        TaskError: naming the first row whose label is none of its choices (unless bad rows are skipped), if it is not
            clear what the labels name, or if there are too few inputs for three splits.
    """
    _check_not_empty(found, source)
    try:
        reading, places = resolve_labels([(str(row.answer), row.choices) for row in found.rows], columns.choices)
    except ValueError as error:
        problem = f"the numbers of the right choices {error}. Name the right choices by letters or texts"
        raise table_error(source, problem, None, columns.answer) from error
    rows: list[Example] = []
    misfits = 0
    for row, place in zip(found.rows, places, strict=True):
        if place is None:
            misfits += 1
            if not skip_bad_rows:
                some = ", ".join(repr(choice[:20]) for choice in row.choices[:5] if choice)
                problem = (
                    "expected the right choice: its text, its column, a letter or a number, in the same way in every "
                    f"row; got {str(row.answer)[:40]!r} for {some}"
                )
                raise table_error(source, problem, row.number, columns.answer)
            continue
        given = tuple(choice for choice in row.choices if choice)
        example = Example.of_fields(*row.texts, label=given.index(row.choices[place]))
        rows.append(example._replace(choices=given))
    unique = drop_duplicates(rows)
    if len(unique) < MIN_EXAMPLES_PER_CLASS:
        problem = f"expected at least {MIN_EXAMPLES_PER_CLASS} different inputs, one a split; got {len(unique)}"
        raise table_error(source, problem, None, columns.texts[0])
    notes = [f"column {columns.answer} is read as {reading}"]
    if misfits:
        notes.append(f"{_count(misfits, 'row')} skipped: the label is none of the choices")
    if len(unique) < len(rows):
        notes.append(f"{_count(len(rows) - len(unique), 'repeated text')} left out")
    return unique, tuple(notes)


def custom_task(
    name: str,
    classes: Sequence[str],
    splits: TaskSplits,
    source: str,
    notes: tuple[str, ...],
    columns: Columns,
    options: TableOptions,
) -> Task:
    """Return a task of a user's own rows, its label words and descriptions made from the names of the classes.

    Raises:
        TaskError: naming two classes whose words are the same, or what does not fit the task: the number of words, a
            metric, a template, a field.
    """
    label_words, descriptions = word_table_classes(classes, options)
    if options.metric:
        check_metric(options.metric, "text" if columns.kind == "text" else "classification", len(classes) or None)
    return Task(
        name=name,
        title=name,
        family=CUSTOM_FAMILY,
        classes=tuple(classes),
        label_words=label_words,
        whole_words=bool(options.word_list),
        distinct_words=True,
        descriptions=descriptions,
        cue=DEFAULT_CUE,
        train=splits.train,
        validation=splits.validation,
        test=splits.test,
        source=source,
        notes=notes,
        metric=options.metric,
        fields=columns.fields,
        template=options.template,
        cut_first=options.cut_first,
    )


def word_table_classes(classes: Sequence[str], options: TableOptions) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return one label word and one description for each class: those that the options give, others from the names.

    Raises:
        TaskError: naming two classes whose words are the same, or for another number of words than of classes.
    """
    if options.word_list and len(options.word_list) != len(classes):
        got = f"got {', '.join(options.word_list)}"
        raise TaskError(f"words: expected {len(classes)} words, one each for {', '.join(classes[:20])}; {got}")
    given = zip(classes, options.word_list, strict=True) if options.word_list else options.words
    shown = {to_class_name(name): name for name in classes}  # 007 is the class 7, and shown with its zeros
    names = ((to_class_name(label), word) for label, word in given)
    return word_classes(classes, {shown.get(name, name): word for name, word in names})
