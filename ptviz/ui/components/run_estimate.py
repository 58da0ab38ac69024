"""What a run will be, shown before it starts."""

from __future__ import annotations

import streamlit as st

from ptviz.runs import RunConfig
from ptviz.training import RunEstimate, estimate_run
from ptviz.ui.backend import get_store
from ptviz.ui.components.formatting import format_duration, format_percent


def render_run_estimate(config: RunConfig) -> RunEstimate:
    """The stages, the sizes and the time of a run that was not started yet.

    Raises:
        ValueError: if the config is wrong, in words for people.
    """
    config = config.checked()
    made = estimate_run(config.method, config.backbone, config.task, config.training, config.knobs, config.sources)
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
            "Numbers trained",
            f"{made.trainable_parameters:,}" if made.trainable_parameters is not None else "—",
            help="scalars that training changes; everything else in the backbone stays frozen",
        )
        right.metric("Share trained", format_percent(share, 3), help="numbers trained, as a share of the frozen ones")
        left.metric(
            "Numbers to keep",
            f"{made.stored_parameters:,}" if made.stored_parameters is not None else "—",
            help="what the result weighs",
        )
        seconds, origin = _estimate_seconds(config, made)
        right.metric("Time, about", format_duration(seconds), help=origin)
        st.caption(f"Learning rate {made.lr:g}. {origin}")
        for note in made.notes:
            st.caption(note)
    return made


def _estimate_seconds(config: RunConfig, made: RunEstimate) -> tuple[float | None, str]:
    """Seconds the run may take and where the guess comes from: this machine's own runs before any record."""
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
