"""A run's prompt tokens among the words of its frozen backbone, at any step."""

from __future__ import annotations

import numpy as np
import streamlit as st

from ptviz.analysis.geometry import Cloud, Geometry, cloud, geometry, outliers
from ptviz.analysis.spectrum import spectrum
from ptviz.plots.views import Track, places
from ptviz.ui.cache import remembered
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
from ptviz.ui.look.inspect_run import Moment

LESSON = (
    "A prompt token is a vector like those of words, but no word has to lie there. Here are the trained ones among all "
    "the words of the frozen backbone. **Try:** drag the step from 0 to the end, and watch the nearest words change."
)


def show(found: Moment) -> None:
    """Every panel of the page at one step."""
    parts = inspect_run.tracks(found)
    if not parts:
        st.caption("Reading the sizes of the backbone; this takes a few seconds the first time.")
        return
    vectors = {name: track for name, track in parts.items() if track.axes in (("m", "d"), ("k", "m", "d"))}
    inner = next((track for track in parts.values() if track.axes == ("S", "kv", "H", "m", "h")), None)
    if inner is not None:
        key_values.show(found, inner)
        prompt_editing.show(found)
        return
    if not vectors:
        st.caption("No part of this method lies among the word embeddings. Its parts are on the page Decompositions.")
        return
    _tokens(found, inspect_run.choose_part(vectors, "prompt"))
    prompt_editing.show(found)
    waywardness.show(found)


def _tokens(found: Moment, part: Track) -> None:
    words, place = inspect_run.vocabulary_of(found.run), _place(part)
    whole = part.slice(place) if place else part
    if words is None:
        st.caption("The worker is fetching the words of the backbone; this takes a few seconds the first time.")
        return
    table, m = words.table, len(whole.now)
    odd = np.flatnonzero(outliers(whole.now)).tolist()
    numbers = st.container()
    rows, picked = linked_selection.rows(m, odd, (found.run.id, whole.name))
    track = whole.take("m", rows)
    key = (found.key, whole.name, tuple(rows))
    around = remembered(("cloud", found.run.config.backbone, table.shape), lambda: cloud(table))
    info = remembered(("geometry", key, found.here), lambda: geometry(track.now, table, around))
    with numbers:
        _numbers(track, info, around, m - len(rows))
    left, right = st.columns([3, 2], gap="medium")
    with left:
        projection_map.show(found, part, place, words, rows, picked)
    with right:
        for what in ("norms", "distances"):
            token_panels.norm_panel(found.run, track, info, what, rows, picked)
    nearest_words.show(found.run, track, words, rows, picked, key)
    left, right = st.columns(2, gap="medium")
    with left:
        token_panels.cosine_panel(found.run, whole, rows, picked, "Cosines between the prompt tokens")
    with right:
        token_panels.spectrum_panel(found.run, track, rows)


def _place(part: Track) -> dict[str, int]:
    """One expert's prompt where there are several."""
    leading = part.axes[:-2]
    if not leading:
        return {}
    offered = places(part, leading)
    if st.session_state.get("expert", 0) not in range(len(offered)):
        st.session_state.pop("expert", None)  # of a run with more of them
    return offered[st.selectbox("expert", range(len(offered)), key="expert", bind="query-params")]


def _numbers(track: Track, info: Geometry, around: Cloud, without: int) -> None:
    told = spectrum(track.now, centred=True)
    outside = int(info.outside.sum())
    with st.container(horizontal=True):
        st.metric("Prompt tokens", len(track.now), help=f"{without} left out" if without else None)
        st.metric("Effective rank", f"{told.effective_rank:.1f}", help=f"of at most {told.highest}, mean token removed")
        st.metric("Median norm", f"{np.median(info.norms):.2f}", help=f"of all words: {around.norms[2]:.2f}")
        st.metric(
            "Outside the words",
            f"{outside} of {len(track.now)}",
            help="tokens farther from any word than 95 % of the words are from their nearest other word",
        )
    if told.collapsed:
        st.warning("The prompt has collapsed: its tokens use less than a tenth of the directions they could.")
