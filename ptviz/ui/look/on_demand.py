"""A measurement that the worker makes when a person asks for it: a button, and its answer for the step looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import streamlit as st

from ptviz.runs.saved_prompts import SAVED_PREFIX
from ptviz.ui.backend import request_answer
from ptviz.ui.look.inspect_run import SnapshotSelection, poll_request


@dataclass(frozen=True)
class ProbeTarget:
    """What the worker is asked about: a run at a step, or a kept prompt (its id behind ``SAVED_PREFIX``) on a task's texts."""

    id: str
    stage: int | None = None
    step: int | None = None
    task: str = ""

    @classmethod
    def from_selection(cls, found: SnapshotSelection) -> ProbeTarget:
        """The run and step that a page looks at."""
        return cls(found.run.id, found.snapshot.stage, found.snapshot.step)

    @property
    def file_stem(self) -> str:
        """What files of it are called."""
        return self.id.removeprefix(SAVED_PREFIX)

    def request_fields(self) -> dict[str, object]:
        """The part of a question that says which prompt is meant, beside its id."""
        return {"task": self.task} if self.id.startswith(SAVED_PREFIX) else {"stage": self.stage, "step": self.step}


def probe_request(found: SnapshotSelection | ProbeTarget, what: str, **more: object) -> dict[str, object]:
    """What a script asks ``ptviz.worker.handlers.probe_run`` for the same measurement."""
    place = found if isinstance(found, ProbeTarget) else ProbeTarget.from_selection(found)
    return {"kind": "measure", "what": what, **place.request_fields(), **more}


def probe_on_demand(
    found: SnapshotSelection | ProbeTarget, what: str, label: str, told: str, *, button: bool = True, **more: Any
) -> dict[str, Any] | None:
    """One of ``ptviz.worker.handlers.PROBES`` at this step; None until the answer to it is there.

    ``told`` says under the button what will be measured; without a ``button`` it is asked for at once. ``more`` goes
    with the question.

    Raises:
        StoreError: if it cannot be measured on this run.
    """
    place = found if isinstance(found, ProbeTarget) else ProbeTarget.from_selection(found)
    if place.task:
        more["task"] = place.task
    key = ("measure", what, place, *sorted(more.items()))
    if button:
        if st.button(label, icon=":material/play_arrow:", key=f"measure-{what}"):
            st.session_state[f"measured-{what}"] = key
        if st.session_state.get(f"measured-{what}") != key:
            st.caption(f"{told} Measured by the worker; a run under way waits for some seconds meanwhile.")
            return None
    question = {"what": what, "stage": place.stage, "step": place.step, **more}
    answer = poll_request(key, lambda: request_answer("measure", place.id, **question))
    if answer is None:
        st.caption("The worker is measuring the prompt of this step." if not place.task else "The worker is measuring.")
    return answer
