"""Who looks at a page, in a classroom; and what the pages show this visitor."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import streamlit as st

from ptviz import paths
from ptviz.classroom.access import Visitor, load_keys
from ptviz.classroom.rules import ClassroomRules, active_rules
from ptviz.classroom.visitor_store import NOBODY
from ptviz.runs import RunConfig

T = TypeVar("T")
OFF_IN_A_CLASSROOM = "Off in a classroom: paths on the teacher's computer, the Hugging Face Hub, and downloads."
CLASSROOM_REFRESH_SECONDS = 2.0
"""Least seconds between two refreshes of a page of a classroom: thirty of them share two cores with a training."""
_bound: ContextVar[Visitor | None] = ContextVar("visitor", default=None)


def current_visitor() -> Visitor | None:
    """Return who looks at this page; None if the app serves no classroom.

    Outside of a session there is none, unless ``bind_visitor`` has set one.
    """
    if active_rules() is None:
        return None
    if (bound := _bound.get()) is not None:
        return bound
    keys = load_keys()
    return keys.recognise(_cookie(keys.cookie)) or Visitor(NOBODY)


def _cookie(name: str) -> str:
    """Return a cookie of the browser whose session this is; "" if it has none, or there is no session."""
    return str(st.context.cookies.get(name, ""))


def bind_visitor(action: Callable[[], T]) -> Callable[[], T]:
    """Return an action that is done for who looks at this page now, also in a thread or after the page was drawn."""
    visitor = current_visitor()

    def act() -> T:
        token = _bound.set(visitor)
        try:
            return action()
        finally:
            _bound.reset(token)

    return act


def visitor_rules() -> ClassroomRules | None:
    """Return the rules that bind who looks at this page; None for the teacher, and where there is no classroom."""
    visitor = current_visitor()
    return None if visitor is None or visitor.is_teacher else active_rules()


def is_teacher() -> bool:
    """Return whether the teacher of a classroom looks at this page."""
    visitor = current_visitor()
    return visitor is not None and visitor.is_teacher


def is_classroom() -> bool:
    """Return whether the app serves a classroom."""
    return active_rules() is not None


def refresh_seconds(usual: float) -> float:
    """Return the seconds between two refreshes of what changes by itself: not too few where many pages are open."""
    return max(usual, CLASSROOM_REFRESH_SECONDS) if is_classroom() else usual


def usual_config() -> RunConfig:
    """Return the run that the large button starts; in a classroom with as many steps and a backbone that are allowed.

    The first allowed backbone replaces one that is not.
    """
    usual, rules = RunConfig(), visitor_rules()
    if rules is None:
        return usual
    allowed = rules.allowed_backbones()
    backbone = usual.backbone if usual.backbone in allowed or not allowed else allowed[0]
    steps = min(usual.training.steps, rules.max_steps)
    return replace(usual, backbone=backbone, training=replace(usual.training, steps=steps))


def hide_folders(text: str) -> str:
    """Return a text without the names of this machine's folders, if a visitor of a classroom is to read it."""
    if visitor_rules() is None:
        return text
    folders = {paths.data_dir(), paths.cache_dir(), paths.gallery_dir(), Path.home()}
    for folder in sorted((str(one) for one in folders), key=len, reverse=True):
        text = text.replace(f"{folder}{os.sep}", "").replace(folder, "the teacher's computer")
    return text


def render_sidebar_note() -> None:
    """Say at the foot of the sidebar whose computer this is, and in a classroom what the visitor sees."""
    visitor, rules = current_visitor(), active_rules()
    if visitor is None or rules is None:
        st.sidebar.caption("ptviz trains prompts for frozen language models. All data stays on this computer.")
    elif visitor.is_teacher:
        st.sidebar.caption("A classroom. You are the teacher: you see all runs, and may stop, share and delete each.")
    else:
        st.sidebar.caption(
            f"A classroom. You are {visitor.label}: you see the recorded runs, those that the teacher shares, and your "
            f"own, which no one else can change. At most {rules.max_steps:,} steps a run and {rules.max_runs} runs. "
            f"{OFF_IN_A_CLASSROOM}"
        )
