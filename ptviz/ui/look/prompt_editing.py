"""Prompt editing on the page Embeddings: edit the prompt of a step, measure each edit, undo it, save the result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from ptviz.analysis.csv_text import table_to_csv
from ptviz.analysis.text_difference import find_differences
from ptviz.plots import edited_texts_table
from ptviz.plots.snippet import call_snippet
from ptviz.probes import prompt_edits as editing
from ptviz.probes.prompt_edits import DISTANCES, EDIT_TYPES, Ablate, Edit, Mix, Noise, Scale, Snap, Swap
from ptviz.profanity import mask_words
from ptviz.runs import saved_prompts
from ptviz.tasks.metrics import Metric
from ptviz.ui.backend import get_store, request_answer
from ptviz.ui.components.csv_download import figure_csv_download
from ptviz.ui.components.errors import show_errors
from ptviz.ui.components.formatting import delta_options, unique_labels
from ptviz.ui.components.glossary import render_markdown
from ptviz.ui.components.python_popover import python_popover
from ptviz.ui.components.text_blocks import TextPart, text_blocks_html
from ptviz.ui.look import token_importance
from ptviz.ui.look.look_page import SnapshotSelection, poll_request
from ptviz.ui.recorded_runs import list_targets, run_title

LESSON = (
    "How accurate is this prompt with some of its tokens changed? Edits are applied one after another and measured "
    "on [[validation]] texts; the run itself does not change. **Try:** remove token 0, then snap every token to its "
    "nearest word, and undo."
)
_EDIT_LABELS = {
    "ablate": "remove",
    "scale": "scale",
    "swap": "swap two",
    "noise": "add noise",
    "snap": "snap to word",
    "mix": "mix with another",
}
_KEY_VALUES_NOTE = (
    "This prompt consists of keys and values inside the backbone. A token is removed at every attention site; scaling "
    "multiplies its values, so it gets the same attention but adds more or less; noise is added to each key and value. "
    "There is no swap, since attention has no order among them, and no snap, since no word has keys and values here."
)
_PER_INPUT_NOTE = (
    "This method computes a prompt for each text. An edit changes the same token of every text's prompt; there is no "
    "single prompt that could be snapped to words, mixed with another or saved."
)


def render_prompt_editor(found: SnapshotSelection) -> None:
    """Show the editor; nothing is measured before the reader asks for it."""
    st.header("Prompt editing")
    render_markdown(LESSON)
    snapshot = found.run.id, found.snapshot.stage, found.snapshot.step
    done = _edit_list(found.run.id)
    if st.session_state.get("operated") != snapshot:
        label = "Measure these edits at this step" if done else "Start editing"
        with st.container(horizontal=True, vertical_alignment="center"):
            if not st.button(label, icon=":material/content_cut:", key="operate"):
                st.caption("The worker measures the unedited prompt first, in a second or two if it is idle.")
                return
        st.session_state["operated"] = snapshot
    answer = None
    with show_errors():
        answer = poll_request(_cache_key(snapshot, done), lambda: _request_scores(snapshot, done))
        if answer is not None:
            st.session_state["patient"] = {"run": found.run.id, **answer}
    # The error of an edit is shown above the buttons that undo it.
    measured = st.session_state.get("patient", {})
    if measured.get("run") != found.run.id:
        st.caption("The worker is measuring the prompt of this step; a run in progress pauses for a second.")
        return
    _edit_form(found, measured, done)
    if answer is not None:
        _render_scores(done, answer, found.run.metric)
        if done and answer["outputs"] is not None:
            _render_generated_texts(found, done, answer)
    _save_prompt_form(found, snapshot, measured, done)
    token_importance.token_importance_panel(found, measured, done)


def _edit_list(run: str) -> list[dict[str, Any]]:
    """Return the edits of this run's prompt, oldest first."""
    lists: dict[str, list[dict[str, Any]]] = st.session_state.setdefault("edits", {})
    return lists.setdefault(run, [])


def _cache_key(snapshot: tuple[str, int, int], done: list[dict[str, Any]]) -> tuple[object, ...]:
    return "surgery", *snapshot, tuple(map(editing.parse_edit, done))


def _request_scores(snapshot: tuple[str, int, int], done: list[dict[str, Any]]) -> Any:
    run, stage, step = snapshot
    return request_answer("surgery", run, what="edits", stage=stage, step=step, edits=list(done))


