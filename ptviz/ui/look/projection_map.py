"""The projection on the page Embeddings: PCA at once, UMAP and t-SNE from the worker, of one prompt or several."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import streamlit as st
from jaxtyping import Int

from ptviz.analysis.projection import PROJECTION_METHODS, Projection, ProjectionMethod
from ptviz.plots import plot_embeddings
from ptviz.plots.cache import cached_by_signature
from ptviz.plots.projection import (
    MAX_COMPARED,
    MAX_SNAPSHOTS,
    PCA_WORDS,
    SIBLING_PREFIX,
    ColourBy,
    ComparedPrompt,
    find_words,
    load_compared_prompts,
    run_name,
    select_words,
    sibling_name,
)
from ptviz.plots.run_argument import backbone_of
from ptviz.plots.run_tensors import load_words
from ptviz.plots.tensor_views import TensorHistory, list_indices
from ptviz.runs import ACTIVE_STATES
from ptviz.runs.embedding_table import Vocabulary
from ptviz.runs.saved_prompts import SAVED_PREFIX, list_saved_prompts
from ptviz.ui.backend import get_store
from ptviz.ui.components.figure_panel import render_plot
from ptviz.ui.components.formatting import unique_labels
from ptviz.ui.components.linked_selection import update_highlight
from ptviz.ui.look.look_page import SnapshotSelection
from ptviz.ui.look.projection_progress import projection_with_progress
from ptviz.ui.look.token_panels import PromptView
from ptviz.ui.recorded_runs import list_targets, run_title
from ptviz.worker.projection_process import ProjectionJob

_ALL_WORDS = "all"
_CAPTION = (
    "How to read it: small dots are words of the frozen backbone, each colour a prompt at this step, thin lines the "
    "paths of its tokens. A token has its number and the nearest of these words (cosine). "
)
_FRAME_HELP = (
    "all: the axes hold words and prompts. Prompt tokens often have far larger norms than words, which then "
    "share one spot; words: the axes hold the words only, and tokens outside are not in view"
)
_FREQUENCY_HELP = "rank in the backbone's vocabulary: 1 is the most frequent word"
_DIRECTIONS_HELP = (
    "Every vector is scaled to unit norm, so that only its direction counts, as for the cosine. Without this, tokens "
    "with a larger norm than words lie far from them, whatever their direction."
)
_METHOD_CAPTIONS: Mapping[ProjectionMethod, str] = {
    "PCA": f"The axes are fitted once for all steps, on the {PCA_WORDS:,} most frequent words and the prompts, so "
    "motion is comparable. They explain only the share of the variance in their titles: near points need not be near "
    "in the embedding space.",
    "UMAP": "Fitted once on these words and the last step, by direction (cosine); every step was then placed into it, "
    "so motion is comparable. Near points are near; distances between far groups mean nothing. Only frequent words.",
    "t-SNE": "t-SNE cannot place new points, so these words and all steps drawn were fitted together, by direction "
    "(cosine): paths are comparable with each other. Sizes of groups and gaps between them mean nothing.",
}


def render_projection(
    found: SnapshotSelection, part: TensorHistory, index: Mapping[str, int], words: Vocabulary, view: PromptView
) -> None:
    """Show the projection of a run's tensor at one ``index`` of its leading axes, with other prompts."""
    directions = False
    with st.container(horizontal=True, vertical_alignment="bottom"):  # which wraps where there is little room
        kind: ProjectionMethod = (
            st.segmented_control("projection", PROJECTION_METHODS, default="PCA", key="map", bind="query-params")
            or "PCA"
        )
        dims = st.segmented_control("axes", (2, 3), default=2, key="dims", bind="query-params") or 2
        count = _select_word_count(kind)
        if kind == "PCA":
            directions = _directions_checkbox()
    others = _select_other_prompts(found, part, index)
    compared, missing = load_compared_prompts(
        found.run, others, **found.stage_and_step, part=part.name, index=index, max_steps=MAX_SNAPSHOTS[kind]
    )
    for name in missing:
        st.text(f"{name} has no vectors among the words, or no snapshot yet: it is not shown.")
    projection = None
    if kind != "PCA":
        ids = select_words(words, count)
        about = part.name, tuple(index.items())
        projection = _projection_from_worker(found, kind, dims, words, ids, compared, about)
        if projection is None:
            return
    colour_by: ColourBy = "run"
    if len(compared) > 1:
        options: tuple[ColourBy, ...] = ("run", "method", "task")
        colour_by = st.segmented_control("colours by", options, default="run", key="colours") or "run"
    render_plot(
        plot_embeddings,
        view.prompt,
        **view.options,
        **_select_view(words, count),
        kind=kind,
        dims=dims,
        words=count,
        directions=directions,
        others=others,
        colour_by=colour_by,
        projection=projection,
        key=f"map-{kind}-{dims}",
        caption=_CAPTION + _METHOD_CAPTIONS[kind],
        filename=f"{view.file_stem}-map",
        on_pick=update_highlight,
    )


