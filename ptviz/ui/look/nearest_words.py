"""The words nearest to each prompt token, at one step and over all of them."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import streamlit as st

from ptviz.analysis.neighbours import METRICS, Metric, kept, nearest_over_steps, ranks_over_steps
from ptviz.figures import nearest_words as drawn
from ptviz.figures.linked_selection import dim, pickable
from ptviz.plots.views import Track
from ptviz.runs import Run
from ptviz.runs.embedding_table import Vocabulary
from ptviz.ui import scripts
from ptviz.ui.cache import remembered
from ptviz.ui.components.figure_panel import panel
from ptviz.ui.components.linked_selection import pick
from ptviz.ui.look import inspect_run

COUNT = 5
"""Words a prompt token."""
_STEPS, _VECTORS = 8, 400
"""Most steps that are compared, and most vectors of all of them: the page answers while training goes on."""
READ_WORDS = (
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


def choose_measure() -> Metric:
    """Cosine, dot product or L2, as the reader likes; the address remembers it."""
    chosen: Metric = (
        st.segmented_control("measure", METRICS, default="cosine", key="metric", bind="query-params") or "cosine"
    )
    return chosen


def show(
    run: Run, track: Track, words: Vocabulary, numbers: Sequence[int], picked: frozenset[int], key: Hashable
) -> None:
    """Nearest words of the track's tokens, called by their ``numbers``, under a measure that the reader chooses.

    ``key`` names what the vectors depend on.
    """
    st.subheader("Nearest words")
    metric = choose_measure()
    every = inspect_run.shorter(track, max(2, min(_STEPS, _VECTORS // max(len(numbers), 1))))
    key = (key, metric, every.steps)
    by_step = remembered(
        ("neighbours", key), lambda: nearest_over_steps(every.values, words.table, COUNT, metric)
    )  # fmt: skip
    now, steps, at = by_step[every.at], every.steps, every.at
    labels = [str(number) for number in numbers]
    bright = [i for i, number in enumerate(numbers) if number in picked]
    chosen = f"numbers={list(numbers)}" + (f", picked={sorted(picked)}" if picked else "")
    found = (
        *scripts.WORDS, "from ptviz.analysis.neighbours import nearest_over_steps",
        f"by_step = nearest_over_steps(track.values, words.table, {COUNT}, {metric!r})",
    )  # fmt: skip

    def script(call: str, name: str, *lines: str, after: Sequence[str] = ()) -> str:
        return scripts.part(run, every, "words", call, name, *found, *lines, rows=numbers, after=after)

    left, right = st.columns([4, 5], gap="medium")
    with left:
        rows = [words.words(ids) for ids in now.ids]
        python = script(f"draw_neighbours(by_step[track.at], rows, {labels})", "words",
                        "rows = [words.words(ids) for ids in by_step[track.at].ids]",
                        after=scripts.dimmed(bright))  # fmt: skip
        figure = dim(pickable(drawn.draw_neighbours(now, rows, labels), numbers), bright)
        panel(figure, drawn.tell_neighbours(now, rows, labels), READ_WORDS, key=f"words-{metric}",
              name=f"{run.id}-words", title=f"At step {steps[at]}", tools=False, on_pick=pick,
              python=python)  # fmt: skip
    with right:
        told = [list(row) for row in zip(*(words.words(step.ids[:, 0]) for step in by_step), strict=True)]
        scores = np.stack([step.scores[:, 0] for step in by_step], axis=1)
        python = script(f"draw_word_steps(track.steps, told, scores, {metric!r}, {labels}, track.at)", "word-steps",
                        "import numpy as np",
                        "told = list(zip(*(words.words(step.ids[:, 0]) for step in by_step)))",
                        "scores = np.stack([step.scores[:, 0] for step in by_step], axis=1)",
                        after=scripts.dimmed(bright))  # fmt: skip
        figure = drawn.draw_word_steps(steps, told, scores, metric, labels, at)
        panel(dim(pickable(figure, numbers), bright), drawn.tell_word_steps(steps, told, labels), _READ_STEPS,
              key=f"word-steps-{metric}", name=f"{run.id}-word-steps", title="The nearest one over the steps",
              tools=False, on_pick=pick, python=python)  # fmt: skip
    left, right = st.columns(2, gap="medium")
    with left:
        last = by_step[-1].ids[:, 0]
        names = words.words(last)
        places = remembered(
            ("places", key), lambda: ranks_over_steps(every.values, words.table, last, metric)
        )  # fmt: skip
        python = script(f"draw_places(track.steps, places, words.words(last), {chosen}, at=track.at)", "places",
                        "from ptviz.analysis.neighbours import ranks_over_steps", "last = by_step[-1].ids[:, 0]",
                        f"places = ranks_over_steps(track.values, words.table, last, {metric!r})")  # fmt: skip
        panel(drawn.draw_places(steps, places, names, numbers=numbers, picked=picked, at=at),
              drawn.tell_places(places, names, numbers=numbers), _READ_PLACES, key=f"places-{metric}",
              name=f"{run.id}-places", title="How each token came to its last word", on_pick=pick,
              python=python)  # fmt: skip
    with right:
        shares = [float(kept(by_step[0], other).mean()) for other in by_step]
        alt = f"Neighbours kept since step {steps[0]}: {shares[-1]:.0%} at step {steps[-1]}."
        python = script("draw_drift(track.steps, shares, track.at)", "drift",
                        "from ptviz.analysis.neighbours import kept",
                        "shares = [float(kept(by_step[0], other).mean()) for other in by_step]")  # fmt: skip
        panel(drawn.draw_drift(steps, shares, at), alt, _READ_DRIFT, key="drift", name=f"{run.id}-drift",
              title="Neighbours kept since the start", python=python)  # fmt: skip
