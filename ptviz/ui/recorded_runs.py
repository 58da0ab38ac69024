"""The recorded runs on the pages: listed after the reader's own, labelled, and hidden by one switch."""

from __future__ import annotations

import streamlit as st

from ptviz.plots.method_style import method_title
from ptviz.runs import Run, RunSummary
from ptviz.runs.recorded_runs import recorded_runs, with_recorded
from ptviz.ui.backend import get_store

_SWITCH = "recorded"


def recorded_switch() -> None:
    """Show the switch that hides the recorded runs on every page; the address stores it. Nothing without any."""
    if recorded_runs():
        st.sidebar.toggle(
            "Recorded runs",
            value=True,
            key=_SWITCH,
            bind="query-params",
            help="Runs that come with ptviz, so that every page has something to show. They are listed after your own, "
            "labelled recorded, and never part of your own results unless you ask for it.",
        )


def shows_recorded() -> bool:
    """Return whether the pages show what was recorded."""
    return bool(st.session_state.get(_SWITCH, True))


def shown_recorded_runs() -> list[RunSummary]:
    """Return the recorded runs; none if they are hidden."""
    return recorded_runs() if shows_recorded() else []


def list_runs() -> list[RunSummary]:
    """Return the reader's own runs, the newest first, then the recorded ones unless they are hidden."""
    return with_recorded(get_store().list(), shown_recorded_runs())


def list_targets() -> list[RunSummary]:
    """Return the same with an entry for each target of a run on several tasks."""
    return with_recorded(get_store().list_targets(), shown_recorded_runs())


def run_title(summary: RunSummary) -> str:
    """Return what a box calls a run: its name, and what it trains; a recorded run is called that."""
    config = summary.config
    name = "recorded" if summary.recorded else summary.name
    place = "" if not summary.recorded else f" on {config.backbone}"
    return f"{name} ({method_title(config.method)}, {config.task_labels}{place}, seed {config.training.seed})"


TIMES_NOTE = "Recorded runs were trained while other work ran on the machine: their times are too long to compare."
"""What a reader of training times must know."""


def render_recorded_note(run: Run) -> None:
    """Say of a recorded run how it was made."""
    if not run.recorded:
        return
    environment = run.environment()
    began, commit = str(environment.get("began", ""))[:10], str(environment.get("commit") or "")[:9]
    st.badge("recorded", icon=":material/inventory_2:", color="violet")
    st.caption(
        f"This run came with ptviz, which trained it on {began}{f' at commit {commit}' if commit else ''}. It is "
        "read-only. Its best prompt is stored as trained, the prompts of the other steps in half precision. "
        f"{TIMES_NOTE}"
    )