def render_saved_prompt_projection(view: PromptView) -> None:
    """Show a saved prompt, which has no steps, among the words (PCA)."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        dims = st.segmented_control("axes", (2, 3), default=2, key="dims", bind="query-params") or 2
        count = _select_word_count("PCA")
        directions = _directions_checkbox()
    render_plot(
        plot_embeddings,
        view.prompt,
        **view.options,
        **_select_view(load_words(backbone_of(view.prompt)), count),
        dims=dims,
        words=count,
        directions=directions,
        key=f"map-{dims}",
        caption=_CAPTION + _METHOD_CAPTIONS["PCA"],
        filename=f"{view.file_stem}-map",
        on_pick=update_highlight,
    )


def _select_view(words: Vocabulary, count: int | None) -> dict[str, Any]:
    """Return what the axes hold, the word to ring, and whether words are coloured by frequency; only what is not usual.

    A word that is not among those drawn is said so.
    """
    chosen: dict[str, Any] = {}
    with st.container(horizontal=True, vertical_alignment="bottom"):
        frame = st.segmented_control(
            "frame", ("all", "words"), default="all", key="frame", bind="query-params", help=_FRAME_HELP
        )
        find = st.text_input("find a word", key="find", bind="query-params", max_chars=60, width=160).strip()
        if st.checkbox("colour by frequency", key="frequency", bind="query-params", help=_FREQUENCY_HELP):
            chosen["by_frequency"] = True
    if frame == "words":
        chosen["frame"] = frame
    if find:
        chosen["find"] = find
        if not find_words(words.words(select_words(words, count)), find):
            st.text(f"{find} is not among the words drawn. Draw more words, or a part: long words are several tokens.")
    return chosen


def _directions_checkbox() -> bool:
    return st.checkbox("directions only", key="unit", bind="query-params", help=_DIRECTIONS_HELP)


def _select_word_count(kind: ProjectionMethod) -> int | None:
    """Return how many of the most frequent words are drawn, None for all."""
    counts: tuple[int | str, ...] = (500, 1500, 5000, _ALL_WORDS) if kind == "PCA" else (1000, 3000, 5000)
    key = "words" if kind == "PCA" else "fitted"
    shown = st.selectbox("words", counts, 1, key=key, bind="query-params", width=110)
    return shown if isinstance(shown, int) else None


def _select_other_prompts(found: SnapshotSelection, part: TensorHistory, index: Mapping[str, int]) -> list[str]:
    """Return the chosen experts of this run, other runs and saved prompts of the same backbone."""
    backbone = found.run.config.backbone
    siblings = enumerate(list_indices(part, tuple(index)) if index else [])
    names = {
        **{f"{SIBLING_PREFIX}{i}": sibling_name(other) for i, other in siblings if other != dict(index)},
        **{
            summary.id: run_title(summary) if summary.recorded else run_name(summary.id, summary.config)
            for summary in list_targets()
            if summary.config.backbone == backbone and summary.id != found.run.id
        },
        **{
            SAVED_PREFIX + saved.id: f"saved: {saved.title}"
            for saved in list_saved_prompts(get_store().prompts_folder)
            if saved.backbone == backbone and "embeddings" in saved.shapes
        },
    }
    if not names:
        return []
    names = unique_labels(names)
    st.session_state["beside"] = [id for id in st.session_state.get("beside", []) if id in names]
    return st.multiselect(
        "other prompts to show",
        list(names),
        key="beside",
        format_func=names.__getitem__,
        placeholder="none; choose runs or saved prompts",
        max_selections=MAX_COMPARED,
    )


def _projection_from_worker(
    found: SnapshotSelection,
    kind: ProjectionMethod,
    dims: int,
    words: Vocabulary,
    ids: Int[np.ndarray, " n"],
    compared: list[ComparedPrompt],
    about: Hashable,
) -> tuple[Projection, ...] | None:
    """Return the projection from the disk or the worker; None while it is computed.

    A projection stays while newer steps of an active run come.
    """
    active = found.run.status().state in ACTIVE_STATES
    made: dict[Hashable, tuple[ProjectionJob, list[ComparedPrompt]]] = st.session_state.setdefault("maps-made", {})
    name = (found.run.id, about, kind, dims, len(ids), tuple(prompt.name for prompt in compared))
    if name not in made or not active or _needs_new_job(made[name][1], compared):
        key = ("projection job", kind, dims, len(ids), tuple(prompt.cache_key for prompt in compared))

        def make_job() -> ProjectionJob:
            return ProjectionJob(words.table[ids], tuple(prompt.tokens for prompt in compared), kind, dims)

        made.pop(name, None)
        made[name] = cached_by_signature(key, make_job), compared
        for old in [*made][:-8]:
            del made[old]
    return projection_with_progress(found, made[name][0])


def _needs_new_job(before: Sequence[ComparedPrompt], now: Sequence[ComparedPrompt]) -> bool:
    """Return whether the newest steps are to be projected: for an active run only when the reader asks for it."""
    last, newest = before[0].steps[-1], now[0].steps[-1]
    if len(before[0].tokens[0]) != len(now[0].tokens[0]):
        return True
    if newest == last:
        return False
    st.caption(f"This projection ends at step {last}; the run is at step {newest}.")
    return st.button("Update it", icon=":material/refresh:", key="map-again")
