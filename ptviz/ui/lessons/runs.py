"""The runs of a lesson's experiment: the recorded ones that come with the app, or the reader's own."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import streamlit as st

from ptviz.experiments import planned_runs
from ptviz.experiments.planned_runs import PlannedRun
from ptviz.plots import plot_training
from ptviz.runs import ACTIVE_STATES, Run, RunConfig, StoreError
from ptviz.runs.recorded_runs import gallery_store
from ptviz.ui.backend import get_store
from ptviz.ui.compare.methods_setup import comparison_controls
from ptviz.ui.components.errors import show_errors
from ptviz.ui.components.figure_panel import render_plot
from ptviz.ui.lessons.lesson import Lesson
from ptviz.ui.lessons.measures import Measure, evaluate_expression

_REFRESH_SECONDS = 1.0


def find_recorded(configs: Sequence[RunConfig]) -> list[Run] | None:
    """Return the recorded run of each config; None if there is not one for each.

    Raises:
        StoreError: if the recorded runs cannot be read.
    """
    return _finished_runs(planned_runs.find_runs(gallery_store(), configs))


def find_own(configs: Sequence[RunConfig]) -> list[Run] | None:
    """Return the reader's own finished run of each config; None if there is not one for each.

    Raises:
        StoreError: if the folder of runs cannot be read.
    """
    return _finished_runs(planned_runs.find_runs(get_store(), configs))


def find_any(configs: Sequence[RunConfig]) -> list[Run] | None:
    """Return the recorded runs of these configs, else the reader's own; None if neither are complete.

    Raises:
        StoreError: if a folder of runs cannot be read.
    """
    return find_recorded(configs) or find_own(configs) or ([] if not configs else None)


def measured_value(lesson: Lesson) -> Measure | None:
    """Return the measured value that a lesson's prediction is about; None where its runs are missing or unreadable."""
    with suppress(StoreError, ValueError):
        runs = find_any(lesson.experiment.run_configs())
        if runs is not None:
            return evaluate_expression(lesson.prediction.measure, lesson.experiment.measure(runs))
    return None


def _finished_runs(found: Sequence[PlannedRun]) -> list[Run] | None:
    if not found or any(entry.state != "finished" for entry in found):
        return None
    return [get_store().get(str(entry.run)) for entry in found]


def render_training(configs: Sequence[RunConfig], key: str) -> None:
    """Show a button that trains the reader's own runs of these configs, and their progress while they train.

    The page is drawn again when the last of them has finished.
    """
    found = planned_runs.find_runs(get_store(), configs)
    is_active = any(entry.state in ACTIVE_STATES for entry in found)
    st.fragment(_render_progress, run_every=_REFRESH_SECONDS if is_active else None)(configs, key, is_active)


def _render_progress(configs: Sequence[RunConfig], key: str, was_active: bool) -> None:
    found = planned_runs.find_runs(get_store(), configs)
    is_active = any(entry.state in ACTIVE_STATES for entry in found)
    if is_active != was_active:
        st.rerun()
    with show_errors():
        comparison_controls(found, key)
        running = next((entry.run for entry in found if entry.state == "running"), None)
        if running is not None:
            run = get_store().get(running)
            render_plot(plot_training, run, key=f"{key}-live", caption="", filename="", toolbar=False)
