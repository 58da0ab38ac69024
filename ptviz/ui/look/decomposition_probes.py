"""Panels of the page Decompositions on several tensors: a gallery, two compared, and measurements by the worker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from ptviz.analysis.tensor_comparison import compare_rows
from ptviz.plots import (
    plot_embedding_shift,
    plot_low_rank_accuracy,
    plot_most_shifted_words,
    plot_recorded_saliency,
    plot_row_comparison,
    plot_saliency,
    plot_signed_saliency,
    plot_tensor_gallery,
)
from ptviz.plots.run_argument import right_answers_noun
from ptviz.plots.tensor_views import TensorHistory, axis_name
from ptviz.plots.tensors import recorded_scores
from ptviz.ui.components.figure_panel import render_plot
from ptviz.ui.components.linked_selection import update_highlight
from ptviz.ui.look.look_page import SnapshotSelection
from ptviz.ui.look.on_demand import probe_on_demand

_GALLERY_CAPTION = (
    "How to read it: each tensor under its symbol in the paper, orange above zero and blue below it, on a scale of its "
    "own; rows of experts or sources are stacked. Tensors that multiply are next to their product."
)
_ROW_COMPARISON_CAPTION = (
    "How to read it: two bars per row, the norms of its vector in both tensors, and the cosine between them: 1 is the "
    "same direction. Equal bars at cosine 1 mean that this row hardly changed."
)
_LOW_RANK_CAPTION = (
    "How to read it: the orange line is the measured {right} with the prompt's best approximation of each rank, the "
    "blue one the share of the prompt that this misses. If orange stays high while blue is high, few directions matter."
)
_SALIENCY_CAPTION = (
    "How to read it: one row per prompt token, one column per {pieces}: how much the loss would change, to first "
    "order, if that piece were masked. Grey pieces are pruned."
)
_SIGNED_CAPTION = (
    "How to read it: one bar per prompt token, signed: orange, masking it would lower the loss (first order), so it "
    "is harmful; blue, the loss would rise. First-order scores are meaningful at a trained prompt."
)
_SHIFT_CAPTION = (
    "How to read it: how far the method moves each word's vector before the frozen backbone reads it. Hover to see the "
    "nearest word after the move."
)


def render_tensor_gallery(found: SnapshotSelection) -> None:
    """Show all tensors in one figure."""
    render_plot(
        plot_tensor_gallery,
        found.run,
        **found.stage_and_step,
        key="gallery",
        caption=_GALLERY_CAPTION,
        filename=f"{found.run.id}-tensors",
        title="All tensors at this step",
        toolbar=False,
    )


def render_row_comparison(
    found: SnapshotSelection, history: TensorHistory, tensors: Mapping[str, TensorHistory], highlight: frozenset[int]
) -> None:
    """Compare the selected tensor with another one of its axes and shape, row by row."""
    comparable = [
        name
        for name, other in tensors.items()
        if name != history.name and other.current.shape == history.current.shape and other.axes == history.axes
    ]
    if not comparable or len(history.axes) != 2:
        return
    st.markdown(f"**{history.name} compared with another tensor**")
    other = st.selectbox("compare with", comparable, key=f"beside-{history.name}-{'-'.join(comparable)}", width=240)
    share = compare_rows(tensors[other].current, history.current).total_difference_share
    st.metric(
        f"Added to {other}",
        f"{share:.1%}",
        help=f"the energy of {history.name} - {other}, as a share of its own and {other}'s: 50% is as much as {other} "
        "itself",
    )
    render_plot(
        plot_row_comparison,
        found.run,
        other,
        history.name,
        **found.stage_and_step,
        highlight=sorted(highlight),
        key="beside",
        caption=_ROW_COMPARISON_CAPTION,
        filename=f"{found.run.id}-{history.name}-and-{other}",
        on_pick=update_highlight,
    )


def render_low_rank_accuracy(found: SnapshotSelection) -> None:
    """Show the right answers of the prompt at each lower rank, once it is asked for."""
    st.markdown("**How good would a prompt of lower rank be?**")
    right = right_answers_noun(found.run)
    description = f"The best approximation of every rank in place of the prompt: {right} and loss on validation texts."
    answer = probe_on_demand(found, "ranks", "Measure ranks", description)
    if answer is not None:
        render_plot(
            plot_low_rank_accuracy,
            found.run,
            **found.stage_and_step,
            answer=answer,
            key="ranks",
            caption=_LOW_RANK_CAPTION.format(right=right),
            filename=f"{found.run.id}-ranks",
        )


def render_saliency(found: SnapshotSelection, tensors: Mapping[str, TensorHistory], highlight: frozenset[int]) -> None:
    """Show the first-order scores of tokens and pieces at this step, and those recorded when the method pruned."""
    st.markdown("**Which tokens and pieces matter?**")
    description = "The first-order score of every prompt token and of its pieces, at this step."
    options: dict[str, Any] = {**found.stage_and_step, "highlight": sorted(highlight), "on_pick": update_highlight}
    used = next(iter(tensors.values()))
    pieces = axis_name("S") if "S" in used.axes else "piece"
    left, right = st.columns(2, gap="medium")
    with left:
        answer = probe_on_demand(found, "saliency", "Measure saliency", description)
        if answer is not None:
            render_plot(
                plot_saliency,
                found.run,
                **options,
                answer=answer,
                key="saliency",
                caption=_SALIENCY_CAPTION.format(pieces=pieces),
                filename=f"{found.run.id}-saliency",
                title="Measured at this step",
            )
    with right:
        for name in recorded_scores(tensors):
            render_plot(
                plot_recorded_saliency,
                found.run,
                name,
                **options,
                key=f"recorded-{name}",
                caption=_SALIENCY_CAPTION.format(pieces="piece"),
                filename=f"{found.run.id}-{name}-recorded",
                title=f"{name}: recorded when it was pruned",
            )
        if answer is not None:
            render_plot(
                plot_signed_saliency,
                found.run,
                **options,
                answer=answer,
                key="signed",
                caption=_SIGNED_CAPTION,
                filename=f"{found.run.id}-signed",
                title="Harmful tokens",
            )


def render_embedding_shift(found: SnapshotSelection, tensors: Mapping[str, TensorHistory]) -> None:
    """Show which words move most, for methods that shift the words by their position."""
    if not any(history.axes == ("T", "d") for history in tensors.values()):
        return
    st.markdown("**Which words move most?**")
    text = st.text_input(
        "a sentence of your own", key="shift-text", max_chars=2000, placeholder="empty: the first validation text"
    ).strip()
    description = "The shift of every word of a text, and the words of the validation texts that move most."
    answer = probe_on_demand(found, "shift", "Measure the shift", description, text=text)
    if answer is None:
        return
    st.text(answer["text"])
    left, right = st.columns(2, gap="medium")
    with left:
        render_plot(
            plot_embedding_shift,
            found.run,
            **found.stage_and_step,
            text=text,
            answer=answer,
            key="moved",
            caption=_SHIFT_CAPTION,
            filename=f"{found.run.id}-moved",
            title="This text, word by word",
            toolbar=False,
        )
    with right:
        render_plot(
            plot_most_shifted_words,
            found.run,
            **found.stage_and_step,
            answer=answer,
            key="most",
            caption=_SHIFT_CAPTION,
            filename=f"{found.run.id}-most",
            title=f"Moved most in {answer['rows']} validation texts",
            toolbar=False,
        )
