"""Estimate of a run, shown before it starts: stages, parameters and time."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

import streamlit as st

from ptviz.backbones import list_backbones
from ptviz.runs import ACTIVE_STATES, RunConfig
from ptviz.runs.config import with_absolute_paths
from ptviz.training import RunEstimate
from ptviz.ui.backend import get_store, has_models, request_answer
from ptviz.ui.classroom import visitor_rules
from ptviz.ui.components.errors import run_and_rerun
from ptviz.ui.components.formatting import format_duration, format_percent
from ptviz.ui.components.glossary import meaning
from ptviz.ui.heavy_libraries import wait_for_libraries

_MEASURING, _TRIED = "measuring-speed", "tried-to-measure"
"""Keys of the session: the measurement in progress, and the kinds of runs that were measured, or could not be."""
_POLL_SECONDS = 0.6
_METRIC_WIDTH = 130
"""Pixels: two lie side by side in the column of the plan, and on a phone."""
_MEASURE_HELP = "loads the backbone and trains four steps that are not saved; a run in progress pauses until then"


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
            _measure(config)
    return estimate


def _measure(config: RunConfig) -> None:
    """Measure the speed of this machine by a few steps of the run, and show the plan again once it is known.

    Unasked, once for each kind of run, where that is soon done and keeps nothing waiting; otherwise by a button.
    """
    from ptviz.engine.measured_speed import speed_file

    config = with_absolute_paths(config)
    key = speed_file(config).name
    asked, answer = st.session_state.get(_MEASURING, ("", None))
    pressed = st.button("Measure on this machine", icon=":material/timer:", key="measure-speed", help=_MEASURE_HELP)
    if pressed or (answer is None and key not in st.session_state.get(_TRIED, ()) and _may_measure_unasked(config)):
        st.session_state[_TRIED] = {*st.session_state.get(_TRIED, ()), key}
        asked, answer = st.session_state[_MEASURING] = key, request_answer("speed", config=config.to_json())
    if answer is None:
        return
    if not answer.done():
        st.caption("The worker loads the models and trains a few steps.")
        st.fragment(_await_answer, run_every=_POLL_SECONDS)(answer)
        return
    del st.session_state[_MEASURING]
    if asked != key:  # The form has changed since.
        st.rerun()
    run_and_rerun(answer.result)


def _may_measure_unasked(config: RunConfig) -> bool:
    """Return whether the models are here, and the worker is idle: no run in progress, and no class."""
    family = {info.name: info.family for info in list_backbones()}.get(config.backbone)
    idle = all(run.status.state not in ACTIVE_STATES for run in get_store().list())
    return family != "encoder" and has_models(config) and idle and visitor_rules() is None


def _await_answer(answer: Future[dict[str, Any]]) -> None:
    if answer.done():
        st.rerun()
