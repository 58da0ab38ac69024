"""Choosing what to train on what: backbone, task, method. Every choice lives in the page's address."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from ptviz import backbones, tasks
from ptviz.methods import REGISTRY
from ptviz.runs import RunConfig, saved_prompts
from ptviz.runs.saved_prompts import KeptPrompt
from ptviz.ui.backend import store
from ptviz.ui.components import uploads
from ptviz.ui.components.errors import explained, problem
from ptviz.ui.components.forms import pick
from ptviz.ui.navigation import OTHER

BUILT_IN, FILE, HUB = "built in", "my own table", "from the hub"


@dataclass(frozen=True)
class TaskChoice:
    """A task by name, path or hub id, with the columns of a person's own table; name "" while it is incomplete."""

    name: str = ""
    text: str | None = None
    label: str | None = None


def choose_backbone() -> str:
    """The name of a backbone, "" while none is given."""
    known = {info.name: info for info in backbones.catalogue()}
    titles = {name: info.title for name, info in known.items()} | {OTHER: "another one…"}
    name = pick("Backbone", titles, key="backbone", help="the language model that stays frozen")
    if name == OTHER:
        other = st.text_input(
            "Hub id or folder",
            key="other",
            placeholder="google-bert/bert-base-uncased, or /path/to/folder",
            help="an encoder, decoder or encoder-decoder in transformers' layout; code that comes with it is never run",
            bind="query-params",
        )
        return other.strip()
    info = known[name]
    size = f"{info.parameters / 1e6:.1f} million frozen numbers, " if info.parameters else ""
    st.caption(f"{info.family}, {size}{info.layers} layers of width {info.width}")
    if info.random:
        st.caption("Random weights: it trains in seconds and shows how things work, not what they achieve.")
    if not info.available:
        st.caption("Not on this machine yet. Get it in a terminal with:")
        st.code(info.mend, language="shell")
    return info.name


def choose_method() -> str:
    """The registry name of a method."""
    titles = {name: method.card.title for name, method in REGISTRY.items()}
    name = pick("Method", titles, key="method", help="what is trained, and where it enters the backbone")
    card = REGISTRY[name].card
    st.caption(f"{card.idea} [{card.citation}]({card.url})")
    return name


def choose_start(backbone: str, method: str) -> str | None:
    """The id of a kept prompt that this method can start from, None for its own start; m follows the prompt."""
    known = {one.id: one for one in saved_prompts.kept(store()) if _startable(one, backbone, method)}
    if not known:
        return None
    titles = {"": "as the method usually starts"} | {id: f"{one.title} ({one.m} tokens)" for id, one in known.items()}
    id = pick("Start from", titles, key="begin", help="a kept prompt is the first value of the new one")
    if id and st.session_state.get("begun") != (id, method):
        st.session_state[f"{method}-m"] = known[id].m
    st.session_state["begun"] = (id, method)
    return id or None


def _startable(one: KeptPrompt, backbone: str, method: str) -> bool:
    """Whether a method on a backbone takes a kept prompt, at the prompt's own length."""
    try:
        config = RunConfig(backbone, "none", method, {"m": one.m}).checked()
        saved_prompts.check(config, one)
    except ValueError:
        return False
    return True


def choose_task() -> TaskChoice:
    """A built-in task, a table of the person's own, or a hub id."""
    kind = st.segmented_control(
        "Task", [BUILT_IN, FILE, HUB], default=BUILT_IN, key="from", required=True, bind="query-params"
    )
    if kind == FILE:
        return _own_table()
    if kind == HUB:
        return _from_hub()
    known = {info.name: info for info in tasks.catalogue()}
    titles = {name: info.title for name, info in known.items()}
    name = pick("Built-in task", titles, key="task", help="what the backbone shall learn to answer")
    info = known[name]
    st.caption(f"{info.family}: {info.classes} classes, {info.rows:,} labelled texts. Source: {info.source}")
    if not info.available:
        st.caption("Not on this machine yet. Get it in a terminal with:")
        st.code(info.mend, language="shell")
    return TaskChoice(info.name)


def _own_table() -> TaskChoice:
    upload = st.file_uploader(
        "A table with a column of texts and a column of labels",
        type=list(uploads.ENDINGS),
        key="upload",
        help="it is kept on this machine only, in ptviz's folder",
    )
    if upload is not None and st.session_state.get("uploaded") != upload.file_id:
        with explained():
            st.session_state["path"] = str(uploads.keep(upload.name, upload.getvalue()))
        st.session_state["uploaded"] = upload.file_id
    path = st.text_input(
        "or its path on this machine",
        key="path",
        placeholder="/home/me/reviews.csv",
        help="CSV, TSV, JSONL or Parquet",
        bind="query-params",
    ).strip()
    left, right = st.columns(2)
    text = left.text_input("column of texts", "text", key="text", bind="query-params").strip()
    label = right.text_input("column of labels", "label", key="label", bind="query-params").strip()
    if not path:
        return TaskChoice()
    choice = TaskChoice(path, text or None, label or None)
    return choice if _readable(choice) else TaskChoice()


def _readable(choice: TaskChoice) -> bool:
    """Read the table now, so that whatever is wrong with it is told here and not in the middle of a run."""
    path = Path(choice.name).expanduser()
    stamp = path.stat().st_mtime_ns if path.is_file() else 0
    told, summary, notes = _look(str(path), choice.text, choice.label, stamp)
    if told:
        problem(told)
        return False
    st.text(summary)
    for note in notes:
        st.text(note)
    return True


@st.cache_data(max_entries=16, show_spinner="Reading the table")
def _look(path: str, text: str | None, label: str | None, stamp: int) -> tuple[str, str, tuple[str, ...]]:
    """What is wrong with a table, or else what is in it and remarks. ``stamp`` changes when the file does."""
    try:
        task = tasks.load_task(path, text=text, label=label)
    except (ValueError, OSError) as error:
        return str(error), "", ()
    rows = len(task.train) + len(task.validation) + len(task.test)
    names = ", ".join(task.classes[:6]) + (", …" if len(task.classes) > 6 else "")
    return "", f"{rows:,} rows in {len(task.classes)} classes: {names}", task.notes


def _from_hub() -> TaskChoice:
    name = st.text_input(
        "Hub id of a data set",
        key="hub",
        placeholder="ag_news, or glue:sst2",
        help="fetched through `datasets` when the run starts; needs a connection",
        bind="query-params",
    ).strip()
    left, right = st.columns(2)
    text = left.text_input("column of texts", "text", key="text", bind="query-params").strip()
    label = right.text_input("column of labels", "label", key="label", bind="query-params").strip()
    return TaskChoice(f"hub:{name.removeprefix('hub:')}", text or None, label or None) if name else TaskChoice()
