"""The words nearest to each prompt token, at one step and over all of them."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import streamlit as st

from ptviz.analysis.neighbours import (
    NEIGHBOUR_METRICS,
    NeighbourMetric,
    nearest_tokens_over_steps,
    neighbour_overlap,
    neighbour_ranks_over_steps,
)
from ptviz.figures import nearest_words as drawn
from ptviz.figures.linked_selection import dim_cells, make_pickable
from ptviz.plots.cache import cached_by_signature
from ptviz.plots.views import TensorHistory
from ptviz.runs import Run
from ptviz.runs.embedding_table import Vocabulary
from ptviz.ui import scripts
from ptviz.ui.components.figure_panel import figure_panel
from ptviz.ui.components.linked_selection import update_highlight

NEIGHBOUR_COUNT = 5
"""Words a prompt token."""
_MAX_STEPS, _MAX_VECTORS = 8, 400
"""Most steps that are compared, and most vectors of all of them: the page answers while training goes on."""
NEAREST_WORDS_CAPTION = (
    "How to read it: one row a prompt token, its nearest words from left to right. Near does not mean that the token "
    "says this word: compare the three measures, and a step before training."
)
_STEPS_CAPTION = (
    "How to read it: one row a prompt token, its nearest word at each step; the frame is the step looked at. A row of "
    "one word means that the vector moved without leaving it behind."
)
_OVERLAP_CAPTION = (
    "How to read it: the share of each token's nearest words at step 0 that are still among its nearest. "
    "A flat line at 100 % means that training moved the vectors without giving them other words."
)
_RANKS_CAPTION = (
    "How to read it: one line a prompt token: which place the word that is nearest at the last step had before, among "
    "all words (1 is nearest; the axis is logarithmic). A line that climbs late found its word late."
)


def select_metric() -> NeighbourMetric:
    """Cosine, dot product or L2, as the reader likes; the address remembers it."""
    chosen: NeighbourMetric = (
        st.segmented_control("measure", NEIGHBOUR_METRICS, default="cosine", key="metric", bind="query-params")
        or "cosine"
    )
    return chosen


def render_nearest_words(
    run: Run, track: TensorHistory, words: Vocabulary, numbers: Sequence[int], picked: frozenset[int], key: Hashable
) -> None:
    """Nearest words of the track's tokens, called by their ``numbers``, under a measure that the reader chooses.

    ``key`` names what the vectors depend on.
    """
    st.subheader("Nearest words")
    metric = select_metric()
    every = track.shorten(max(2, min(_MAX_STEPS, _MAX_VECTORS // max(len(numbers), 1))))
    key = (key, metric, every.steps)
    by_step = cached_by_signature(
        ("neighbours", key), lambda: nearest_tokens_over_steps(every.values, words.table, NEIGHBOUR_COUNT, metric)
    )  # fmt: skip
    now, steps, at = by_step[every.current_index], every.steps, every.current_index
    labels = [str(number) for number in numbers]
    bright = [i for i, number in enumerate(numbers) if number in picked]
    chosen = f"numbers={list(numbers)}" + (f", picked={sorted(picked)}" if picked else "")
    found = (
        *scripts.VOCABULARY_CODE, "from ptviz.analysis.neighbours import nearest_tokens_over_steps",
        f"by_step = nearest_tokens_over_steps(track.values, words.table, {NEIGHBOUR_COUNT}, {metric!r})",
    )  # fmt: skip

    def script(call: str, name: str, *lines: str, after: Sequence[str] = ()) -> str:
        return scripts.tensor_script(run, every, "words", call, name, *found, *lines, rows=numbers, after=after)

    left, right = st.columns([4, 5], gap="medium")
    with left:
        rows = [words.words(ids) for ids in now.ids]
        python = script(f"draw_neighbours(by_step[track.at], rows, {labels})", "nearest_words",
                        "rows = [words.words(ids) for ids in by_step[track.at].ids]",
                        after=scripts.dim_cells_code(bright))  # fmt: skip
        figure = dim_cells(make_pickable(drawn.draw_neighbours(now, rows, labels), numbers), bright)
        figure_panel(figure, drawn.describe_neighbours(now, rows, labels), NEAREST_WORDS_CAPTION, key=f"words-{metric}",
              name=f"{run.id}-words", title=f"At step {steps[at]}", tools=False, on_pick=update_highlight,
              python=python)  # fmt: skip
    with right:
        told = [list(row) for row in zip(*(words.words(step.ids[:, 0]) for step in by_step), strict=True)]
        scores = np.stack([step.scores[:, 0] for step in by_step], axis=1)
        python = script(f"draw_nearest_words_over_steps(track.steps, told, scores, {metric!r}, {labels}, track.at)", "word-steps",
                        "import numpy as np",
                        "told = list(zip(*(words.words(step.ids[:, 0]) for step in by_step)))",
                        "scores = np.stack([step.scores[:, 0] for step in by_step], axis=1)",
                        after=scripts.dim_cells_code(bright))  # fmt: skip
        figure = drawn.draw_nearest_words_over_steps(steps, told, scores, metric, labels, at)
        figure_panel(dim_cells(make_pickable(figure, numbers), bright),
        drawn.describe_nearest_words_over_steps(steps, told, labels), _STEPS_CAPTION,
              key=f"word-steps-{metric}", name=f"{run.id}-word-steps", title="The nearest one over the steps",
              tools=False, on_pick=update_highlight, python=python)  # fmt: skip
    left, right = st.columns(2, gap="medium")
    with left:
        last = by_step[-1].ids[:, 0]
        names = words.words(last)
        places = cached_by_signature(
            ("places", key), lambda: neighbour_ranks_over_steps(every.values, words.table, last, metric)
        )  # fmt: skip
        python = script(f"draw_neighbour_ranks(track.steps, places, words.words(last), {chosen}, at=track.at)",
        "places",
                        "from ptviz.analysis.neighbours import neighbour_ranks_over_steps",
                        "last = by_step[-1].ids[:, 0]",
                        f"places = neighbour_ranks_over_steps(track.values, words.table, last, {metric!r})")  # fmt: skip
        figure_panel(drawn.draw_neighbour_ranks(steps, places, names, numbers=numbers, picked=picked, at=at),
              drawn.describe_neighbour_ranks(places, names, numbers=numbers), _RANKS_CAPTION, key=f"places-{metric}",
              name=f"{run.id}-places", title="How each token came to its last word", on_pick=update_highlight,
              python=python)  # fmt: skip
    with right:
        shares = [float(neighbour_overlap(by_step[0], other).mean()) for other in by_step]
        alt = f"Neighbours kept since step {steps[0]}: {shares[-1]:.0%} at step {steps[-1]}."
        python = script("draw_neighbour_overlap(track.steps, shares, track.at)", "drift",
                        "from ptviz.analysis.neighbours import neighbour_overlap",
                        "shares = [float(kept(by_step[0], other).mean()) for other in by_step]")  # fmt: skip
        figure_panel(drawn.draw_neighbour_overlap(steps, shares, at), alt, _OVERLAP_CAPTION, key="drift",
        name=f"{run.id}-drift",
              title="Neighbours kept since the start", python=python)  # fmt: skip
