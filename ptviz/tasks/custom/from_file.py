"""Users' own tables as tasks: CSV, TSV, JSON and Parquet files."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from ptviz.safe_text import slug
from ptviz.tasks.custom.assemble import (
    MAX_ROWS,
    Columns,
    choice_examples,
    collect_examples,
    custom_task,
    label_examples,
    sampling_note,
    swallowed_notes,
    target_examples,
)
from ptviz.tasks.custom.choices import CHOICE_LABEL_NAMES
from ptviz.tasks.custom.containers import table_stem
from ptviz.tasks.custom.errors import table_error, table_name
from ptviz.tasks.custom.table_options import LIMITS, TableLimits, TableOptions
from ptviz.tasks.custom.tables import open_table
from ptviz.tasks.example import TaskError
from ptviz.tasks.splits import input_key, split_by_group, stratified_split
from ptviz.tasks.task import MAX_FIELDS, Task

TEXT_COLUMN_NAMES = (
    "text",
    "sentence",
    "content",
    "review",
    "question",
    "utterance",
    "tweet",
    "message",
    "document",
    "title",
)
LABEL_COLUMN_NAMES = ("label", "class", "category", "target", "intent", "sentiment", "topic", "labels", "coarse_label")


def load_table_task(
    path: str | Path,
    text: str | None = None,
    label: str | None = None,
    *,
    options: TableOptions | None = None,
    name: str | None = None,
    seed: int = 0,
    limit: int = MAX_ROWS,
    limits: TableLimits = LIMITS,
) -> Task:
    """Return a table's rows as a task, split 70/15/15 by ``seed``, each class alike.

    ``text`` and ``label`` name the columns (without: "text", "label" and other usual names); several columns of texts,
    "premise,hypothesis", are the fields of the task. ``options`` say how the file is read where it should not decide
    itself, and what task is made of it. Of more than ``limit`` rows a uniform sample is kept. The task's notes say how
    the file was read and what was left out.

    Raises:
        TaskError: naming file, row and column, for a file that cannot be used as it is.
    """
    path, options = Path(path), options or TableOptions()
    given = [text, *(text or "").split(","), label, options.target, *options.choices]
    asked = [column.strip() for column in given if column and column.strip() and not column.strip().isdecimal()]
    usual = [*TEXT_COLUMN_NAMES, *LABEL_COLUMN_NAMES, *(CHOICE_LABEL_NAMES if options.choices else ())]
    table = open_table(path, options, [*asked, *usual], limits)
    notes = table.notes
    named = text is not None or label is not None or options.target is not None or bool(options.choices)
    if table.guessed is not None and not named:
        text, label = table.guessed
        notes += (f"column {text} is taken for the texts and column {label} for the labels, by their contents",)
    columns = find_columns(path, table.columns, text, label, options)
    with closing(table.rows(columns.names)) as rows:  # the file is closed at once where a limit is reached
        found = collect_examples(path, rows, columns, limit, seed, skip_bad_rows=options.skip_bad_rows, limits=limits)
    notes += (*found.notes(), *swallowed_notes(found, table.swallowed), *sampling_note(found, table_name(path)))
    classes: list[str] = []
    if columns.is_target:
        examples, more = target_examples(found, table_name(path), columns.answer)
    elif columns.choices:
        examples, more = choice_examples(found, table_name(path), columns, skip_bad_rows=options.skip_bad_rows)
    else:
        classes, examples, more = label_examples(found, table_name(path), columns.answer)
    source = f"{table_name(path)} (columns {', '.join([columns.texts[0], columns.answer, *columns.texts[1:]])})"
    task_name = name or slug(table_stem(path.name), empty="table", ascii_only=False)
    # The place of the right choice is no class, of which every split has some.
    splits = split_by_group(examples, input_key, seed) if columns.choices else stratified_split(examples, seed)
    return custom_task(task_name, classes, splits, source, notes + more, columns, options)


def find_columns(
    source: Path | str, known: Sequence[str], text: str | None, label: str | None, options: TableOptions
) -> Columns:
    """Return the columns of a task; ``text`` may name several, with commas between them.

    Raises:
        TaskError: if there is no such column, it is there twice, or is named twice.
    """
    if options.target is not None and label is not None:
        raise TaskError(f"expected a column of labels or one of targets; got {label!r} and {options.target!r}")
    texts = [text] if text is None or text in known else [part.strip() for part in text.split(",")]
    if len(texts) > MAX_FIELDS:
        raise TaskError(f"text: expected at most {MAX_FIELDS} columns; got {len(texts)}: {text}")
    taken = [options.target or "", *options.choices]
    usual = [name for name in TEXT_COLUMN_NAMES if name not in [one.lower() for one in taken]]
    usual_labels = [*LABEL_COLUMN_NAMES, *CHOICE_LABEL_NAMES] if options.choices else LABEL_COLUMN_NAMES
    role, answer, names = ("label", label, usual_labels) if options.target is None else ("target", options.target, ())
    columns = Columns(
        tuple(find_column(source, known, "text", one, usual) for one in texts),
        find_column(source, known, role, answer, names),
        options.target is not None,
        tuple(find_column(source, known, "choices", one, ()) for one in options.choices),
    )
    if len(set(columns.names)) < len(columns.names):
        listed = ", ".join(columns.names)
        parts = "texts, choices and answers" if columns.choices else "texts and answers"
        raise table_error(source, f"expected different columns for {parts}; got {listed}", 1, columns.texts[0])
    if len(set(columns.fields)) < len(columns.fields):
        problem = (
            f"expected columns whose names differ in a template; these are {', '.join(columns.fields)}: rename one"
        )
        raise table_error(source, problem, 1, columns.texts[-1])
    return columns


def find_column(source: Path | str, columns: Sequence[str], role: str, wanted: str | None, usual: Sequence[str]) -> str:
    """Return the column of a role: the one asked for, or the first of the usual names that is there, in any case.

    Raises:
        TaskError: if there is no such column, or it is there twice, with the columns there are.
    """
    if wanted is None:
        lowered = [column.lower() for column in columns]
        wanted = next((columns[lowered.index(name)] for name in usual if name in lowered), None)
    if wanted is None or wanted not in columns:
        sought = repr(wanted) if wanted is not None else f"{usual[0]!r}"
        listed = ", ".join(repr(column[:40]) for column in columns[:20]) + (", ..." if len(columns) > 20 else "")
        problem = f"expected a column {sought} for the {role}; the columns are {listed}: name the right one"
        raise table_error(source, problem, 1, wanted or usual[0])
    if list(columns).count(wanted) > 1:
        raise table_error(source, "expected different names for all columns; this one comes twice", 1, wanted)
    return wanted