def _edit_form(found: SnapshotSelection, measured: dict[str, Any], done: list[dict[str, Any]]) -> None:
    """Show the form that chooses an edit and its tokens, applies, undoes and resets."""
    if measured["inside"]:
        st.caption(_KEY_VALUES_NOTE)
    elif "snap" not in measured["kinds"]:
        st.caption(_PER_INPUT_NOTE)
    kinds = [kind for kind in _EDIT_LABELS if kind in measured["kinds"]]
    kind = st.segmented_control("edit", kinds, default="ablate", key="edit", format_func=_EDIT_LABELS.__getitem__)
    columns = st.columns([2, 1, 1, 1], vertical_alignment="bottom")
    edit = None if kind is None else _FORMS[kind](found, measured["m"], columns)
    made = [] if edit is None else [edit.to_json()]
    with st.container(horizontal=True):
        apply, undo = done.extend, done.__delitem__
        icon = ":material/content_cut:"
        st.button("Apply", type="primary", icon=icon, key="apply", disabled=not made, on_click=apply, args=(made,))
        st.button("Undo", icon=":material/undo:", key="undo", disabled=not done, on_click=undo, args=(-1,))
        st.button("Reset", icon=":material/restart_alt:", key="reset", disabled=not done, on_click=done.clear)


def _select_tokens(m: int, columns: Any, nothing: str = "every token") -> tuple[int, ...]:
    chosen = columns[0].multiselect("prompt tokens", range(m), key="cut-tokens", placeholder=nothing)
    return tuple(sorted(chosen))


def _ablate_form(found: SnapshotSelection, m: int, columns: Any) -> Edit | None:
    tokens = _select_tokens(m, columns, "choose some")
    return Ablate(tokens) if 0 < len(tokens) < m else None


def _scale_form(found: SnapshotSelection, m: int, columns: Any) -> Edit:
    tokens = _select_tokens(m, columns)
    return Scale(tokens, float(columns[1].number_input("times", -10.0, 10.0, 0.5, 0.25, key="cut-factor")))


def _swap_form(found: SnapshotSelection, m: int, columns: Any) -> Edit | None:
    first = int(columns[1].number_input("token", 0, m - 1, 0, key="cut-first"))
    second = int(columns[2].number_input("and token", 0, m - 1, min(1, m - 1), key="cut-second"))
    return Swap(first, second) if first != second else None


def _noise_form(found: SnapshotSelection, m: int, columns: Any) -> Edit:
    tokens = _select_tokens(m, columns)
    size = columns[1].number_input("size, relative to the norm", 0.0, 10.0, 0.5, 0.1, key="cut-size")
    return Noise(tokens, float(size), int(columns[2].number_input("seed", 0, 2**31, 0, key="cut-seed")))


def _snap_form(found: SnapshotSelection, m: int, columns: Any) -> Edit:
    tokens = _select_tokens(m, columns)
    return Snap(tokens, columns[1].selectbox("nearest by", DISTANCES, key="cut-distance"))


def _mix_form(found: SnapshotSelection, m: int, columns: Any) -> Edit | None:
    others = _mixable_prompts(found, m)
    chosen = columns[0].selectbox(
        "the other prompt", list(others), key="cut-other", format_func=others.__getitem__, placeholder="none fits"
    )
    share = columns[1].slider("share of the other", 0.0, 1.0, 0.5, 0.05, key="cut-share")
    return None if chosen is None else Mix(chosen[0], chosen[1], float(share))


def _mixable_prompts(found: SnapshotSelection, m: int) -> dict[tuple[Any, str], str]:
    """Return the prompts that may be mixed in: finished runs and saved prompts of the same backbone and length."""
    backbone = found.run.config.backbone
    saved = [
        prompt
        for prompt in saved_prompts.list_saved_prompts(get_store().prompts_folder)
        if prompt.m == m and prompt.backbone in ("", backbone)
    ]
    runs = [
        summary
        for summary in list_targets()
        if summary.status.state == "finished"
        and summary.config.backbone == backbone
        and summary.config.hyperparameters.get("m") == m
        and summary.id != found.run.id
    ]
    named: dict[tuple[Any, str], str] = {("kept", prompt.id): f"saved: {prompt.title}" for prompt in saved}
    return unique_labels(named | {("run", summary.id): f"run: {run_title(summary)}" for summary in runs})


_FORMS: dict[str, Callable[[SnapshotSelection, int, Any], Edit | None]] = {
    "ablate": _ablate_form,
    "scale": _scale_form,
    "swap": _swap_form,
    "noise": _noise_form,
    "snap": _snap_form,
    "mix": _mix_form,
}
assert list(_FORMS) == list(EDIT_TYPES), "every edit has its form"


