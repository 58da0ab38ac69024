"""Selection of backbone, task and method; every choice is in the page's address."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import streamlit as st

from ptviz import backbones, tasks
from ptviz.methods import list_methods
from ptviz.paths import expand_user
from ptviz.runs import RunConfig, saved_prompts
from ptviz.runs.saved_prompts import SavedPrompt
from ptviz.safe_text import safe_text
from ptviz.tasks import TableOptions
from ptviz.tasks.custom.assemble import Columns
from ptviz.ui.backend import get_store
from ptviz.ui.classroom import visitor_rules
from ptviz.ui.components import uploads
from ptviz.ui.components.address_values import refuse, take_given
from ptviz.ui.components.download import render_missing
from ptviz.ui.components.errors import error_box, show_errors
from ptviz.ui.components.forms import select_one
from ptviz.ui.components.glossary import meaning
from ptviz.ui.components.local_path import confirm_path, path_input
from ptviz.ui.components.table_form import reading_options_form
from ptviz.ui.heavy_libraries import load_libraries
from ptviz.ui.navigation import OTHER_BACKBONE, SOURCES_PARAM
from ptviz.ui.train.task_editor import (
    ANSWER_COLUMNS,
    TableFacts,
    TaskSelection,
    choose_answer_kind,
    edit_table_task,
    edit_task,
)

BUILT_IN, OWN_TABLE, HUB = "built in", "my own table", "from the Hub"


def select_backbone() -> str:
    """Return the name of the chosen backbone, "" while none is given."""
    known, rules = {info.name: info for info in backbones.list_backbones()}, visitor_rules()
    titles = {name: info.title for name, info in known.items()} | {OTHER_BACKBONE: "another one…"}
    if rules is not None:
        allowed = rules.allowed_backbones()
        if not allowed:
            raise ValueError("backbone: the teacher has allowed none that is on this computer; ask for another")
        titles = {name: known[name].title for name in allowed}
    name = select_one("Backbone", titles, key="backbone", help=meaning("backbone"))
    if name == OTHER_BACKBONE:
        return path_input(
            "Hub id or folder",
            "other",
            or_hub_id=True,
            placeholder="google-bert/bert-base-uncased, or /path/to/folder",
            help="an encoder, decoder or encoder-decoder in transformers' layout; code that comes with it is never run",
        )
    info = known[name]
    size = f"{info.parameters / 1e6:.1f} M frozen parameters, " if info.parameters else ""
    st.caption(f"{info.family}, {size}{info.layers} layers of width {info.width}")
    if info.random:
        st.caption("Random weights: it trains in seconds, and its scores mean nothing for real models.")
    if not info.available:
        render_missing(info.install_command)
    return info.name


def select_method() -> str:
    """Return the registry name of the chosen method."""
    titles = {name: method.card.title for name, method in list_methods().items()}
    name = select_one("Method", titles, key="method", help="what is trained, and where it enters the backbone")
    card = list_methods()[name].card
    st.caption(f"{card.idea} [{card.citation}]({card.url})")
    return name


def select_start_prompt(backbone: str, method: str, more: tuple[str, ...]) -> str | None:
    """Return the id of a saved prompt to start from, None for the method's own initialisation; m follows the prompt.

    A run on ``more`` tasks starts from none.
    """
    saved = [] if more else saved_prompts.list_saved_prompts(get_store().prompts_folder)
    if saved:
        load_libraries()
    known = {one.id: one for one in saved if _can_start_from(one, backbone, method)}
    if (given := take_given("begin")) and given not in known:
        expected = "the id of a saved prompt that this run can start from"
        refuse("begin", expected, given, "The method's own initialisation is used instead")
    if not known:
        return None
    titles = {"": "the method's own initialisation"} | {
        id: f"{one.title} ({one.m} tokens)" for id, one in known.items()
    }
    id = select_one("Start from", titles, key="begin", help="a saved prompt can be the initial value")
    if id and st.session_state.get("begun") != (id, method):
        st.session_state[f"{method}-m"] = known[id].m
    st.session_state["begun"] = (id, method)
    return id or None


def _can_start_from(one: SavedPrompt, backbone: str, method: str) -> bool:
    """Return whether a method on a backbone can start from a saved prompt, at the prompt's own length."""
    try:
        config = RunConfig(backbone, "none", method, {"m": one.m}).checked()
        saved_prompts.check_initial_prompt(config, one)
    except ValueError:
        return False
    return True


_PLACES: Mapping[str, str] = {"prefix": "before the texts", "infix": "between text and answer"}


