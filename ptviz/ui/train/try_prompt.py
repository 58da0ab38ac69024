"""The box Try it: type a text and see the backbone's answer with and without the prompt of this step."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any

import streamlit as st

from ptviz.plots import plot_class_probabilities
from ptviz.plots.class_probabilities import probabilities_from_answer
from ptviz.runs import Run
from ptviz.tasks.example import PAIR_SEPARATOR
from ptviz.ui.backend import request_answer
from ptviz.ui.components.errors import describe_error
from ptviz.ui.components.figure_panel import render_plot
from ptviz.ui.components.generated_texts import TITLES, TextRequest, render_texts, request_text, stream_texts

PREDICTION_CAPTION = (
    "How to read it: each class has a blue bar, its probability under the frozen backbone alone, and an "
    "orange one, its probability with the trained prompt in front of your sentence."
)
EXAMPLE_SENTENCES = {
    "question type": "Who painted the Mona Lisa?",
    "sentiment": "I could not be happier with this!",
    "spam": "You have won a free prize, call now!",
    "topic": "The home team won the cup final after extra time.",
    "intent": "Please play some quiet music in the kitchen.",
}
MAX_CHARACTERS = 2000
_KEY, _WRITTEN_KEY = "asked", "written"


@dataclass(frozen=True)
class PredictRequest:
    """One sentence for one snapshot (stage, step) of one run; None is the newest or best prompt."""

    run: str
    text: str
    snapshot: tuple[int, int] | None
    newest_snapshot: tuple[int, int]


@dataclass(frozen=True)
class PredictState:
    """The last request of a session and its last answer; an older answer stays until a newer one comes."""

    request: PredictRequest | None = None
    pending: Future[dict[str, Any]] | None = None
    answer: dict[str, Any] | None = None
    error: str = ""


def has_pending_prediction() -> bool:
    """Return whether an answer is pending: then the box must be refreshed soon."""
    state: PredictState = st.session_state.get(_KEY, PredictState())
    return state.pending is not None


def poll_prediction(request: PredictRequest) -> PredictState:
    """Take an answer that has come, and ask again if the request changed. Never waits."""
    state: PredictState = st.session_state.get(_KEY, PredictState())
    if state.request is not None and state.request.run != request.run:
        state = PredictState()
    if state.pending is not None and state.pending.done():
        error = state.pending.exception()
        answer = state.answer if error else state.pending.result()
        state = replace(state, pending=None, answer=answer, error=describe_error(error) if error else "")
    if state.pending is None and state.request != request:
        stage, step = request.snapshot or (None, None)
        pending = None
        if request.text:
            pending = request_answer("predict", request.run, texts=[request.text], stage=stage, step=step)
        state = replace(state, request=request, pending=pending, answer=state.answer if request.text else None)
    st.session_state[_KEY] = state
    return state


def sentence_input(family: str, columns: str = "") -> str:
    """Return the text typed into the box; it is part of the page's address. ``columns`` are those of an own table."""
    fields = [name.strip() for name in columns.split(",")]
    typed = st.text_input(
        "Try it: type a sentence",
        value=EXAMPLE_SENTENCES.get(family, ""),
        key="say",
        max_chars=MAX_CHARACTERS,
        placeholder=PAIR_SEPARATOR.join(fields) if len(fields) > 1 else "a text like those it is trained on",
        bind="query-params",
    )
    return typed.strip()


def generated_text_panel(
    run: Run, text: str, snapshot: tuple[int, int] | None, training_at: tuple[int, int] | None
) -> None:
    """Show what is written after a text with and without the prompt, token by token.

    Training pauses while a text is written. During training, at snapshot ``training_at``, it is therefore written only
    for a new text or on request.
    """
    key = run.id, text, snapshot, training_at
    state: tuple[tuple[object, ...], TextRequest] | None = st.session_state.get(_WRITTEN_KEY)
    if state is None or not _is_answered(key, state[0]):
        if state is not None:
            state[1].withdraw()
            del st.session_state[_WRITTEN_KEY]
        if not text:
            st.caption("Type a text above: the text generated with and without the prompt appears here.")
            return
        stage, step = snapshot or (None, None)
        state = key, request_text("predict", run.id, texts=[text], stage=stage, step=step)
        st.session_state[_WRITTEN_KEY] = state
    written, request = state
    if not request.answer.done():
        stream_texts(request, TITLES)
        return
    error = request.answer.exception()
    if error is not None:
        st.text(describe_error(error))
    else:
        answer = request.answer.result()
        titles = {**TITLES, "with": f"With the prompt of step {answer['step']}"}
        render_texts({name: answer[name][0] for name in titles}, titles)
    if training_at is not None or error is not None:
        st.button(
            "Generate again",
            icon=":material/refresh:",
            key="generate-again",
            disabled=error is None and written == key,
            help="With the newest prompt. Training pauses while texts are generated, so this happens only on request.",
            on_click=st.session_state.pop,
            args=(_WRITTEN_KEY,),
        )


def _is_answered(key: tuple[object, ...], written: tuple[object, ...]) -> bool:
    """Return whether a text that was written, or is being written, is still the one to show."""
    both_training = key[-1] is not None and written[-1] is not None
    return key == written or (both_training and key[:-1] == written[:-1])


def prediction_panel(run: Run, text: str, snapshot: tuple[int, int] | None, newest: tuple[int, int]) -> None:
    """Show class probabilities with and without the prompt; during training, for each ``newest`` (stage, step)."""
    state = poll_prediction(PredictRequest(run.id, text, snapshot, newest))
    answer = state.answer
    if not text:
        st.caption("Type a sentence above: the answers with and without the prompt appear here.")
        return
    if state.error and answer is None:
        st.text(state.error)
        return
    stage, step = snapshot or (0, None)
    render_plot(
        plot_class_probabilities,
        run,
        text,
        stage=stage,
        step=step,
        answer=answer or {},
        key=f"answers-{run.id}",
        caption=PREDICTION_CAPTION if answer else "",
        filename=f"{run.id}-answers",
        toolbar=False,
    )
    if answer is None:
        st.caption("The worker is predicting; the first answer may take a few seconds.")
        return
    found = probabilities_from_answer(answer)
    prompted = max(range(len(found.classes)), key=found.prompted.__getitem__)
    frozen = max(range(len(found.classes)), key=found.frozen.__getitem__)
    # A class name may come from an untrusted table: text, not Markdown.
    st.text(
        f"With the prompt of step {answer['step']}: {found.classes[prompted]}. "
        f"Without the prompt: {found.classes[frozen]}."
    )
