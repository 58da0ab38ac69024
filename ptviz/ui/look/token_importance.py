"""The importance of a prompt's tokens: each removed in turn, and all of them replaced by words."""

from __future__ import annotations

from functools import partial
from typing import Any

import streamlit as st

from ptviz.plots import plot_importance
from ptviz.plots.importance import importance_from_answer
from ptviz.probes.prompt_edits import DISTANCES
from ptviz.profanity import mask_words
from ptviz.tasks.metrics import Metric
from ptviz.ui.backend import request_answer
from ptviz.ui.components.errors import show_errors
from ptviz.ui.components.figure_panel import render_plot
from ptviz.ui.look.look_page import SnapshotSelection, poll_request

_REQUEST_COUNT = 10
"""Requests that the tokens are measured in: bars appear as they come, and an active run waits for one request."""
_IMPORTANCE_CAPTION = (
    "How to read it: one bar per prompt token. Above: how the loss and the {metric} change without it; orange is "
    "worse, blue is better, so a blue token is harmful. Below: XPrompt's first-order score from gradients alone, the "
    "absolute derivative of the loss with respect to a mask on the token. Where both are high, they agree."
)
_FAITHFULNESS_NOTE = (
    "Do the nearest words of a prompt describe it? The faithfulness gap is its {metric} minus the {metric} of these "
    "words as a prompt: near zero, they do."
)


def token_importance_panel(found: SnapshotSelection, untouched: dict[str, Any], done: list[dict[str, Any]]) -> None:
    """Show both measurements, each when it is asked for."""
    _render_importance(found, untouched)
    _render_faithfulness(found, untouched, done)


def _render_importance(found: SnapshotSelection, untouched: dict[str, Any]) -> None:
    st.markdown("**Importance of each token**")
    snapshot = found.run.id, found.snapshot.stage, found.snapshot.step
    if st.button("Remove every token in turn", icon=":material/bar_chart:", key="weigh"):
        st.session_state["weighed"] = snapshot
    if st.session_state.get("weighed") != snapshot:
        st.caption("Measures the prompt without each of its tokens, one after another.")
        return
    with show_errors():
        answer = _measure_tokens(snapshot, untouched)
        measured = importance_from_answer(answer)
        m = untouched["m"]
        if len(measured.tokens) < m:
            st.progress(len(measured.tokens) / m, f"{len(measured.tokens)} of {m} tokens measured")
        elif measured.scores is None and not untouched["inside"]:
            st.progress(1.0, "Every token is measured; the first-order score follows")
        if untouched["inside"]:
            st.caption("The first-order score is defined for vectors at the input: keys and values have none.")
        if measured.rank_correlation is not None:
            st.metric(
                "Rank agreement",
                f"{measured.rank_correlation:z.2f}",
                help="Spearman's correlation between the first-order score and the size of the measured change",
            )
        render_plot(
            plot_importance,
            found.run,
            **found.stage_and_step,
            answer=answer,
            key="importance",
            caption=_IMPORTANCE_CAPTION.format(metric=found.run.metric.noun),
            filename=f"{found.run.id}-importance",
        )


def _measure_tokens(snapshot: tuple[str, int, int], untouched: dict[str, Any]) -> dict[str, Any]:
    """Return what is measured so far; the next tokens are requested once the previous ones are answered."""
    run, stage, step = snapshot
    m = untouched["m"]
    count = -(-m // _REQUEST_COUNT)
    found: dict[str, Any] = {"losses": [], "accuracies": [], "loss": 0.0, "accuracy": 0.0, "rows": 0}
    for start in range(0, m, count):
        tokens = list(range(start, min(start + count, m)))
        request = partial(request_answer, "surgery", run, what="ablation", stage=stage, step=step, tokens=tokens)
        answer = poll_request(("ablation", *snapshot, start), request)
        if answer is None:
            return found
        losses, accuracies = found["losses"] + answer["losses"], found["accuracies"] + answer["accuracies"]
        found = {**answer, "losses": losses, "accuracies": accuracies}
    if not untouched["inside"]:
        request = partial(request_answer, "surgery", run, what="importance", stage=stage, step=step)
        scores = poll_request(("importance", *snapshot), request)
        found["scores"] = [] if scores is None else scores["scores"]
    return found


def _render_faithfulness(found: SnapshotSelection, untouched: dict[str, Any], done: list[dict[str, Any]]) -> None:
    st.markdown("**Do the nearest words describe the prompt?**")
    if "snap" not in untouched["kinds"]:
        st.caption("This prompt has no words of its own to compare with.")
        return
    st.caption(_FAITHFULNESS_NOTE.format(metric=found.run.metric.noun))
    run, stage, step = found.run.id, found.snapshot.stage, found.snapshot.step
    with st.container(horizontal=True, vertical_alignment="bottom"):
        distance = st.segmented_control("nearest by", DISTANCES, default=DISTANCES[0], key="faithful-by")
        pressed = st.button(
            "Replace all by nearest words", icon=":material/abc:", key="faithful", disabled=distance is None
        )
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
        _render_nearest_words(answer, distance, found.run.metric, edited=bool(done))


def _render_nearest_words(answer: dict[str, Any], distance: str, metric: Metric, edited: bool) -> None:
    after, gap = answer["snapped"], answer["accuracy"] - answer["snapped"]["accuracy"]
    with st.container(horizontal=True):
        label = "Edited prompt" if edited else "Prompt"
        help = f"{metric.noun} on {answer['rows']} validation texts"
        st.metric(label, metric.format(answer["accuracy"]), help=help)
        st.metric("Its nearest words", metric.format(after["accuracy"]))
        shown = f"{100 * gap:z.1f} points" if metric.unit else f"{gap:z.2f}"
        st.metric("Faithfulness gap", shown, help=f"{metric.noun} before snapping minus after")
        answers = "texts" if metric.kind == "text" else "predictions"
        st.metric(f"Changed {answers}", f"{after['changed']} of {answer['rows']}")
    words = mask_words(answer["words"])
    # A token may hold anything: text, not Markdown.
    st.text("Read as words: " + " ".join(word.strip() for word in words))
    st.dataframe(
        {
            "prompt token": list(range(len(words))),
            "nearest word": words,
            "cosine" if distance == "cosine" else "L2 distance": answer["near"],
        },
        hide_index=True,
        height=180,
        width="content",
    )
