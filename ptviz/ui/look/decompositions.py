"""The page Decompositions: the tensors of a run's method under their symbols in the paper, with views by their axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from ptviz.plots import plot_tensor_view
from ptviz.plots.run_argument import PromptOrId
from ptviz.plots.tensor_views import TensorHistory, TensorView, axis_name, views_for_axes
from ptviz.ui.components import linked_selection
from ptviz.ui.components.figure_panel import PickHandler, render_plot
from ptviz.ui.look import decomposition_probes, look_page
from ptviz.ui.look.look_page import SnapshotSelection

LESSON = (
    "Some methods write the prompt as a product of thin factors ([[low rank]]), others prune it or pass it through "
    "a small network. Every tensor of the method is here under its symbol in the paper. **Try:** watch the "
    "[[effective rank]] of a full prompt over the steps, then find the rank at which its best approximation has "
    "a relative error of 10%."
)


def render_decompositions(found: SnapshotSelection) -> None:
    """Show the tensors of a run, and the views of the selected one."""
    tensors = look_page.load_tensor_histories(found)
    if not tensors:
        st.caption("Reading the sizes of the backbone; this takes a few seconds the first time.")
        return
    decomposition_probes.render_tensor_gallery(found)
    history = look_page.select_tensor(tensors)
    sources = found.run.config.source_tasks()
    if sources and "k" in history.axes:
        st.caption("Source tasks, from 0: " + ", ".join(f"{i} {name}" for i, name in enumerate(sources)) + ".")
    highlight = _select_highlight(found, tensors)
    render_views(
        found.run,
        history,
        found.run.id,
        found.stage_and_step,
        highlight=highlight,
        on_pick=linked_selection.update_highlight,
    )
    decomposition_probes.render_row_comparison(found, history, tensors, highlight)
    decomposition_probes.render_low_rank_accuracy(found)
    decomposition_probes.render_saliency(found, tensors, highlight)
    decomposition_probes.render_embedding_shift(found, tensors)


def _select_highlight(found: SnapshotSelection, tensors: Mapping[str, TensorHistory]) -> frozenset[int]:
    """Return the prompt tokens to highlight in every panel that shows them one by one."""
    counts = [history.current.shape[history.axes.index("m")] for history in tensors.values() if "m" in history.axes]
    if not counts:
        return frozenset()
    return linked_selection.highlight_box(
        "prompt tokens to highlight", range(max(counts)), (found.run.id, next(iter(tensors)))
    )


def render_views(
    prompt: PromptOrId,
    history: TensorHistory,
    file_stem: str,
    stage_and_step: Mapping[str, int] | None = None,
    *,
    tokens: Sequence[int] | None = None,
    highlight: frozenset[int] = frozenset(),
    on_pick: PickHandler | None = None,
) -> None:
    """Show every view of a tensor of a run or saved prompt; ``file_stem`` begins the names of its files.

    ``tokens`` are the prompt tokens that ``history`` was cut down to.
    """
    views = views_for_axes(history.axes)
    sliced = [view for view in views if not view.needs_all_axes]
    options: dict[str, Any] = {
        **(stage_and_step or {}),
        "part": history.name,
        "tokens": tokens,
        "highlight": sorted(highlight),
    }

    def render_grid(shown: Sequence[TensorView], index: Mapping[str, int]) -> None:
        columns = st.columns(2, gap="medium") if len(shown) > 1 else [st.container()]
        selected = f"[{', '.join(f'{axis}={i}' for axis, i in index.items())}]" if index else ""
        for number, view in enumerate(shown):
            with columns[number % len(columns)]:
                render_plot(
                    plot_tensor_view,
                    prompt,
                    view.name,
                    **options,
                    index=index or None,
                    key=f"view-{view.name}",
                    caption=view.caption,
                    filename=f"{file_stem}-{history.name}{selected}-{view.name}",
                    title=view.title,
                    on_pick=on_pick,
                )

    render_grid([view for view in views if view.needs_all_axes], {})
    if sliced:
        render_grid(sliced, _select_leading_indices(history, sliced[0].leading_axes(history.axes)))


def _select_leading_indices(history: TensorHistory, leading: tuple[str, ...]) -> dict[str, int]:
    """Return the index of each leading axis that the reader chose."""
    if not leading:
        return {}
    sizes = dict(zip(history.axes, history.current.shape, strict=True))
    with st.container(horizontal=True):
        return {
            axis: int(st.number_input(axis_name(axis), 0, sizes[axis] - 1, 0, key=f"place-{axis}", width=160))
            for axis in leading
        }
