"""A kept prompt on the pages that look inside: one moment, without a run, so without steps, texts or answers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import streamlit as st

from ptviz import tasks
from ptviz.analysis.geometry import compute_geometry, compute_vocabulary_stats
from ptviz.analysis.neighbours import nearest_tokens
from ptviz.figures import nearest_words as drawn
from ptviz.figures.linked_selection import dim_cells, make_pickable
from ptviz.plots.cache import cached_by_signature
from ptviz.plots.run_tensors import load_tensor_histories
from ptviz.plots.views import TensorHistory
from ptviz.prompt_statistics import find_outliers
from ptviz.runs.embedding_table import Vocabulary
from ptviz.runs.saved_prompts import SAVED_PREFIX, SavedPrompt
from ptviz.training.config import TrainConfig
from ptviz.ui import scripts
from ptviz.ui.components import forms, linked_selection
from ptviz.ui.components.figure_panel import figure_panel
from ptviz.ui.components.linked_selection import update_highlight
from ptviz.ui.look import attention as gazes
from ptviz.ui.look import decompositions, inspect_run, nearest_words, projection_map, token_panels
from ptviz.ui.look.on_demand import ProbeTarget
from ptviz.ui.navigation import CHECKPOINT_PAGE, COMPOSE_PAGE


def render_saved_embeddings(kept: SavedPrompt) -> None:
    """Its tokens among the words of its backbone; the views of its tensors where no words can be had."""
    render_origin(kept)
    tracks = load_tensor_histories(SAVED_PREFIX + kept.id)
    if "P" not in tracks:
        st.caption("Its keys and values lie inside the backbone, where there are no words to compare with.")
        decompositions.render_views(SAVED_PREFIX + kept.id, tracks["KV"], kept.id)
        return
    whole = tracks["P"]
    odd = np.flatnonzero(find_outliers(whole.current)).tolist()
    rows, picked = linked_selection.select_tokens(len(whole.current), odd, kept.id)
    track = whole.take("m", rows)
    if kept.backbone:
        words = inspect_run.load_backbone_vocabulary(kept.backbone)
        if words is None:
            st.caption("The worker is fetching the words of the backbone; this takes a few seconds the first time.")
        else:
            _render_among_words(kept, track, words, rows, picked)
    else:
        st.caption("Nobody said which backbone it is for, so there are no words to compare with.")
    decompositions.render_views(SAVED_PREFIX + kept.id, track, kept.id, tokens=rows)


def render_saved_tensors(kept: SavedPrompt) -> None:
    """The views of its tensors."""
    render_origin(kept)
    history = inspect_run.select_tensor(load_tensor_histories(SAVED_PREFIX + kept.id))
    decompositions.render_views(SAVED_PREFIX + kept.id, history, kept.id)


def render_saved_attention(kept: SavedPrompt) -> None:
    """What texts of a task look at in it: the task is for a person to choose."""
    render_origin(kept)
    if not kept.backbone:
        st.markdown(
            "Nobody said which backbone this prompt is for, and without one no text can meet it. Open its checkpoint "
            "again, choose the backbone there, and keep it."
        )
        st.page_link(CHECKPOINT_PAGE, label="Open a checkpoint", icon=":material/folder_open:")
        return
    known = {info.name: info.title for info in tasks.list_builtin_tasks() if info.available}
    if kept.task and kept.task not in known:
        known = {kept.task: kept.task, **known}
    names = {name: known[name] for name in sorted(known, key=lambda name: name != kept.task)}
    task = forms.select_one(
        "Texts and classes of", names, key="task", help="what the backbone is asked while it wears this prompt"
    )
    gazes.render_attention(ProbeTarget(SAVED_PREFIX + kept.id, task=task), TrainConfig().validation_rows)


def render_saved_routing(kept: SavedPrompt) -> None:
    """There is nothing to route in one prompt; the page says so, and what would route."""
    render_origin(kept)
    st.markdown(
        "This is one prompt, the same for every text, so there is nothing to route. Routing belongs to methods that "
        "keep several prompts, as SMoP, PT-MoE and ATTEMPT do: choose such a run above."
    )
    st.page_link(COMPOSE_PAGE, label="Start a run from it", icon=":material/tune:", query_params={"begin": kept.id})


def render_origin(kept: SavedPrompt) -> None:
    """Where it came from, as text: all of it may be a stranger's."""
    st.text(kept.title)
    known = {"backbone": kept.backbone or "not said", "task": kept.task or "not said", **kept.origin}
    rows = [
        {"": name, "it says": "; ".join(f"{k}: {v}" for k, v in told.items()) if isinstance(told, dict) else str(told)}
        for name, told in known.items()
    ]
    with st.expander("Where this prompt came from"):
        st.dataframe(rows, hide_index=True)