def with_layout_choices(task: TaskSelection, backbone: str) -> TaskSelection:
    """Show the position of the prompt, and the switch for the chat template unless the backbone has none."""
    help = "an infix follows the texts; keys and values have no position in the input"
    chosen = select_one("Position of the prompt", _PLACES, key="place", help=help)
    task = replace(task, table=replace(task.table, place="infix" if chosen == "infix" else "prefix"))
    return _with_chat_switch(task, backbone)


def _with_chat_switch(task: TaskSelection, backbone: str) -> TaskSelection:
    families = {info.name: info.family for info in backbones.list_backbones()}
    if families.get(backbone, "decoder") != "decoder" and "chat" not in st.query_params:
        return task
    help = "for instruct decoders: the input is a user's message, and the answer is the assistant's"
    chat = st.toggle("Ask through the chat template", key="chat", help=help, bind="query-params")
    return replace(task, table=replace(task.table, chat=chat))


_ANSWERS = {"classification": "{} classes", "text": "text to text", "choice": "multiple choice"}


def select_task() -> TaskSelection:
    """Return the chosen task: a built-in one, a table, or a Hub id."""
    kind = st.segmented_control(
        "Task",
        [BUILT_IN, OWN_TABLE, *([HUB] if visitor_rules() is None else [])],
        default=BUILT_IN,
        key="from",
        required=True,
        bind="query-params",
    )
    if kind == OWN_TABLE:
        return _table_input()
    if kind == HUB:
        return _hub_input()
    known = {info.name: info for info in tasks.list_tasks()}
    titles = {name: info.title for name, info in known.items()}
    name = select_one("Built-in task", titles, key="task", help="the texts, and what is to be predicted or written")
    info = known[name]
    st.caption(f"{info.family}: {_ANSWERS[info.kind].format(info.classes)}, {info.rows:,} texts. Source: {info.source}")
    if not info.available:
        render_missing(info.install_command)
    return TaskSelection(info.name)


def _has_own_columns(task: TaskSelection) -> bool:
    return (task.text, task.label, task.table) != (None, None, task.table.for_every_task())


def select_more_tasks(method: str, task: TaskSelection) -> tuple[str, ...]:
    """Return further target tasks, for a method whose targets share a part; none for a task with its own columns."""
    if not list_methods()[method].per_target or not task.name or _has_own_columns(task):
        return ()
    names = [info.name for info in tasks.list_tasks() if info.available and info.name != task.name]
    st.session_state["more"] = [name for name in st.session_state.get("more", []) if name in names]
    help = "trained together with the task above: they share a part of the method, and the mean of their scores counts"
    return tuple(st.multiselect("More target tasks", names, key="more", help=help, bind="query-params"))


def select_source_tasks(config: RunConfig) -> tuple[str, ...] | None:
    """Return the source tasks of a transfer method; None for the default ones, or for another method."""
    usual = config.source_tasks()
    if not usual:
        return None
    asked = _asked_source_tasks(config.targets)
    wanted = list(usual if asked is None else asked)
    here = [info.name for info in tasks.list_tasks() if info.available]
    names = [name for name in dict.fromkeys([*here, *usual, *wanted]) if name not in config.targets]
    # The address holds the choice: another target task has other defaults.
    if st.session_state.get(SOURCES_PARAM) != wanted:
        st.session_state[SOURCES_PARAM] = wanted

    def save() -> None:
        chosen = st.session_state[SOURCES_PARAM]
        if tuple(chosen) == usual:
            st.query_params.pop(SOURCES_PARAM, None)
        else:
            st.query_params[SOURCES_PARAM] = ",".join(uploads.link_of(Path(name)) for name in chosen)

    help = "one prompt is trained on each, and reused by later runs"
    chosen = st.multiselect("Source tasks", names, key=SOURCES_PARAM, help=help, on_change=save)
    if not chosen:
        st.caption(f"No source task is chosen: the run learns from the default ones, {', '.join(usual)}.")
    return tuple(chosen) if chosen and tuple(chosen) != usual else None


def _asked_source_tasks(targets: tuple[str, ...]) -> tuple[str, ...] | None:
    """Return the source tasks of the page's address that can be used, and say why others cannot; None if it has none.

    A table waits for the reader's button press, as any path in an address.
    """
    if SOURCES_PARAM not in st.query_params:
        return None
    found: list[str] = []
    for number, text in enumerate(_split_columns(str(st.query_params[SOURCES_PARAM]))):
        try:
            name = uploads.resolve_link(text)
            if _is_named_source(name, targets) or confirm_path(text, f"{SOURCES_PARAM}-{number}"):
                found.append(name)
        except ValueError as error:
            error_box(str(error))
    return tuple(dict.fromkeys(found))


