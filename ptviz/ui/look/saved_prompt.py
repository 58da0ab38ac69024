"""A saved prompt on the pages that look inside a run: one prompt, without steps."""

from __future__ import annotations

import numpy as np
import streamlit as st

from ptviz import backbones, tasks
from ptviz.plots.run_tensors import load_tensor_histories
from ptviz.prompt_statistics import find_outliers
from ptviz.runs import StoreError
from ptviz.runs.embedding_table import Vocabulary
from ptviz.runs.saved_prompts import SAVED_PREFIX, SavedPrompt, delete_saved_prompt
from ptviz.training.config import TrainConfig
from ptviz.ui.backend import get_store
from ptviz.ui.components import forms, linked_selection
from ptviz.ui.components.deletion import confirm_deletion
from ptviz.ui.components.errors import error_box
from ptviz.ui.look import attention, decompositions, look_page, nearest_words, projection_map, token_panels
from ptviz.ui.look.on_demand import ProbeTarget
from ptviz.ui.look.token_panels import PromptView
from ptviz.ui.navigation import CHECKPOINT_PAGE, NEW_RUN_PAGE

_DELETE_ERROR_KEY = "delete-prompt-error"


def render_saved_embeddings(saved: SavedPrompt) -> None:
    """Show its tokens among the words of its backbone, and the views of its tensors."""
    render_origin(saved)
    prompt = SAVED_PREFIX + saved.id
    histories = load_tensor_histories(prompt)
    if "P" not in histories:
        st.caption("Its keys and values lie inside the backbone, where there are no words to compare with.")
        decompositions.render_views(prompt, histories["KV"], saved.id)
        return
    history = histories["P"]
    m = len(history.current)
    outliers = np.flatnonzero(find_outliers(history.current)).tolist()
    tokens, highlight = linked_selection.select_tokens(m, outliers, saved.id)
    view = PromptView(prompt=prompt, file_stem=saved.id, tokens=tokens, m=m, highlight=highlight)
    if saved.backbone:
        words = look_page.load_backbone_vocabulary(saved.backbone)
        if words is None:
            st.caption("The worker is fetching the words of the backbone; this takes a few seconds the first time.")
        else:
            _render_among_words(saved, view, words, history.current.shape[1])
    else:
        st.caption("No backbone is set for this prompt, so it cannot be compared with a vocabulary.")
    decompositions.render_views(prompt, history, saved.id, tokens=tokens if len(tokens) < m else None)


def render_saved_tensors(saved: SavedPrompt) -> None:
    """Show the views of its tensors."""
    render_origin(saved)
    history = look_page.select_tensor(load_tensor_histories(SAVED_PREFIX + saved.id))
    decompositions.render_views(SAVED_PREFIX + saved.id, history, saved.id)


def render_saved_attention(saved: SavedPrompt) -> None:
    """Show the attention that texts of a task give to it; the reader chooses the task."""
    render_origin(saved)
    if not saved.backbone:
        st.markdown(
            "No backbone is set for this prompt, so it cannot be applied to a text. Open its checkpoint again, select "
            "the backbone there, and save it."
        )
        st.page_link(CHECKPOINT_PAGE, label="Open a checkpoint", icon=":material/folder_open:")
        return
    shape = next((info for info in backbones.list_backbones() if info.name == saved.backbone), None)
    # Encoders generate no text; of another backbone the family is not known here, and the worker says what cannot be.
    kinds = (
        ("classification",) if shape is not None and shape.family == "encoder" else ("classification", "text", "choice")
    )
    found = [info for info in tasks.list_tasks() if info.available and info.kind in kinds]
    known = {info.name: info.title for info in found}
    if saved.task and saved.task not in known:
        known = {saved.task: saved.task, **known}
    names = {name: known[name] for name in sorted(known, key=lambda name: name != saved.task)}
    task = forms.select_one(
        "Texts of", names, key="task", help="task whose texts and answers are used with this prompt"
    )
    attention.render_attention(ProbeTarget(SAVED_PREFIX + saved.id, task=task), TrainConfig().validation_rows)


def render_saved_routing(saved: SavedPrompt) -> None:
    """Explain that one prompt has no routing, and which methods have."""
    render_origin(saved)
    st.markdown(
        "This is one prompt, the same for every text, so there is nothing to route. Routing belongs to methods with "
        "several prompts, such as SMoP, PT-MoE and ATTEMPT: select such a run above."
    )
    st.page_link(NEW_RUN_PAGE, label="Start a run from it", icon=":material/tune:", query_params={"begin": saved.id})


def render_origin(saved: SavedPrompt) -> None:
    """Show where the prompt came from, as text: all of it may be untrusted."""
    st.text(saved.title)
    if problem := st.session_state.pop(_DELETE_ERROR_KEY, ""):
        error_box(problem)
    known = {"backbone": saved.backbone or "unknown", "task": saved.task or "unknown", **saved.origin}
    rows = [
        {"": name, "value": "; ".join(f"{k}: {v}" for k, v in value.items()) if isinstance(value, dict) else str(value)}
        for name, value in known.items()
    ]
    with st.expander("Where this prompt came from"):
        st.dataframe(rows, hide_index=True)
        if st.button("Delete this prompt", icon=":material/delete:", key="delete-prompt"):
            text = (
                "This deletes the saved prompt. Runs that began from it have a copy of their own. It cannot be undone."
            )
            confirm_deletion(text, [saved.title], "delete-prompt", lambda: _delete(saved))


def _delete(saved: SavedPrompt) -> None:
    try:
        delete_saved_prompt(get_store().prompts_folder, saved.id)
        st.query_params.pop("run", None)
    except StoreError as error:
        st.session_state[_DELETE_ERROR_KEY] = str(error)


def _render_among_words(saved: SavedPrompt, view: PromptView, words: Vocabulary, width: int) -> None:
    """Show projection, norms, distances and nearest words."""
    if words.table.shape[1] != width:
        st.warning(f"Its vectors have {width} dimensions, those of {saved.backbone} {words.table.shape[1]}.")
        return
    left, right = st.columns([3, 2], gap="medium")
    with left:
        projection_map.render_saved_prompt_projection(view)
    with right:
        token_panels.render_norms(view, "norms", token_panels.NORMS_CAPTION)
        token_panels.render_norms(view, "distances", token_panels.DISTANCES_CAPTION)
    nearest_words.render_nearest_words(view)
