"""A run's prompt tokens among the words of its frozen backbone, at any step."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
import streamlit as st

from ptviz.analysis.geometry import Cloud, Geometry, cloud, geometry
from ptviz.analysis.neighbours import METRICS, Metric, Neighbours, kept, nearest
from ptviz.analysis.projection import Map, project
from ptviz.analysis.spectrum import spectrum
from ptviz.figures import spectrum as spectra
from ptviz.figures import words as drawn
from ptviz.figures.matrix import draw_matrix, tell_matrix
from ptviz.runs.vocabulary import Vocabulary
from ptviz.ui import inside, scripts, surgery, wayward
from ptviz.ui.inside import Moment
from ptviz.ui.panels import panel
from ptviz.ui.remembered import remembered
from ptviz.views import Track, places, views_of

LESSON = (
    "A prompt token is a vector like those of words, but no word has to lie there. Here are the trained ones among all "
    "the words of the frozen backbone. **Try:** drag the step from 0 to the end, and watch the nearest words change."
)
_READ_MAP = (
    "How to read it: blue dots are frequent words of the frozen backbone, orange diamonds the prompt tokens at this "
    "step, thin lines the way they came. The axes are fitted once for all steps, so motion on the map is motion. "
    "A map of two axes shows only the share of the spread that the axes name: near on the map need not mean near."
)
READ_NORMS = (
    "How to read it: length of each prompt token; the blue bands hold the middle 50 % and 90 % of all words. "
    "A token far above them is unlike any word the backbone was trained on."
)
READ_DISTANCES = (
    "How to read it: how far each prompt token is from the nearest word. The blue bands say how far words are from "
    "their nearest other word; above them, the token has left the cloud of words."
)
READ_WORDS = (
    "How to read it: one row a prompt token, its nearest words from left to right. Near does not mean that the token "
    "says this word: compare the three measures, and a step before training."
)
_READ_DRIFT = (
    "How to read it: the share of each token's nearest words at step 0 that are still among its nearest. "
    "A flat line at 100 % means that training moved the vectors without giving them other words."
)
_READ_COSINES = (
    "How to read it: orange pairs of tokens point the same way. A block of orange is spare capacity: several tokens "
    "that say one thing."
)
_READ_SPECTRUM = (
    "How to read it: a line that falls steeply means that the prompt uses few directions. The effective rank counts "
    "them, after the mean token was taken away."
)


def show(found: Moment) -> None:
    """Every panel of the page at one step."""
    parts = inside.tracks(found)
    if not parts:
        st.caption("Reading the sizes of the backbone; this takes a few seconds the first time.")
        return
    vectors = {name: track for name, track in parts.items() if track.axes in (("m", "d"), ("k", "m", "d"))}
    inner = next((track for track in parts.values() if track.axes == ("S", "kv", "H", "m", "h")), None)
    if inner is not None:
        _inner(found, inner)
        surgery.show(found)
        return
    if not vectors:
        st.caption("No part of this method lies among the word embeddings. Its parts are on the page Decompositions.")
        return
    _tokens(found, inside.choose_part(vectors, "prompt"))
    surgery.show(found)
    wayward.show(found)


def _inner(found: Moment, track: Track) -> None:
    """Keys and values inside the backbone have no words beside them: their own views, by site and head."""
    st.markdown(
        "This prompt is made of keys and values inside the backbone, at every attention site. There are no words in "
        "that space to compare with, so here is what can be said: how large they are, and how alike within a head."
    )
    left, right = st.columns(2, gap="medium")
    with left:
        for view in views_of(track.axes):
            if view.whole:
                info = view.analyse(track)
                panel(view.draw(info), view.tell(info), view.read, key=view.name, name=f"{found.run.id}-{view.name}",
                      title=view.title, python=scripts.view(found.run, track, view))  # fmt: skip
    with right:
        site, what, head = _place(track)
        chosen = track.slice({"S": site, "kv": what, "H": head})
        values = geometry(chosen.now).cosines
        told = "keys" if what == 0 else "values"
        panel(
            draw_matrix(values, "prompt token", "prompt token", limit=1.0, unit="cosine"),
            tell_matrix(values, "prompt token", "prompt token"),
            _READ_COSINES,
            key="cosines",
            name=f"{found.run.id}-cosines",
            title=f"Cosines between the {told} of site {site}, head {head}",
        )


def _place(track: Track) -> tuple[int, int, int]:
    sizes = dict(zip(track.axes, track.now.shape, strict=True))
    first, second, third = st.columns(3)
    site = int(first.number_input("attention site", 0, sizes["S"] - 1, 0, key="site"))
    what = second.selectbox("of", (0, 1), key="kv", format_func=("keys", "values").__getitem__)
    head = int(third.number_input("head", 0, sizes["H"] - 1, 0, key="head"))
    return site, what, head


def _tokens(found: Moment, track: Track) -> None:
    words = inside.vocabulary_of(found.run)
    track, key = _leading(track), (found.key, track.name)
    if words is None:
        st.caption("The worker is fetching the words of the backbone; this takes a few seconds the first time.")
        return
    table = words.table
    around = remembered(("cloud", found.run.config.backbone, table.shape), lambda: cloud(table))
    info = remembered(("geometry", key, track.name, found.here), lambda: geometry(track.now, table, around))
    _warnings(track, info, around)
    left, right = st.columns([3, 2], gap="medium")
    with left:
        _map(found, track, words, (key, track.name))
    with right:
        for what, read in (("norms", READ_NORMS), ("distances", READ_DISTANCES)):
            panel(drawn.draw_norms(info, what), drawn.tell_norms(info, what), read, key=what,
                  name=f"{found.run.id}-{what}")  # fmt: skip
    _neighbours(found, track, words, (key, track.name))
    left, right = st.columns(2, gap="medium")
    with left:
        panel(
            draw_matrix(info.cosines, "prompt token", "prompt token", limit=1.0, unit="cosine"),
            tell_matrix(info.cosines, "prompt token", "prompt token"),
            _READ_COSINES,
            key="cosines",
            name=f"{found.run.id}-cosines",
            title="Cosines between the prompt tokens",
            python=scripts.part(
                found.run, track, "matrix",
                'draw_matrix(geometry(track.now).cosines, "prompt token", "prompt token", limit=1.0, unit="cosine")',
                "cosines", "from ptviz.analysis.geometry import geometry",
            ),
        )  # fmt: skip
    with right:
        pair = [(f"step {track.steps[i]}", spectrum(track.values[i], centred=True)) for i in sorted({0, track.at})]
        panel(spectra.draw_spectra(pair), spectra.tell_spectra(pair), _READ_SPECTRUM, key="spectrum",
              name=f"{found.run.id}-spectrum", title="Singular values",
              python=scripts.part(
                  found.run, track, "spectrum",
                  'draw_spectra([(f"step {track.steps[i]}", spectrum(track.values[i], centred=True))'
                  " for i in sorted({0, track.at})])",
                  "spectrum", "from ptviz.analysis.spectrum import spectrum"))  # fmt: skip


def _leading(track: Track) -> Track:
    """One expert's prompt where there are several."""
    leading = track.axes[:-2]
    if not leading:
        return track
    offered = places(track, leading)
    number = st.selectbox("expert", range(len(offered)), key="expert", bind="query-params")
    return track.slice(offered[number])


