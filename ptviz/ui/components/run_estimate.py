"""Estimate of a run, shown before it starts: stages, parameters and time."""

from __future__ import annotations

import streamlit as st

from ptviz.runs import RunConfig
from ptviz.training import RunEstimate, estimate_run
from ptviz.ui.backend import get_store
from ptviz.ui.components.formatting import format_duration, format_percent


def render_run_estimate(config: RunConfig) -> RunEstimate:
    """Render the stages, parameter counts and estimated time of a run, and return the estimate.

    Raises:
        ValueError: if the config is invalid.
    """
    config = config.checked()
    made = estimate_run(
        config.method, config.backbone, config.task, config.training, config.hyperparameters, config.sources
    )
    with st.container(border=True):
        st.markdown("**The plan**")
        for number, (name, steps) in enumerate(made.stages, start=1):
            st.text(f"Stage {number}: {name}, {steps:,} steps of {config.training.batch} rows")
        left, right = st.columns(2)
        share = (
            made.trainable_parameters / made.frozen_parameters
            if made.trainable_parameters and made.frozen_parameters
            else None
        )
        left.metric(
            "Trainable parameters",
            f"{made.trainable_parameters:,}" if made.trainable_parameters is not None else "—",
            help="parameters that training changes; the backbone stays frozen",
        )
        right.metric(
            "Trainable share", format_percent(share, 3), help="trainable parameters divided by the frozen ones"
        )
        left.metric(
            "Stored parameters",
            f"{made.stored_parameters:,}" if made.stored_parameters is not None else "—",
            help="parameters needed for inference",
        )
        seconds, origin = _estimate_seconds(config, made)
        right.metric("Time, about", format_duration(seconds), help=origin)
        st.caption(f"Learning rate {made.lr:g}. {origin}")
        for note in made.notes:
            st.caption(note)
    return made


def _estimate_seconds(config: RunConfig, made: RunEstimate) -> tuple[float | None, str]:
    """Return the estimated seconds and their origin: the newest similar run here, else the recorded speed."""
    wanted = (config.backbone, config.method, config.training.batch, config.training.dtype)
    for summary in get_store().list():
        own = summary.config
        status = summary.status
        if (own.backbone, own.method, own.training.batch, own.training.dtype) == wanted and status.state == "finished":
            longer = config.training.steps / own.training.steps
            return longer * status.seconds, "Time as in this machine's last run like it."
    if made.seconds is None:
        return None, "The time is known after the first run like it."
    return made.seconds, ""
