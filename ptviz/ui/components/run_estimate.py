"""Estimate of a run, shown before it starts: stages, parameters and time."""

from __future__ import annotations

import json
from concurrent.futures import Future
from typing import Any

import streamlit as st

from ptviz.runs import RunConfig
from ptviz.runs.config import with_absolute_paths
from ptviz.training import RunEstimate
from ptviz.ui.backend import get_store, request_answer
from ptviz.ui.components.errors import run_and_rerun
from ptviz.ui.components.formatting import format_duration, format_percent
from ptviz.ui.components.glossary import meaning
from ptviz.ui.libraries import wait_for_libraries

_MEASURING = "measuring-speed"
_POLL_SECONDS = 0.6
_METRIC_WIDTH = 130
"""Pixels: two lie side by side in the column of the plan, and on a phone."""
_MEASURE_HELP = "loads the backbone and trains four steps that are not kept; a run in progress pauses meanwhile"


def render_run_estimate(config: RunConfig) -> RunEstimate:
    """Render the stages, parameter counts and estimated time of a run, and return the estimate.

    Raises:
        ValueError: if the config is invalid.
    """
    config = config.checked()
    wait_for_libraries()
    from ptviz.engine.time_estimate import estimate_time  # It needs torch.

    estimate = config.estimate()
    with st.container(border=True):
        st.markdown("**The plan**")
        for number, (name, steps) in enumerate(estimate.stages, start=1):
            st.text(f"Stage {number}: {name}, {steps:,} steps of {config.training.batch} examples")
        numbers = st.container(horizontal=True)
        share = (
            estimate.trainable_parameters / estimate.frozen_parameters
            if estimate.trainable_parameters and estimate.frozen_parameters
            else None
        )
        numbers.metric(
            "Trainable",
            f"{estimate.trainable_parameters:,}" if estimate.trainable_parameters is not None else "—",
            help=meaning("trainable parameter"),
            width=_METRIC_WIDTH,
        )
        numbers.metric(
            "Share",
            format_percent(share, 3),
            help="trainable parameters divided by the frozen ones",
            width=_METRIC_WIDTH,
        )
        numbers.metric(
            "Stored",
            f"{estimate.stored_parameters:,}" if estimate.stored_parameters is not None else "—",
            help="parameters needed for inference",
            width=_METRIC_WIDTH,
        )
        time = estimate_time(get_store(), [config])
        numbers.metric("Time, about", format_duration(time.seconds), help=time.basis, width=_METRIC_WIDTH)
        st.caption(f"Learning rate {estimate.lr:g}. {time.basis}")
        for note in estimate.notes:
            st.caption(note)
        if time.source_prompts:
            prompts = "1 source prompt" if time.source_prompts == 1 else f"{time.source_prompts} source prompts"
            st.caption(f"The time includes {prompts} that this store does not have yet.")
        if time.seconds is None:
            _measure_button(config)
    return estimate


def _measure_button(config: RunConfig) -> None:
    """Offer to measure the speed of this machine by a few steps of the run; show the plan again once it is known."""
    config = with_absolute_paths(config)
    key = json.dumps(config.to_json(), sort_keys=True, default=str)
    if st.button("Measure on this machine", icon=":material/timer:", key="measure-speed", help=_MEASURE_HELP):
        st.session_state[_MEASURING] = key, request_answer("speed", config=config.to_json())
    asked, answer = st.session_state.get(_MEASURING, ("", None))
    if answer is None or asked != key:
        return
    if not answer.done():
        st.caption("The worker loads the models and trains a few steps.")
        st.fragment(_await_answer, run_every=_POLL_SECONDS)(answer)
        return
    del st.session_state[_MEASURING]
    run_and_rerun(answer.result)


def _await_answer(answer: Future[dict[str, Any]]) -> None:
    if answer.done():
        st.rerun()