def _is_named_source(name: str, targets: tuple[str, ...]) -> bool:
    """Return whether a source task has a name, and is not a table on this machine.

    Raises:
        ValueError: if it can be no source task of these targets here.
    """
    if name in targets:
        raise ValueError(f"sources: the target {safe_text(name)} cannot be a source of its own; it is left out")
    if visitor_rules() is not None:
        if name not in {info.name for info in tasks.list_tasks() if info.available}:
            raise ValueError(f"sources: expected tasks that are on this machine; got {safe_text(name)}; it is left out")
        return True
    if name.startswith("hub:") or name in {info.name for info in [*tasks.list_tasks(), *tasks.list_benchmark_tasks()]}:
        return True
    if not expand_user(name).exists():
        raise ValueError(
            f"sources: expected names of tasks, as yahoo, or tables on this machine; got {safe_text(name)}; "
            "it is left out: choose others below"
        )
    return False


def _table_input() -> TaskSelection:
    upload = st.file_uploader(
        "A table of texts with labels, or with target texts",
        type=list(uploads.FILE_ENDINGS),
        key="upload",
        help="it is stored on this machine only, in ptviz's folder",
    )
    if upload is not None and st.session_state.get("uploaded") != upload.file_id:
        with show_errors():
            st.session_state["path"] = uploads.link_of(uploads.save_upload(upload.name, upload.getvalue()))
        st.session_state["uploaded"] = upload.file_id
    path = path_input(
        "or its path on this machine", "path", placeholder="/home/me/reviews.csv", help="CSV, TSV, JSON or Parquet"
    )
    table = reading_options_form()
    if not path or table is None:
        return TaskSelection()
    path = uploads.resolve_link(path)
    return _with_typed_columns(path) if expand_user(path).is_dir() else edit_table_task(path, table)


def _hub_input() -> TaskSelection:
    known = {info.name: info for info in tasks.list_benchmark_tasks()}
    titles = {"": "another one, by its id"} | {name: f"{info.title} ({name})" for name, info in known.items()}
    chosen = select_one(
        "Data set", titles, key="set", help="the sets of the papers have their words, layout and metric"
    )
    if chosen:
        info = known[chosen]
        copy = "a copy is on this machine" if info.available else info.install_command
        answers = _ANSWERS[info.kind].format(info.classes)
        st.caption(f"{info.family}: {answers}, about {info.rows:,} texts, scored by {info.metric}. ")
        st.caption(f"Source: {info.source}; {copy}.")
        return TaskSelection(chosen)
    name = st.text_input(
        "Hub id of a data set",
        key="hub",
        placeholder="ag_news, or glue:sst2",
        help="fetched through `datasets` when the run starts; needs a connection",
        bind="query-params",
    ).strip()
    return _with_typed_columns(f"hub:{name.removeprefix('hub:')}" if name else "")


def _with_typed_columns(name: str) -> TaskSelection:
    """Return a task whose columns the reader types, because they are known only once it is fetched; "" gives none."""
    left, middle, right = st.columns([2, 1, 2])
    help = "several, with commas between them, are the fields of the template"
    text = left.text_input("columns of texts", "text", key="text", help=help, bind="query-params").strip()
    with middle:
        kind = choose_answer_kind()
    key = "target" if kind == "text" else "label"
    answer = right.text_input(f"column of {ANSWER_COLUMNS[kind]}", key, key=key, bind="query-params").strip()
    texts = _split_columns(text) or ("text",)
    choices = _type_choices() if kind == "choice" else ()
    if kind == "choice" and not choices:
        return TaskSelection()
    try:
        options = TableOptions(target=answer or key if kind == "text" else None, choices=choices)
    except tasks.TaskError as error:
        error_box(str(error))
        return TaskSelection()
    table = edit_task(Columns(texts, answer, kind == "text", choices), options, TableFacts())
    if not name or table is None:
        return TaskSelection()
    return TaskSelection(name, text or None, None if kind == "text" else answer or None, table)


def _split_columns(text: str) -> tuple[str, ...]:
    return tuple(part for part in map(str.strip, text.split(",")) if part)


def _type_choices() -> tuple[str, ...]:
    help = "one column for each choice, with commas between them; or one that holds a list of them"
    return _split_columns(
        st.text_input("columns of the choices", key="choices", placeholder="choice1,choice2", help=help,
                      bind="query-params")
    )  # fmt: skip
