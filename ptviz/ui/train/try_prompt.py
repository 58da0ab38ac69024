"""The live box: type a sentence, see what the backbone answers with and without the prompt of this very step."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any

import streamlit as st

from ptviz.figures.class_probabilities import ClassProbabilities, draw_class_probabilities
from ptviz.runs import Run
from ptviz.ui.backend import request_answer
from ptviz.ui.components.errors import describe_error
from ptviz.ui.components.formatting import format_percent
from ptviz.ui.components.plotly_chart import plotly_chart

PREDICTION_CAPTION = (
    "How to read it: each class gets a blue bar, what the frozen backbone answers by itself, and an orange one, what "
    "the same backbone answers with the trained prompt in front of your sentence."
)
EXAMPLE_SENTENCES = {
    "question type": "Who painted the Mona Lisa?",
    "sentiment": "I could not be happier with this!",
    "spam": "You have won a free prize, call now!",
    "topic": "The home team won the cup final after extra time.",
    "intent": "Please play some quiet music in the kitchen.",
}
MAX_CHARACTERS = 2000
_KEY = "asked"


@dataclass(frozen=True)
class PredictRequest:
    """One sentence put to one state of one run; ``step`` None is the newest or best prompt."""

    run: str
    text: str
    snapshot: tuple[int, int] | None
    newest_snapshot: tuple[int, int]


@dataclass(frozen=True)
class PredictState:
    """What a session last asked, and the last answer it got; an older answer stays until a newer one comes."""

    request: PredictRequest | None = None
    pending: Future[dict[str, Any]] | None = None
    answer: dict[str, Any] | None = None
    error: str = ""


def has_pending_prediction() -> bool:
    """Whether an answer is still on its way: then the box must look again soon."""
    asked: PredictState = st.session_state.get(_KEY, PredictState())
    return asked.pending is not None


def poll_prediction(question: PredictRequest) -> PredictState:
    """Take an answer that has come, and ask anew if the question changed. Never waits."""
    asked: PredictState = st.session_state.get(_KEY, PredictState())
    if asked.request is not None and asked.request.run != question.run:
        asked = PredictState()
    if asked.pending is not None and asked.pending.done():
        error = asked.pending.exception()
        answer = asked.answer if error else asked.pending.result()
        asked = replace(asked, pending=None, answer=answer, error=describe_error(error) if error else "")
    if asked.pending is None and asked.request != question:
        stage, step = question.snapshot or (None, None)
        pending = None
        if question.text:
            pending = request_answer("predict", question.run, texts=[question.text], stage=stage, step=step)
        asked = replace(asked, request=question, pending=pending, answer=asked.answer if question.text else None)
    st.session_state[_KEY] = asked
    return asked


def sentence_input(family: str) -> str:
    """The text input of the live box; what is typed is part of the page's address."""
    typed = st.text_input(
        "Try it: type a sentence",
        value=EXAMPLE_SENTENCES.get(family, ""),
        key="say",
        max_chars=MAX_CHARACTERS,
        placeholder="a text like those it is trained on",
        bind="query-params",
    )
    return typed.strip()


def prediction_panel(run: Run, text: str, at: tuple[int, int] | None, newest: tuple[int, int]) -> None:
    """The two answers as bars. While training, each ``newest`` snapshot (stage, step) is asked anew."""
    asked = poll_prediction(PredictRequest(run.id, text, at, newest))
    found = asked.answer
    if not text:
        st.caption("Type a sentence above: the answers with and without the prompt appear here.")
        return
    if asked.error and found is None:
        st.text(asked.error)
        return
    shown = ClassProbabilities()
    if found is not None:
        shown = ClassProbabilities(tuple(found["classes"]), tuple(found["with"][0]), tuple(found["without"][0]))
    plotly_chart(
        draw_class_probabilities(shown),
        _alt_text(shown),
        key=f"answers-{run.id}",
        name=f"{run.id}-answers",
        tools=False,
    )
    if found is None:
        st.caption("Asking the worker; the first answer may take a few seconds.")
        return
    top = max(range(len(shown.classes)), key=shown.prompted.__getitem__)
    alone = max(range(len(shown.classes)), key=shown.frozen.__getitem__)
    # A class name may come from a stranger's table: text, not Markdown.
    st.text(f"With the prompt of step {found['step']}: {shown.classes[top]}. Alone: {shown.classes[alone]}.")
    st.caption(PREDICTION_CAPTION)


def _alt_text(shown: ClassProbabilities) -> str:
    if not shown.classes:
        return "Class probabilities: no answer yet."
    rows = zip(shown.classes, shown.prompted, shown.frozen, strict=True)
    told = [
        f"{name}: {format_percent(prompted, 0)} with the prompt, {format_percent(frozen, 0)} alone"
        for name, prompted, frozen in rows
    ]
    return "Class probabilities. " + "; ".join(told[:12]) + "."
