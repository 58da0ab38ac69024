"""The words nearest to each prompt token, at one step and over the steps."""

from __future__ import annotations

import streamlit as st

from ptviz.nearest_tokens import NEIGHBOUR_METRICS, NeighbourMetric
from ptviz.plots import plot_nearest_words, plot_nearest_words_over_steps, plot_neighbour_overlap, plot_neighbour_ranks
from ptviz.ui.components.figure_panel import render_plot
from ptviz.ui.components.linked_selection import update_highlight
from ptviz.ui.look.token_panels import PromptView

_NEAREST_WORDS_CAPTION = (
    "How to read it: one row per prompt token, its nearest words from left to right. Near does not mean that the token "
    "means this word: compare the three measures, and a step before training."
)
_STEPS_CAPTION = (
    "How to read it: one row per prompt token, its nearest word at each step; the frame is the selected step. A row of "
    "one word means that the vector moved without leaving it."
)
_OVERLAP_CAPTION = (
    "How to read it: the share of each token's nearest words at step 0 that are still among its nearest. "
    "A flat line at 100% means that training moved the vectors without giving them other words."
)
_RANKS_CAPTION = (
    "How to read it: one line per prompt token: the rank that its nearest word at the last step had before, among all "
    "words (1 is nearest; the axis is logarithmic). A line that climbs late found its word late."
)


def render_nearest_words(view: PromptView, step: int | None = None) -> None:
    """Show the nearest words under a measure that the reader chooses; without a ``step``, no figure over the steps."""
    st.header("Nearest words")
    metric: NeighbourMetric = (
        st.segmented_control("measure", NEIGHBOUR_METRICS, default="cosine", key="metric", bind="query-params")
        or "cosine"
    )
    if step is None:
        _render_words(view, metric, "")
        return
    left, right = st.columns([4, 5], gap="medium")
    with left:
        _render_words(view, metric, f"At step {step}")
    with right:
        render_plot(
            plot_nearest_words_over_steps,
            view.prompt,
            metric,
            **view.options,
            key=f"word-steps-{metric}",
            caption=_STEPS_CAPTION,
            filename=f"{view.file_stem}-word-steps",
            title="Nearest word over the steps",
            toolbar=False,
            on_pick=update_highlight,
        )
    left, right = st.columns(2, gap="medium")
    with left:
        render_plot(
            plot_neighbour_ranks,
            view.prompt,
            metric,
            **view.options,
            key=f"ranks-{metric}",
            caption=_RANKS_CAPTION,
            filename=f"{view.file_stem}-word-ranks",
            title="Rank of each token's final nearest word",
            on_pick=update_highlight,
        )
    with right:
        render_plot(
            plot_neighbour_overlap,
            view.prompt,
            metric,
            **view.unlinked_options,
            key="drift",
            caption=_OVERLAP_CAPTION,
            filename=f"{view.file_stem}-drift",
            title="Share of initial neighbours kept",
        )


def _render_words(view: PromptView, metric: NeighbourMetric, title: str) -> None:
    render_plot(
        plot_nearest_words,
        view.prompt,
        metric,
        **view.options,
        key=f"words-{metric}",
        caption=_NEAREST_WORDS_CAPTION,
        filename=f"{view.file_stem}-words",
        title=title,
        toolbar=False,
        on_pick=update_highlight,
    )