def _warnings(track: Track, info: Geometry, around: Cloud) -> None:
    told = spectrum(track.now, centred=True)
    odd = np.flatnonzero(info.outliers).tolist()
    outside = int(info.outside.sum())
    with st.container(horizontal=True):
        st.metric("Prompt tokens", len(track.now))
        st.metric("Effective rank", f"{told.effective_rank:.1f}", help=f"of at most {told.highest}, mean token removed")
        st.metric("Median norm", f"{np.median(info.norms):.2f}", help=f"of all words: {around.norms[2]:.2f}")
        st.metric(
            "Outside the words",
            f"{outside} of {len(track.now)}",
            help="tokens farther from any word than 95 % of the words are from their nearest other word",
        )
    if told.collapsed:
        st.warning("The prompt has collapsed: its tokens use less than a tenth of the directions they could.")
    if odd:
        st.warning(
            f"Token {', '.join(map(str, odd))}: norm above three times the median. Such a row may never have been "
            "used; leave it out when you compare prompts."
        )


def _map(found: Moment, track: Track, words: Vocabulary, key: Hashable) -> None:
    first, second, third = st.columns([2, 2, 3], vertical_alignment="bottom")
    shown = first.selectbox("words shown", (500, 1500, 5000), 1, key="words", bind="query-params")
    dims = second.segmented_control("axes", (2, 3), default=2, key="dims", bind="query-params") or 2
    scaled = third.checkbox("directions only (all at length 1)", key="unit", bind="query-params")
    ids = words.common[:shown]
    name = ("map", key, shown, dims, scaled, track.steps)
    laid: Map = remembered(
        name,
        lambda: project(words.table[ids].astype(np.float32), np.stack(track.values), "PCA", dims, normalise=scaled),
    )
    labels = remembered(("labels", found.run.config.backbone, shown), lambda: words.words(ids))
    panel(drawn.draw_map(laid, labels, track.at), drawn.tell_map(laid, track.at), _READ_MAP, key=f"map-{dims}",
          name=f"{found.run.id}-map")  # fmt: skip


def _neighbours(found: Moment, track: Track, words: Vocabulary, key: Hashable) -> None:
    st.subheader("Nearest words")
    metric: Metric = (
        st.segmented_control("measure", METRICS, default="cosine", key="metric", bind="query-params") or "cosine"
    )
    count = 6
    every = inside.shorter(track, 15)
    stacked = np.concatenate(every.values)
    found_all: Neighbours = remembered(
        ("neighbours", key, metric, every.steps), lambda: nearest(stacked, words.table, count, metric)
    )
    m = len(track.now)
    by_step = [
        Neighbours(metric, found_all.ids[i : i + m], found_all.scores[i : i + m]) for i in range(0, len(stacked), m)
    ]
    now = by_step[every.at]
    texts = words.words(now.ids)
    rows = [texts[i : i + now.ids.shape[1]] for i in range(0, len(texts), max(now.ids.shape[1], 1))]
    left, right = st.columns([3, 2], gap="medium")
    with left:
        panel(drawn.draw_neighbours(now, rows), drawn.tell_neighbours(now, rows), READ_WORDS, key=f"words-{metric}",
              name=f"{found.run.id}-words", tools=False)  # fmt: skip
    with right:
        shares = [float(kept(by_step[0], other).mean()) for other in by_step]
        alt = f"Neighbours kept since step {every.steps[0]}: {shares[-1]:.0%} at step {every.steps[-1]}."
        panel(drawn.draw_drift(every.steps, shares, every.at), alt, _READ_DRIFT, key="drift",
              name=f"{found.run.id}-drift")  # fmt: skip
