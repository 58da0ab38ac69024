"""The editor of a task made from columns: fields, answers, words, metric and template; all is in the page's address."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import streamlit as st

from ptviz.paths import expand_user
from ptviz.safe_text import safe_list
from ptviz.tasks import TableOptions, TaskError, load_task
from ptviz.tasks.compute_metrics import is_number
from ptviz.tasks.custom.assemble import DEFAULT_CUE, MAX_CLASSES, Columns, Row, word_table_classes
from ptviz.tasks.custom.choices import CHOICE_LABEL_NAMES, MAX_CHOICES
from ptviz.tasks.custom.from_file import LABEL_COLUMN_NAMES, find_columns
from ptviz.tasks.custom.labels import sort_class_names, to_class_name
from ptviz.tasks.custom.table_options import MAX_TEMPLATE, parse_words
from ptviz.tasks.custom.table_preview import TableHead, read_first_rows, read_table_head
from ptviz.tasks.metrics import METRICS, check_metric
from ptviz.tasks.task import DEFAULT_METRICS, MAX_FIELDS, TaskKind
from ptviz.tasks.template import Template
from ptviz.ui.components.address_values import refuse, take_given
from ptviz.ui.components.errors import error_box
from ptviz.ui.components.forms import select_one

_ANSWERS: Mapping[TaskKind, str] = {
    "classification": "a class",
    "text": "a target text",
    "choice": "one of the row's choices",
}
ANSWER_COLUMNS: Mapping[TaskKind, str] = {
    "classification": "labels",
    "text": "the target texts",
    "choice": "the right choices",
}
"""What the column of the answers holds."""
_CHOICE_COLUMN = re.compile(r"(choice|option|ending|solution|sol|answer)[ _-]?([0-9]|[a-z])", re.IGNORECASE)
_CHOICE_LISTS = ("choices", "options", "endings")
_ANSWER_HELP: Mapping[TaskKind, str] = {
    "classification": "what is learnt",
    "text": "what is learnt",
    "choice": "it names the right choice by its text, its column, a letter or a number, in the same way in every row",
}
_SHOWN_ROWS = 5
"""Rows of a table that are shown as they are."""
_WHOLE_BYTES, _BEGINNING_ROWS = 8_000_000, 5_000
"""Size up to which a file is read whole, in a second or so, and the rows that are read of a larger one."""
_LISTED = 20
"""Classes whose F1 and whose words are listed at most."""


@dataclass(frozen=True)
class TaskSelection:
    """A task by name, path or Hub id, with the columns of a table; ``name`` is "" while it is incomplete.

    ``columns`` are those of a table on this machine, and ``words`` what stands for each of its classes: the label word
    and the description.
    """

    name: str = ""
    text: str | None = None
    label: str | None = None
    table: TableOptions = field(default_factory=TableOptions)
    columns: Columns | None = None
    words: dict[str, tuple[str, str]] = field(default_factory=dict)


class TableFacts(NamedTuple):
    """Why a table cannot be used, or what it holds; ``numeric`` says whether all target texts are numbers."""

    problem: str = ""
    summary: str = ""
    notes: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    numeric: bool = True


def edit_table_task(name: str, reading: TableOptions) -> TaskSelection:
    """Show the editor for a file; return its task, without a name and with an error in place if there is none yet."""
    path = expand_user(name)
    stamp = path.stat().st_mtime_ns if path.is_file() else 0
    try:
        head = _read_head(str(path), reading, stamp)
        columns = _choose_columns(path, head, reading)
    except (TaskError, OSError) as error:
        error_box(str(error))
        return TaskSelection()
    # A file that is read in a second is read whole now, so that an error appears here and not when the run starts.
    usual = columns == head.usual
    text, label = (None, None) if usual else (",".join(columns.texts), None if columns.is_target else columns.answer)
    target = columns.answer if columns.is_target else None
    table = replace(reading, target=target, choices=columns.choices)
    facts = _read_table(str(path), text, label, table, columns, stamp)
    _render_first_rows(str(path), columns, reading, stamp)
    if facts.problem:
        error_box(facts.problem)
        return TaskSelection()
    for line in (facts.summary, *facts.notes):
        st.text(line)
    found = edit_task(columns, table, facts)
    if found is None:
        return TaskSelection()
    words = zip(*word_table_classes(facts.classes, found), strict=True) if facts.classes else ()
    own = dict(zip(map(to_class_name, facts.classes), words, strict=True))
    return TaskSelection(name, text, label, found, columns, own)


@st.cache_data(max_entries=16, show_spinner=False)
def _read_head(path: str, reading: TableOptions, stamp: int) -> TableHead:
    """Return the columns of a table. ``stamp`` changes when the file does."""
    return read_table_head(Path(path), reading)


@st.cache_data(max_entries=16, show_spinner="Reading the table")
def _read_table(
    path: str, text: str | None, label: str | None, table: TableOptions, columns: Columns, stamp: int
) -> TableFacts:
    """Return what a table holds, or why it cannot be used. ``stamp`` changes when the file does.

    Of a large file the beginning is read: the form must answer, and a run checks the whole file when it starts.
    """
    try:
        if Path(path).stat().st_size > _WHOLE_BYTES:
            return _read_beginning(Path(path), columns, table)
        task = load_task(path, text=text, label=label, options=table)
    except (ValueError, OSError) as error:
        return TableFacts(str(error))
    rows = [*task.train, *task.validation, *task.test]
    if task.kind == "choice":
        sizes = sorted({len(row.choices) for row in rows})
        many = f"{sizes[0]} to {sizes[-1]}" if len(sizes) > 1 else str(sizes[0])
        return TableFacts("", f"{len(rows):,} different inputs with {many} choices each", task.notes)
    if not task.classes:
        numeric = all(is_number(row.targets[0]) for row in rows)
        return TableFacts("", f"{len(rows):,} different inputs with target texts", task.notes, (), numeric)
    counts = Counter(task.classes[row.label] for row in rows)
    return TableFacts("", _describe_classes(len(rows), task.classes, counts), task.notes, task.classes)


def _read_beginning(path: Path, columns: Columns, table: TableOptions) -> TableFacts:
    rows = read_first_rows(path, columns, table, _BEGINNING_ROWS)
    megabytes = path.stat().st_size / 1e6
    notes = (f"This is the beginning of the file, of {megabytes:,.0f} MB: all of it is read when a run starts",)
    if not rows:
        return TableFacts(f"expected usable rows at the beginning of {path.name}; found none: choose other columns")
    if columns.choices:
        return TableFacts("", f"{len(rows):,} rows with choices", notes)
    if columns.is_target:
        numeric = all(is_number(row.answer[0]) for row in rows)
        return TableFacts("", f"{len(rows):,} inputs with target texts", notes, (), numeric)
    counts = Counter(str(row.answer) for row in rows)
    if len(counts) > MAX_CLASSES:
        return TableFacts(
            f"column {columns.answer!r}: expected at most {MAX_CLASSES} classes; got {len(counts):,} in the first "
            f"{len(rows):,} rows. Choose the column of the labels"
        )
    classes = tuple(sort_class_names(counts))
    return TableFacts("", _describe_classes(len(rows), classes, counts), notes, classes)


def _describe_classes(count: int, classes: Sequence[str], counts: Mapping[str, int]) -> str:
    listed = ", ".join(f"{name} ({counts[name]:,})" for name in classes[:_LISTED])
    return f"{count:,} examples in {len(classes)} classes: {listed}{', …' if len(classes) > _LISTED else ''}"


def _render_first_rows(path: str, columns: Columns, reading: TableOptions, stamp: int) -> None:
    """Show the first rows of the chosen columns: what was guessed is seen at once."""
    rows = _read_first_rows(path, columns, reading, stamp)
    shown = [dict(zip(columns.names, _shown_cells(row, columns), strict=True)) for row in rows]
    st.dataframe(shown, hide_index=True, height="content", alt="The first rows of the table")


@st.cache_data(max_entries=16, show_spinner=False)
def _read_first_rows(path: str, columns: Columns, reading: TableOptions, stamp: int) -> Sequence[Row]:
    """Return the rows that are shown. ``stamp`` changes when the file does."""
    return read_first_rows(Path(path), columns, reading, _SHOWN_ROWS)


def _shown_cells(row: Row, columns: Columns) -> list[str]:
    choices = row.choices if len(columns.choices) != 1 else [" | ".join(filter(None, row.choices))]
    return [*row.texts, *choices, _answer_text(row.answer)]


def _answer_text(answer: str | tuple[str, ...]) -> str:
    return answer if isinstance(answer, str) else " | ".join(answer)


def _choose_columns(path: Path, head: TableHead, reading: TableOptions) -> Columns:
    """Return the columns that the reader chooses; those that the table has as a matter of course come first.

    Raises:
        TaskError: if they cannot be the columns of a task.
    """
    known = list(head.columns)
    usual = head.likely
    left, right = st.columns([3, 2])
    with left:
        texts = _choose_texts(known, usual.texts)
    with right:
        kind = choose_answer_kind("text" if usual.is_target and "label" not in st.query_params else "classification")
    choices = _choose_choices([name for name in known if name not in texts]) if kind == "choice" else []
    if kind != "choice":
        st.query_params.pop("choices", None)
    rest = [name for name in known if name not in (*texts, *choices)] or known
    writes = kind == "text"
    key, other = ("target", "label") if writes else ("label", "target")
    first = _likely_answer(usual, rest, kind)
    titles = {name: name for name in (first, *(name for name in rest if name != first))}
    answer = select_one(f"column of {ANSWER_COLUMNS[kind]}", titles, key=key, help=_ANSWER_HELP[kind])
    if kind != "classification" or usual.is_target:
        st.query_params[key] = answer
    st.query_params.pop(other, None)
    if kind == "choice" and not choices:
        raise TaskError("expected the columns of the choices, or the one that holds a list of them; choose some")
    options = replace(reading, target=answer if writes else None, choices=tuple(choices))
    found = find_columns(path, known, ",".join(texts) or None, None if writes else answer, options)
    if found.texts != tuple(texts):
        raise TaskError(
            "expected at least one column of texts; choose some, and of several none with a comma in its name"
        )
    return found


def _choose_texts(known: Sequence[str], usual: Sequence[str]) -> list[str]:
    asked = str(st.query_params.get("text", ""))
    named = [asked] if asked in known else [part.strip() for part in asked.split(",")]
    _expect_columns("text", named, known)
    chosen = st.multiselect(
        "columns of texts",
        known,
        # Not through the session's state: a page that is drawn again at once would show none of them.
        default=[name for name in named if name in known][:MAX_FIELDS] or list(usual),
        key=f"texts-{hash(tuple(known))}",
        help=f"one to {MAX_FIELDS}, in the order in which they are read; each is a field of the template",
        max_selections=MAX_FIELDS,
        wrap=True,
    )
    if chosen != list(usual):
        st.query_params["text"] = ",".join(chosen)
    else:
        st.query_params.pop("text", None)
    return chosen


def _expect_columns(key: str, named: Sequence[str], known: Sequence[str]) -> None:
    """Report columns of the address that the table does not have."""
    unknown = [name for name in named if name not in known]
    if take_given(key) and unknown:
        expected = f"columns of the table, which has {safe_list(list(known))}"
        refuse(key, expected, ", ".join(unknown), "The form has the columns that are used instead")


def _likely_answer(usual: Columns, rest: Sequence[str], kind: TaskKind) -> str:
    """Return the column that is taken for the answers until the reader chooses another."""
    if kind == "choice":
        names = {name.lower(): name for name in reversed(rest)}
        found = next((names[name] for name in (*LABEL_COLUMN_NAMES, *CHOICE_LABEL_NAMES) if name in names), None)
        return found or rest[-1]
    return usual.answer if usual.answer in rest else rest[-1]


def _choose_choices(known: Sequence[str]) -> list[str]:
    """Return the chosen columns of choices: those that are named like some come first."""
    asked = [part.strip() for part in str(st.query_params.get("choices", "")).split(",")]
    _expect_columns("choices", asked, known)
    named = [name for name in asked if name in known]
    likely = [name for name in known if _CHOICE_COLUMN.fullmatch(name)]
    likely = likely if len(likely) > 1 else [name for name in known if name.lower() in _CHOICE_LISTS][:1]
    chosen = st.multiselect(
        "columns of the choices",
        known,
        default=named or likely,
        key=f"choices-{hash(tuple(known))}",
        help="one column for each choice, in order; or one column that holds a list of them (JSON, Parquet)",
        max_selections=MAX_CHOICES,
        wrap=True,
    )
    st.query_params["choices"] = ",".join(chosen)
    return chosen


def choose_answer_kind(likely: TaskKind = "classification") -> TaskKind:
    """Return what the answers are: the address says so by naming columns, else they are ``likely``."""
    now: TaskKind = "text" if st.query_params.get("target") else "choice" if st.query_params.get("choices") else likely
    help = "a text is written, and choices are scored token by token, by a decoder or an encoder-decoder"
    kinds = {title: kind for kind, title in _ANSWERS.items()}
    chosen = st.segmented_control(
        "the answer is", [*kinds], default=_ANSWERS[now], key="answer", required=True, help=help
    )
    return kinds[str(chosen)]


def edit_task(columns: Columns, table: TableOptions, facts: TableFacts) -> TableOptions | None:
    """Show what is made of the columns; return the options with it, or None and an error at the field it is in."""
    worded: TableOptions | None = table
    place = st.container()
    if columns.kind == "classification":
        left, place = st.columns([3, 2])
        with left:
            worded = _edit_words(table, facts.classes)
    with place:
        metric = _choose_metric(columns.kind, facts)
    layout = _edit_template(columns.fields)
    if worded is None or layout is None:
        return None
    template, cut_first = layout
    return replace(worded, metric=metric, template=template, cut_first=cut_first)


def _edit_words(table: TableOptions, classes: Sequence[str]) -> TableOptions | None:
    """Return the options with the label words."""
    usual = word_table_classes(classes, TableOptions())[0] if classes else ()
    example = ", ".join(usual[:_LISTED]) or "1=good, -1=bad"
    help = "one word for each class in order, or CLASS=WORD for some of them; they are what the backbone scores"
    typed = st.text_input("label words", key="words", placeholder=example, help=help, bind="query-params")
    try:
        found = replace(table, **(parse_words(typed) if typed.strip() else {}))
        if classes:
            words = word_table_classes(classes, found)[0]
            st.text(", ".join(f"{own} → {word}" for own, word in zip(classes[:_LISTED], words, strict=False)))
    except TaskError as error:
        error_box(str(error))
        return None
    return found


def _choose_metric(kind: TaskKind, facts: TableFacts) -> str:
    usual, writes = METRICS[DEFAULT_METRICS[kind]], kind == "text"
    fitting = [one for one in METRICS.values() if one.kind == usual.kind and one.name not in (usual.name, "f1")]
    if kind == "choice":  # The place of the right choice is no class, of which an F1 would say something.
        fitting = []
    titles = {"": usual.title} | {one.name: one.title for one in fitting if one.unit or not writes or facts.numeric}
    if kind == "classification":
        titles |= {f"f1:{index}": f"F1 of {name[:40]}" for index, name in enumerate(facts.classes[:_LISTED])}
    asked = str(st.query_params.get("metric", ""))
    with suppress(TaskError):  # An address may name a metric in another way.
        titles.setdefault(asked, check_metric(asked, usual.kind, len(facts.classes) or None).title)
    return select_one("metric", titles, key="metric", help="answers are scored by it, and it chooses the best prompt")


def _edit_template(fields: Sequence[str]) -> tuple[str, str] | None:
    """Return template and field that is cut first, or None and an error below the template."""
    usual = "{prompt}" + "".join(f"{{{name}}}" for name in fields)
    pattern = st.text_area(
        "template",
        key="template",
        height=68,
        max_chars=MAX_TEMPLATE,
        placeholder=f"the usual layout: prompt, texts in order, answer; or your own, as in {usual}",
        help="where prompt and texts stand; empty: the usual layout of the backbone",
        bind="query-params",
    )
    names = ", ".join(f"`{{{name}}}`" for name in fields)
    pattern = pattern if pattern.strip() else ""
    problem = ""
    try:
        Template(pattern or usual, "pooled", DEFAULT_CUE, tuple(fields))
    except ValueError as error:
        error_box(problem := str(error))
    pieces = "`{prompt}`, or pieces such as `{prompt:3}` and, once, `{prompt}` for the rest"
    st.markdown(f"Fields: {names}. Prompt: {pieces}. Also: `{{cue}}`, `{{mask}}`, `{{sep}}`.")
    cut = ""
    if len(fields) > 1:
        titles = {"": "the longest one", **{name: name for name in fields}}
        cut = select_one("cut first, if an input is too long", titles, key="cut", help="this field loses tokens first")
    return None if problem else (pattern, cut)
