"""What the tokens of a prompt are worth: each taken out in turn, and all of them snapped to words."""

from __future__ import annotations

from functools import partial
from typing import Any

import streamlit as st

from ptviz.analysis.importance import TokenImportance, compute_importance
from ptviz.figures.importance import describe_importance, draw_importance
from ptviz.probes.edits import DISTANCES
from ptviz.ui.backend import request_answer
from ptviz.ui.components.errors import show_errors
from ptviz.ui.components.figure_panel import figure_panel
from ptviz.ui.look.inspect_run import SnapshotSelection, poll_request

_REQUEST_COUNT = 10
"""Questions that the tokens are asked in: bars appear as they are measured, and a run under way waits for one alone."""
_IMPORTANCE_CAPTION = (
    "How to read it: one bar a prompt token. Above: how the loss and the accuracy change without it; orange is "
    "worse, blue is better, so that a blue token does harm. Below: XPrompt's score from gradients alone, how much "
    "the loss would move if the token faded, at the rate at which it begins to. High bars in both rows agree."
)
_FAITHFULNESS_NOTE = (
    "A prompt may be read as its nearest words. Is it worth as much when it really is these words? The faithfulness "
    "gap is the accuracy before snapping minus the accuracy after: near zero, the words say what the prompt does."
)


def token_importance_panel(found: SnapshotSelection, patient: dict[str, Any], done: list[dict[str, Any]]) -> None:
    """Both measurements, each when it is asked for."""
    _render_importance(found, patient)
    _render_faithfulness(found, patient, done)


def _render_importance(found: SnapshotSelection, patient: dict[str, Any]) -> None:
    st.markdown("**What each token is worth**")
    place = found.run.id, found.snapshot.stage, found.snapshot.step
    if st.button("Take out every token in turn", icon=":material/bar_chart:", key="weigh"):
        st.session_state["weighed"] = place
    if st.session_state.get("weighed") != place:
        st.caption("The untouched prompt without each of its tokens; as long as that many measurements.")
        return
    with show_errors():
        measured, rows = _measure_tokens(place, patient)
        m = patient["m"]
        if len(measured.tokens) < m:
            st.progress(len(measured.tokens) / m, f"{len(measured.tokens)} of {m} tokens measured")
        elif measured.scores is None and not patient["inside"]:
            st.progress(1.0, "Every token is measured; the first-order score comes next")
        if patient["inside"]:
            st.caption("The first-order score is defined for vectors at the input: keys and values have none.")
        if measured.rank_correlation is not None:
            st.metric(
                "Rank agreement",
                f"{measured.rank_correlation:.2f}",
                help="Spearman's correlation between the first-order score and the size of the measured change",
            )
        figure_panel(draw_importance(measured), f"{describe_importance(measured)} Measured on {rows} texts each.",
              _IMPORTANCE_CAPTION, key="worth", name=f"{found.run.id}-worth")  # fmt: skip


def _measure_tokens(place: tuple[str, int, int], patient: dict[str, Any]) -> tuple[TokenImportance, int]:
    """What is known so far; the next piece is asked for once the one before is there."""
    run, stage, step = place
    m = patient["m"]
    piece = -(-m // _REQUEST_COUNT)
    losses: list[float] = []
    accuracies: list[float] = []
    answer: dict[str, Any] | None = {}
    for start in range(0, m, piece):
        tokens = list(range(start, min(start + piece, m)))
        question = partial(request_answer, "surgery", run, what="ablation", stage=stage, step=step, tokens=tokens)
        answer = poll_request(("ablation", *place, start), question)
        if answer is None:
            break
        whole = answer
        losses += answer["losses"]
        accuracies += answer["accuracies"]
    if not losses:
        return compute_importance([], [], 0.0, 0.0), 0
    scores = None
    if answer is not None and not patient["inside"]:
        question = partial(request_answer, "surgery", run, what="importance", stage=stage, step=step)
        scores = poll_request(("importance", *place), question)
    first = [] if scores is None else scores["scores"]
    return compute_importance(losses, accuracies, whole["loss"], whole["accuracy"], first), whole["rows"]


def _render_faithfulness(found: SnapshotSelection, patient: dict[str, Any], done: list[dict[str, Any]]) -> None:
    st.markdown("**Is the prompt what its nearest words say?**")
    if "snap" not in patient["kinds"]:
        st.caption("This prompt has no words of its own, so there is nothing to be faithful to.")
        return
    st.caption(_FAITHFULNESS_NOTE)
    run, stage, step = found.run.id, found.snapshot.stage, found.snapshot.step
    with st.container(horizontal=True, vertical_alignment="bottom"):
        distance = st.segmented_control("nearest by", DISTANCES, default=DISTANCES[0], key="faithful-by")
        pressed = st.button("Snap the whole prompt", icon=":material/abc:", key="faithful", disabled=distance is None)
    key = ("faithfulness", run, stage, step, distance, repr(done))
    if pressed:
        st.session_state["read-as-words"] = key[:4]
    if st.session_state.get("read-as-words") != key[:4] or distance is None:
        return
    with show_errors():
        question = {"what": "faithfulness", "stage": stage, "step": step, "edits": list(done), "distance": distance}
        answer = poll_request(key, lambda: request_answer("surgery", run, **question))
        if answer is None:
            st.caption("The worker is measuring the words.")
            return
        _render_nearest_words(answer, distance, edited=bool(done))


def _render_nearest_words(answer: dict[str, Any], distance: str, edited: bool) -> None:
    after, gap = answer["snapped"], answer["accuracy"] - answer["snapped"]["accuracy"]
    with st.container(horizontal=True):
        told = "Edited prompt" if edited else "Prompt"
        st.metric(told, f"{answer['accuracy']:.1%}", help=f"accuracy on {answer['rows']} validation texts")
        st.metric("Its nearest words", f"{after['accuracy']:.1%}")
        st.metric("Faithfulness gap", f"{100 * gap:.1f} points", help="accuracy before snapping minus after")
        st.metric("Other answers", f"{after['changed']} of {answer['rows']}")
    # A token may hold anything: text, not Markdown.
    st.text("Read as words: " + " ".join(word.strip() for word in answer["words"]))
    st.dataframe(
        {
            "prompt token": list(range(len(answer["words"]))),
            "nearest word": answer["words"],
            "cosine" if distance == "cosine" else "L2 distance": answer["near"],
        },
        hide_index=True,
        height=180,
        width="content",
    )
