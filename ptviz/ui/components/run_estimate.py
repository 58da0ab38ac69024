"""Estimate of a run, shown before it starts: stages, parameters and time."""

from __future__ import annotations

import streamlit as st

from ptviz import tasks
from ptviz.runs import RunConfig
from ptviz.training import RunEstimate, estimate_run
from ptviz.ui.backend import get_store
from ptviz.ui.components.formatting import format_duration, format_percent
from ptviz.ui.components.glossary import meaning
from ptviz.ui.libraries import load_libraries


def render_run_estimate(config: RunConfig) -> RunEstimate:
    """Render the stages, parameter counts and estimated time of a run, and return the estimate.

    Raises:
        ValueError: if the config is invalid.
    """
    config = config.checked()
    load_libraries()
    estimate = estimate_run(
        config.method,
        config.backbone,
        config.task,
        config.training,
        config.hyperparameters,
        config.source_tasks() or None,
        targets=len(config.targets),
    )
    with st.container(border=True):
        st.markdown("**The plan**")
        for number, (name, steps) in enumerate(estimate.stages, start=1):
            st.text(f"Stage {number}: {name}, {steps:,} steps of {config.training.batch} examples")
        left, right = st.columns(2)
        share = (
            estimate.trainable_parameters / estimate.frozen_parameters
            if estimate.trainable_parameters and estimate.frozen_parameters
            else None
        )
        left.metric(
            "Trainable parameters",
            f"{estimate.trainable_parameters:,}" if estimate.trainable_parameters is not None else "—",
            help=meaning("trainable parameter"),
        )
        right.metric(
            "Trainable share", format_percent(share, 3), help="trainable parameters divided by the frozen ones"
        )
        left.metric(
            "Stored parameters",
            f"{estimate.stored_parameters:,}" if estimate.stored_parameters is not None else "—",
            help="parameters needed for inference",
        )
        seconds, origin = _estimate_seconds(config, estimate)
        right.metric("Time, about", format_duration(seconds), help=origin)
        st.caption(f"Learning rate {estimate.lr:g}. {origin}")
        for note in estimate.notes:
            st.caption(note)
    return estimate


def _estimate_seconds(config: RunConfig, estimate: RunEstimate) -> tuple[float | None, str]:
    """Return the estimated seconds and their origin: the newest similar run here, else the recorded speed.

    A run on the same task comes first: texts to write take longer than classes, and long texts longer than short ones.
    """

    def setting(own: RunConfig) -> tuple[object, ...]:
        return own.backbone, own.method, own.training.batch, own.training.dtype

    done = [
        run for run in get_store().list() if run.status.state == "finished" and setting(run.config) == setting(config)
    ]
    same_task = [run for run in done if run.config.targets == config.targets]
    several = len(config.targets) > 1  # Each target is evaluated, and some may write.
    if similar := next(iter(same_task or (() if several or _writes(config) else done)), None):
        longer = config.training.steps / similar.config.training.steps
        return longer * similar.status.seconds, "Time as in the last such run on this machine."
    if estimate.seconds is None or several or _writes(config):
        return None, "The time is known after the first such run."
    return estimate.seconds, ""


def _writes(config: RunConfig) -> bool:
    """Return whether the task is a named one without classes."""
    known = [*tasks.list_tasks(), *tasks.list_named_tasks()]
    return any(info.name == config.task and info.kind != "classification" for info in known)
