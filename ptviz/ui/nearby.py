"""The words nearest to each prompt token, at one step and over all of them."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import streamlit as st

from ptviz.analysis.neighbours import METRICS, Metric, Neighbours, kept, nearest, ranks
from ptviz.figures import words as drawn
from ptviz.figures.brushing import dim, pickable
from ptviz.runs.vocabulary import Vocabulary
from ptviz.ui import inside
from ptviz.ui.brushing import pick
from ptviz.ui.panels import panel
from ptviz.ui.remembered import remembered
from ptviz.views import Track

_COUNT = 6
_STEPS, _VECTORS = 12, 400
"""Most steps that are compared, and most vectors of all of them: the page answers while training goes on."""
_READ_WORDS = (
    "How to read it: one row a prompt token, its nearest words from left to right. Near does not mean that the token "
    "says this word: compare the three measures, and a step before training."
)
_READ_STEPS = (
    "How to read it: one row a prompt token, its nearest word at each step; the frame is the step looked at. A row of "
    "one word means that the vector moved without leaving it behind."
)
_READ_DRIFT = (
    "How to read it: the share of each token's nearest words at step 0 that are still among its nearest. "
    "A flat line at 100 % means that training moved the vectors without giving them other words."
)
_READ_PLACES = (
    "How to read it: one line a prompt token: which place the word that is nearest at the last step had before, among "
    "all words (1 is nearest; the axis is logarithmic). A line that climbs late found its word late."
)


def show(
    name: str, track: Track, words: Vocabulary, numbers: Sequence[int], picked: frozenset[int], key: Hashable
) -> None:
    """Nearest words of the track's tokens, called by their ``numbers``, under a measure that the reader chooses."""
    st.subheader("Nearest words")
    metric: Metric = (
        st.segmented_control("measure", METRICS, default="cosine", key="metric", bind="query-params") or "cosine"
    )
    m = len(track.now)
    every = inside.shorter(track, max(2, min(_STEPS, _VECTORS // max(m, 1))))
    key = (key, metric, every.steps)
    by_step = remembered(("neighbours", key), lambda: _by_step(every, words, metric))
    now, labels = by_step[every.at], [str(number) for number in numbers]
    bright = [i for i, number in enumerate(numbers) if number in picked]
    left, right = st.columns(2, gap="medium")
    with left:
        rows = _rows(words, now.ids)
        figure = pickable(drawn.draw_neighbours(now, rows, labels), numbers)
        panel(dim(figure, bright), drawn.tell_neighbours(now, rows), _READ_WORDS, key=f"words-{metric}",
              name=f"{name}-words", title=f"At step {every.steps[every.at]}", tools=False, on_pick=pick)  # fmt: skip
    with right:
        first = _rows(words, np.stack([step.ids[:, 0] for step in by_step], axis=1))
        scores = np.stack([step.scores[:, 0] for step in by_step], axis=1)
        figure = drawn.draw_word_steps(every.steps, first, scores, metric, labels, every.at)
        panel(dim(pickable(figure, numbers), bright), drawn.tell_word_steps(every.steps, first), _READ_STEPS,
              key=f"word-steps-{metric}", name=f"{name}-word-steps", title="The nearest one over the steps",
              tools=False, on_pick=pick)  # fmt: skip
    left, right = st.columns(2, gap="medium")
    with left:
        last = by_step[-1].ids[:, 0]
        told = words.words(last)
        places = remembered(("places", key), lambda: _places(every, words, last, metric))
        panel(drawn.draw_places(every.steps, places, told, numbers=numbers, picked=picked, at=every.at),
              drawn.tell_places(places, told), _READ_PLACES, key=f"places-{metric}", name=f"{name}-places",
              title="How each token came to its last word")  # fmt: skip
    with right:
        shares = [float(kept(by_step[0], other).mean()) for other in by_step]
        alt = f"Neighbours kept since step {every.steps[0]}: {shares[-1]:.0%} at step {every.steps[-1]}."
        panel(drawn.draw_drift(every.steps, shares, every.at), alt, _READ_DRIFT, key="drift", name=f"{name}-drift",
              title="Neighbours kept since the start")  # fmt: skip


def _by_step(track: Track, words: Vocabulary, metric: Metric) -> list[Neighbours]:
    found = nearest(np.concatenate(track.values), words.table, _COUNT, metric)
    m = len(track.now)
    return [
        Neighbours(metric, found.ids[i : i + m], found.scores[i : i + m]) for i in range(0, m * len(track.steps), m)
    ]


def _places(track: Track, words: Vocabulary, last: np.ndarray, metric: Metric) -> np.ndarray:
    """The place of each token's last nearest word at every step, (m, steps)."""
    count = len(track.steps)
    found = ranks(np.concatenate(track.values), words.table, np.tile(last, count), metric)
    return found.reshape(count, -1).T


def _rows(words: Vocabulary, ids: np.ndarray) -> list[list[str]]:
    """The words of a table of ids (rows, columns)."""
    texts = iter(words.words(ids))
    return [[next(texts) for _ in row] for row in ids]
