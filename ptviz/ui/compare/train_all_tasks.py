"""Plain prompt tuning on every built-in task: the source prompts of a transfer grid, trained with one button."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import streamlit as st

from ptviz import backbones, tasks
from ptviz.experiments import comparison, planned_runs
from ptviz.runs import ACTIVE_STATES, RunConfig, RunSummary
from ptviz.runs.saved_prompts import SAVED_PREFIX
from ptviz.training.source_prompts import SOURCE_METHOD
from ptviz.ui.backend import get_client, get_store
from ptviz.ui.compare.methods_setup import comparison_controls
from ptviz.ui.components.errors import show_errors
from ptviz.ui.train.run_page import REFRESH_SECONDS


def all_task_configs(backbone: str) -> tuple[RunConfig, ...]:
    """Return the configs of plain prompt tuning with seed 0 on each task with classes whose data are installed."""
    return tuple(
        config
        for info in tasks.list_tasks()
        if info.available and info.kind == "classification"
        for config in comparison.make_configs(
            (SOURCE_METHOD,), (0,), replace(RunConfig(backbone=backbone), task=info.name)
        )
    )


def render_all_tasks_form(backbone: str, own: Sequence[RunSummary]) -> None:
    """Show how many of these runs exist, and the button that trains the rest; nothing once all exist.

    ``own`` are the runs of the backbone, which show that it can be trained here.
    """
    here = {info.name for info in backbones.list_backbones() if info.available}
    if backbone not in here and all(run.id.startswith(SAVED_PREFIX) for run in own):
        return
    wanted = all_task_configs(backbone)
    found = planned_runs.find_runs(get_store(), wanted)
    if all(entry.state == "finished" for entry in found):
        return
    alive = any(entry.state in ACTIVE_STATES for entry in found)
    with st.expander(f"A prompt for every built-in task ({len(found)})", expanded=alive):
        st.caption("One prompt per task, then every prompt on every task, in the background.")
        comparison_controls(found, key="every-task")
        if alive:
            st.fragment(_render_progress, run_every=2 * REFRESH_SECONDS)(wanted, [entry.state for entry in found])


def _render_progress(wanted: tuple[RunConfig, ...], known: list[str]) -> None:
    """Show progress, make sure that the worker runs, and draw the page again when a state changes."""
    with show_errors():
        found = planned_runs.find_runs(get_store(), wanted)
        get_client().ensure_worker()
        for entry in found:
            if entry.state == "running" and entry.run is not None:
                status = get_store().get(entry.run).status()
                st.progress(min(status.step / max(status.steps, 1), 1.0), text=entry.config.task_labels)
        if [entry.state for entry in found] != known:
            st.rerun()
