"""A run's prompt tokens among the words of its frozen backbone, at any step."""

from __future__ import annotations

import numpy as np
import streamlit as st

from ptviz.analysis.geometry import (
    PromptGeometry,
    VocabularyStats,
    compute_geometry,
    compute_vocabulary_stats,
)
from ptviz.analysis.spectrum import compute_spectrum
from ptviz.plots.cache import cached_by_signature
from ptviz.plots.views import TensorHistory, list_indices
from ptviz.prompt_statistics import find_outliers
from ptviz.ui.components import linked_selection
from ptviz.ui.look import (
    inspect_run,
    key_values,
    nearest_words,
    projection_map,
    prompt_editing,
    token_panels,
    waywardness,
)
from ptviz.ui.look.inspect_run import SnapshotSelection

LESSON = (
    "A prompt token is a vector like those of words, but no word has to lie there. Here are the trained ones among all "
    "the words of the frozen backbone. **Try:** drag the step from 0 to the end, and watch the nearest words change."
)


def render_embeddings(found: SnapshotSelection) -> None:
    """Every panel of the page at one step."""
    parts = inspect_run.load_tensor_histories(found)
    if not parts:
        st.caption("Reading the sizes of the backbone; this takes a few seconds the first time.")
        return
    vectors = {name: track for name, track in parts.items() if track.axes in (("m", "d"), ("k", "m", "d"))}
    inner = next((track for track in parts.values() if track.axes == ("S", "kv", "H", "m", "h")), None)
    if inner is not None:
        key_values.render_key_values(found, inner)
        prompt_editing.render_prompt_editor(found)
        return
    if not vectors:
        st.caption("No part of this method lies among the word embeddings. Its parts are on the page Decompositions.")
        return
    _render_tokens(found, inspect_run.select_tensor(vectors, "prompt"))
    prompt_editing.render_prompt_editor(found)
    waywardness.render_waywardness(found)


def _render_tokens(found: SnapshotSelection, part: TensorHistory) -> None:
    words, place = inspect_run.load_run_vocabulary(found.run), _select_expert(part)
    whole = part.select(place) if place else part
    if words is None:
        st.caption("The worker is fetching the words of the backbone; this takes a few seconds the first time.")
        return
    table, m = words.table, len(whole.current)
    odd = np.flatnonzero(find_outliers(whole.current)).tolist()
    numbers = st.container()
    rows, picked = linked_selection.select_tokens(m, odd, (found.run.id, whole.name))
    track = whole.take("m", rows)
    key = (found.cache_key, whole.name, tuple(rows))
    around = cached_by_signature(
        ("cloud", found.run.config.backbone, table.shape), lambda: compute_vocabulary_stats(table)
    )
    info = cached_by_signature(
        ("geometry", key, found.snapshot), lambda: compute_geometry(track.current, table, around)
    )
    with numbers:
        _render_metrics(track, info, around, m - len(rows))
    left, right = st.columns([3, 2], gap="medium")
    with left:
        projection_map.render_projection(found, part, place, words, rows, picked)
    with right:
        for what in ("norms", "distances"):
            token_panels.norm_panel(found.run, track, info, what, rows, picked)
    nearest_words.render_nearest_words(found.run, track, words, rows, picked, key)
    left, right = st.columns(2, gap="medium")
    with left:
        token_panels.cosine_panel(found.run, whole, rows, picked, "Cosines between the prompt tokens")
    with right:
        token_panels.spectrum_panel(found.run, track, rows)


def _select_expert(part: TensorHistory) -> dict[str, int]:
    """One expert's prompt where there are several."""
    leading = part.axes[:-2]
    if not leading:
        return {}
    offered = list_indices(part, leading)
    if st.session_state.get("expert", 0) not in range(len(offered)):
        st.session_state.pop("expert", None)  # of a run with more of them
    return offered[st.selectbox("expert", range(len(offered)), key="expert", bind="query-params")]


def _render_metrics(track: TensorHistory, info: PromptGeometry, around: VocabularyStats, without: int) -> None:
    told = compute_spectrum(track.current, centred=True)
    outside = int(info.outside_vocabulary.sum())
    with st.container(horizontal=True):
        st.metric("Prompt tokens", len(track.current), help=f"{without} left out" if without else None)
        st.metric(
            "Effective rank", f"{told.effective_rank:.1f}", help=f"of at most {told.max_rank}, mean token removed"
        )
        st.metric("Median norm", f"{np.median(info.norms):.2f}", help=f"of all words: {around.norm_quantiles[2]:.2f}")
        st.metric(
            "Outside the words",
            f"{outside} of {len(track.current)}",
            help="tokens farther from any word than 95 % of the words are from their nearest other word",
        )
    if told.is_collapsed:
        st.warning("The prompt has collapsed: its tokens use less than a tenth of the directions they could.")
