"""The page Embeddings: a run's prompt tokens among the words of its frozen backbone, at any step."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import streamlit as st

from ptviz.analysis.prompt_tokens import PromptGeometry, VocabularyStats
from ptviz.analysis.spectrum import compute_spectrum
from ptviz.plots.prompt_tokens import prompt_geometry, vocabulary_stats
from ptviz.plots.tensor_views import TensorHistory, list_indices
from ptviz.prompt_statistics import find_outliers
from ptviz.ui.components import linked_selection
from ptviz.ui.components.glossary import meaning
from ptviz.ui.look import (
    key_values,
    look_page,
    nearest_words,
    projection_map,
    prompt_editing,
    token_panels,
    waywardness,
)
from ptviz.ui.look.look_page import SnapshotSelection
from ptviz.ui.look.token_panels import PromptView

LESSON = (
    "A [[prompt token]] is a vector like those of words, but it need not be near any word. Here are the trained "
    "tokens among all words of the [[frozen]] [[backbone]]. **Try:** drag the step from 0 to the end, and watch the "
    "[[nearest words]] change."
)


def render_embeddings(found: SnapshotSelection) -> None:
    """Show every panel of the page at the selected step."""
    tensors = look_page.load_tensor_histories(found)
    if not tensors:
        st.caption("Reading the sizes of the backbone; this takes a few seconds the first time.")
        return
    vectors = {name: own for name, own in tensors.items() if own.axes in (("m", "d"), ("k", "m", "d"))}
    inner = next((own for own in tensors.values() if own.axes == ("S", "kv", "H", "m", "h")), None)
    if inner is not None:
        key_values.render_key_values(found, inner)
        prompt_editing.render_prompt_editor(found)
        return
    if not vectors:
        st.caption("No tensor of this method lies among the word embeddings; see the page Decompositions.")
        return
    _render_tokens(found, look_page.select_tensor(vectors, "prompt"))
    prompt_editing.render_prompt_editor(found)
    waywardness.render_waywardness(found)


def _render_tokens(found: SnapshotSelection, part: TensorHistory) -> None:
    words, index = look_page.load_run_vocabulary(found.run), _select_expert(part)
    selected = part.select(index)
    if words is None:
        st.caption("The worker is fetching the words of the backbone; this takes a few seconds the first time.")
        return
    m = len(selected.current)
    outliers = np.flatnonzero(find_outliers(selected.current)).tolist()
    metrics = st.container()
    tokens, highlight = linked_selection.select_tokens(m, outliers, (found.run.id, selected.name))
    shown = selected.take("m", tokens)
    view = PromptView(
        prompt=found.run,
        file_stem=found.run.id,
        tokens=tokens,
        m=m,
        highlight=highlight,
        selection={**found.stage_and_step, "part": part.name, "index": index or None},
    )
    with metrics:
        stats = vocabulary_stats(found.run.config.backbone, words)
        _render_metrics(shown, prompt_geometry(found.run, shown), stats, m - len(tokens))
    left, right = st.columns([3, 2], gap="medium")
    with left:
        projection_map.render_projection(found, part, index, words, view)
    with right:
        token_panels.render_norms(view, "norms", token_panels.NORMS_CAPTION)
        token_panels.render_norms(view, "distances", token_panels.DISTANCES_CAPTION)
    nearest_words.render_nearest_words(view, found.positions[found.index])
    left, right = st.columns(2, gap="medium")
    with left:
        token_panels.render_cosines(view, "Cosines between the prompt tokens")
    with right:
        token_panels.render_spectrum(view)


def _select_expert(part: TensorHistory) -> Mapping[str, int]:
    """Return the index of the chosen expert's prompt where there are several."""
    leading = part.axes[:-2]
    if not leading:
        return {}
    offered = list_indices(part, leading)
    if st.session_state.get("expert", 0) not in range(len(offered)):
        st.session_state.pop("expert", None)  # of a run with more of them
    return offered[st.selectbox("expert", range(len(offered)), key="expert", bind="query-params")]


def _render_metrics(history: TensorHistory, geometry: PromptGeometry, stats: VocabularyStats, left_out: int) -> None:
    spectrum = compute_spectrum(history.current, centred=True)
    outside = int(geometry.outside_vocabulary.sum())
    with st.container(horizontal=True):
        st.metric("Prompt tokens", len(history.current), help=f"{left_out} left out" if left_out else None)
        st.metric(
            "Effective rank",
            f"{spectrum.effective_rank:.1f}",
            help=f"{meaning('effective rank')} Of at most {spectrum.max_rank}, mean token subtracted.",
        )
        st.metric(
            "Median norm", f"{np.median(geometry.norms):z.2f}", help=f"of all words: {stats.norm_quantiles[2]:z.2f}"
        )
        st.metric(
            "Outside the vocabulary",
            f"{outside} of {len(history.current)}",
            help="outside the vocabulary cloud: farther from any word than 95% of words are from their nearest other",
        )
    if spectrum.is_collapsed:
        st.warning("The prompt has collapsed: its tokens use less than a tenth of the directions they could.")