def _render_scores(done: list[dict[str, Any]], answer: dict[str, Any], metric: Metric) -> None:
    """Show score and loss of the edited prompt, and after each edit."""
    before, rows = answer["untouched"], answer["rows"]
    answers, help = "predictions", "texts with another predicted class than with the unedited prompt"
    if answer["outputs"] is not None:
        answers, help = "texts", "validation inputs for which another text is generated than with the unedited prompt"
    now = {"changed": 0, **before} if not done else answer["after"][-1]
    with st.container(horizontal=True):
        gained, rise = now["accuracy"] - before["accuracy"], now["loss"] - before["loss"]
        change = delta_options(metric.format_change(gained)) if gained else {}
        st.metric(f"{metric.title} now", metric.format(now["accuracy"]), help=f"on {rows} validation texts", **change)
        st.metric("Loss now", f"{now['loss']:.3f}", **(delta_options(f"{rise:+z.3f}", "inverse") if rise else {}))
        st.metric(f"Changed {answers}", f"{now['changed']} of {rows}", help=help)
    if not done:
        return
    descriptions = [editing.parse_edit(edit).describe() for edit in done]
    replacements = [f": {' '.join(mask_words(words))}" if words else "" for words in answer["words"]]
    after: list[dict[str, Any]] = [{**before, "changed": 0}, *(score or {} for score in answer["after"])]
    column, factor = (f"{metric.noun} (%)", 100) if metric.unit else (metric.noun, 1)
    st.dataframe(
        {
            "edit": ["unedited", *(one + more for one, more in zip(descriptions, replacements, strict=True))],
            column: [factor * score["accuracy"] if score else None for score in after],
            "loss (nats)": [score.get("loss") for score in after],
            f"changed {answers}": [score.get("changed") for score in after],
        },
        hide_index=True,
        column_config={
            "edit": st.column_config.TextColumn(width="large"),
            column: st.column_config.NumberColumn(format="%.1f" if metric.unit else "%.2f"),
            "loss (nats)": st.column_config.NumberColumn(format="%.3f"),
        },
    )


def _render_generated_texts(found: SnapshotSelection, done: list[dict[str, Any]], answer: dict[str, Any]) -> None:
    """Show what is generated before and after the edits, and mark where the two texts differ."""
    st.markdown("**What is generated before and after the edits**")
    call = {"edits": list(done), **found.stage_and_step}
    rows = edited_texts_table(found.run, **call, answer=answer)
    changed = [row for row in rows if row["changed"]]
    all_rows = st.toggle("show unchanged texts too", key="cut-unchanged")
    st.html(text_blocks_html(map(_edited_text, rows if all_rows else changed)))
    st.caption(
        f"How to read it: {len(changed)} of {len(rows)} texts changed, and words that differ are underlined. A text "
        "that does not change did not need what was edited."
    )
    with st.container(horizontal=True, gap="small"):
        python_popover(call_snippet(edited_texts_table, found.run, **call), "edited-texts")
        table: list[list[object]] = [[*rows[0]], *([*row.values()] for row in rows)]
        figure_csv_download(lambda: table_to_csv(table), f"{found.run.id}-edited-texts", "edited-texts")


def _edited_text(row: dict[str, object]) -> list[TextPart]:
    before, after = find_differences(str(row["before"]), str(row["after"]))
    return [
        TextPart("input", str(row["input"])),
        TextPart("reference", str(row["reference"])),
        TextPart("before", before),
        TextPart("after", after, "\u2260 changed" if row["changed"] else "= unchanged"),
    ]


def _save_prompt_form(
    found: SnapshotSelection, snapshot: tuple[str, int, int], measured: dict[str, Any], done: list[dict[str, Any]]
) -> None:
    """Offer to save the edited prompt."""
    if "mix" not in measured["kinds"]:  # A prompt that depends on the text can neither be mixed nor saved.
        return
    with st.popover("Save as a new prompt", icon=":material/save:"):
        title = st.text_input("title", f"{found.run.id}, {len(done)} edits", key="keep-title", max_chars=120)
        if st.button("Save", key="keep", disabled=not title.strip()):
            st.session_state["kept"] = (*_cache_key(snapshot, done), title)
    wanted = st.session_state.get("kept")
    if wanted is None or wanted[:-1] != _cache_key(snapshot, done):
        return
    run, stage, step = snapshot
    with show_errors():
        question = {"what": "save", "stage": stage, "step": step, "edits": list(done), "title": wanted[-1]}
        answer = poll_request(("save", wanted), lambda: request_answer("surgery", run, **question))
        if answer is None:
            st.caption("The worker is saving the prompt and measures the saved copy.")
            return
        metric = found.run.metric
        score = f"{metric.noun} {metric.format(answer['accuracy'])}"
        st.success(f"Saved as {answer['id']}: {answer['m']} prompt tokens, {score} when read back.")
        st.caption("It is in this folder. The pages that inspect prompts list it, and a run can start from it:")
        method = found.run.config.method
        st.code(f"{answer['place']}\nptviz train {method} --start {answer['id']} --set m={answer['m']}", language=None)
