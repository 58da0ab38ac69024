"""The queue of a classroom, as a visitor sees it: the places of their runs, and how long they wait."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from ptviz.classroom.queue_places import FRESH_SECONDS, Turn, queue_turns
from ptviz.runs import RunSummary
from ptviz.ui.backend import whole_store
from ptviz.ui.classroom import is_classroom
from ptviz.ui.components.formatting import format_duration, shorten_text
from ptviz.ui.heavy_libraries import load_libraries

_LISTED = 5
"""Runs whose places are listed at most."""


def render_turn(run: str) -> None:
    """Show the place of a queued run, and keep it up to date."""
    st.fragment(_render_turn, run_every=FRESH_SECONDS)(run)


def render_turns(summaries: Sequence[RunSummary]) -> None:
    """Show the places of those of some runs that are queued, the first ones; nothing outside of a classroom."""
    queued = [summary for summary in summaries if summary.status.state == "queued"]
    if not queued or not is_classroom():
        return
    turns = _turns()
    known = sorted((one for one in queued if one.id in turns), key=lambda one: turns[one.id].place)
    for summary in known[:_LISTED]:
        st.text(f"{shorten_text(summary.name, 48)}: {describe_turn(turns[summary.id])}")
    if len(known) > _LISTED:
        st.caption(f"and {len(known) - _LISTED} more in the queue")


def describe_turn(turn: Turn) -> str:
    """Return the place of a run and its waiting time in words."""
    where = "next in the queue" if turn.place == 1 else f"position {turn.place} of {turn.of} in the queue"
    if turn.seconds is None:
        return f"{where}; how long it waits is not known yet"
    return f"{where}; it begins in about {format_duration(turn.seconds)}" if turn.seconds >= 1 else f"{where}, at once"


def _turns() -> dict[str, Turn]:
    load_libraries()
    return dict(queue_turns(whole_store()))


def _render_turn(run: str) -> None:
    turn = _turns().get(run)
    st.text("It starts now." if turn is None else describe_turn(turn).capitalize() + ".")
    if turn is not None and turn.of > 1:
        st.caption("Visitors take turns: the one whose runs were trained longest ago is next.")
