"""A measurement that the worker makes when the reader asks for it: a button, and the answer for the selected step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import streamlit as st

from ptviz.plots.run_argument import PromptOrId
from ptviz.runs.saved_prompts import SAVED_PREFIX
from ptviz.ui.backend import get_store, request_answer
from ptviz.ui.look.look_page import SnapshotSelection, poll_request


@dataclass(frozen=True)
class ProbeTarget:
    """The prompt to measure: a run at a step, or a saved prompt (id with ``SAVED_PREFIX``) on the texts of a task."""

    id: str
    stage: int | None = None
    step: int | None = None
    task: str = ""

    @classmethod
    def from_selection(cls, found: SnapshotSelection) -> ProbeTarget:
        """Return the run and step that a page shows."""
        return cls(found.run.id, found.snapshot.stage, found.snapshot.step)

    @property
    def file_stem(self) -> str:
        """Return the first part of the names of its files."""
        return self.id.removeprefix(SAVED_PREFIX)

    @property
    def prompt(self) -> PromptOrId:
        """Return the first argument of its plots."""
        return self.id if self.id.startswith(SAVED_PREFIX) else get_store().get(self.id)

    @property
    def plot_options(self) -> dict[str, Any]:
        """Return the options of its plots that say which prompt is meant."""
        return {"task": self.task} if self.id.startswith(SAVED_PREFIX) else {"stage": self.stage, "step": self.step}


def probe_on_demand(
    found: SnapshotSelection | ProbeTarget, what: str, label: str, description: str, *, button: bool = True, **more: Any
) -> dict[str, Any] | None:
    """Return the answer of one of ``ptviz.worker.handlers.PROBES`` at this step; None until it is there.

    ``description`` is shown under the button; without a ``button`` the worker is asked at once. ``more`` is sent with
    the request.

    Raises:
        StoreError: if it cannot be measured on this run.
    """
    target = found if isinstance(found, ProbeTarget) else ProbeTarget.from_selection(found)
    if target.task:
        more["task"] = target.task
    key = ("measure", what, target, *sorted(more.items()))
    if button:
        if st.button(label, icon=":material/play_arrow:", key=f"measure-{what}"):
            st.session_state[f"measured-{what}"] = key
        if st.session_state.get(f"measured-{what}") != key:
            st.caption(f"{description} Measured by the worker; a run in progress pauses for a few seconds.")
            return None
    answer = poll_request(
        key, lambda: request_answer("measure", target.id, what=what, stage=target.stage, step=target.step, **more)
    )
    if answer is None:
        st.caption("The worker is measuring." if target.task else "The worker is measuring the prompt of this step.")
    return answer