def _render_among_words(
    kept: SavedPrompt, track: TensorHistory, words: Vocabulary, rows: Sequence[int], picked: frozenset[int]
) -> None:
    """A map, norms, distances and nearest words."""
    table, key = words.table, (kept.id, kept.made, tuple(rows))
    if table.shape[1] != track.current.shape[1]:
        st.warning(f"Its vectors have {track.current.shape[1]} numbers, those of {kept.backbone} {table.shape[1]}.")
        return
    around = cached_by_signature(("cloud", kept.backbone, table.shape), lambda: compute_vocabulary_stats(table))
    info = cached_by_signature(("geometry", key), lambda: compute_geometry(track.current, table, around))
    chosen = f"numbers={list(rows)}" + (f", picked={sorted(picked)}" if picked else "")
    left, right = st.columns([3, 2], gap="medium")
    with left:
        projection_map.render_saved_prompt_projection(kept, track, words, rows, picked)
    with right:
        for what, read in (("norms", token_panels.NORMS_CAPTION), ("distances", token_panels.DISTANCES_CAPTION)):
            python = scripts.saved_prompt_script(
                kept.id, kept.backbone, rows, "nearest_words", f"draw_thumbnail_norms(found, {what!r}, {chosen})", what,
                "from ptviz.analysis.geometry import compute_vocabulary_stats, compute_geometry",
                "found = compute_geometry(tokens, words.table, compute_vocabulary_stats(words.table))",
            )  # fmt: skip
            figure_panel(drawn.draw_norms(info, what, numbers=rows, picked=picked),
                  drawn.describe_norms(info, what, numbers=rows), read, key=what, name=f"{kept.id}-{what}",
                  on_pick=update_highlight,
                  python=python)  # fmt: skip
    _render_nearest_words(kept, track, words, rows, picked)


def _render_nearest_words(
    kept: SavedPrompt, track: TensorHistory, words: Vocabulary, rows: Sequence[int], picked: frozenset[int]
) -> None:
    st.subheader("Nearest words")
    metric, count, labels = (
        nearest_words.select_metric(),
        nearest_words.NEIGHBOUR_COUNT,
        [str(number) for number in rows],
    )
    bright = [i for i, number in enumerate(rows) if number in picked]
    key = ("neighbours", kept.id, kept.made, tuple(rows), metric)
    found = cached_by_signature(key, lambda: nearest_tokens(track.current, words.table, count, metric))
    told = [words.words(ids) for ids in found.ids]
    python = scripts.saved_prompt_script(
        kept.id, kept.backbone, rows, "nearest_words",
        f"draw_neighbours(found, [words.words(ids) for ids in found.ids], {labels})", "nearest_words",
        "from ptviz.analysis.neighbours import nearest_tokens",
        f"found = nearest(tokens, words.table, {count}, {metric!r})",
        after=scripts.dim_cells_code(bright),
    )  # fmt: skip
    figure_panel(dim_cells(make_pickable(drawn.draw_neighbours(found, told, labels), rows), bright),
          drawn.describe_neighbours(found, told, labels), nearest_words.NEAREST_WORDS_CAPTION, key=f"words-{metric}",
          name=f"{kept.id}-words", tools=False, on_pick=update_highlight, python=python)  # fmt: skip
