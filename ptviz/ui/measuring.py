"""A measurement that the worker makes when a person asks for it: a button, and its answer for the step looked at."""

from __future__ import annotations

from typing import Any

import streamlit as st

from ptviz.ui.inside import Moment, asked
from ptviz.ui.services import measure


def question(found: Moment, what: str, **more: object) -> dict[str, object]:
    """What a script asks ``ptviz.runs.looking.answer_of`` for the same measurement."""
    return {"kind": "measure", "what": what, "stage": found.here.stage, "step": found.here.step, **more}


def measured(
    found: Moment, what: str, label: str, told: str, *, button: bool = True, **more: Any
) -> dict[str, Any] | None:
    """One of ``ptviz.runs.measuring.MEASURES`` at this step; None until it was asked for and the answer is there.

    ``told`` says under the button what will be measured; without a ``button`` it is asked for at once. ``more`` goes
    with the question.

    Raises:
        StoreError: if it cannot be measured on this run.
    """
    place = found.run.id, found.here.stage, found.here.step
    key = ("measure", what, *place, *sorted(more.items()))
    if button:
        if st.button(label, icon=":material/play_arrow:", key=f"measure-{what}"):
            st.session_state[f"measured-{what}"] = key
        if st.session_state.get(f"measured-{what}") != key:
            st.caption(f"{told} Measured by the worker; a run under way waits for some seconds meanwhile.")
            return None
    answer = asked(key, lambda: measure(what, *place, **more))
    if answer is None:
        st.caption("The worker is measuring the prompt of this step.")
    return answer
