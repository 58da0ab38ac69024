"""The parts of a run's method under the paper's letters, each with the views that its axes allow."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import streamlit as st

from ptviz.figures.linked_selection import dim_bars, dim_cells, make_pickable
from ptviz.plots.views import LabelledMatrix, TensorHistory, TensorView, axis_name, views_for_axes
from ptviz.runs import Run
from ptviz.ui import scripts
from ptviz.ui.cache import cached_by_signature
from ptviz.ui.components import linked_selection
from ptviz.ui.components.figure_panel import figure_panel
from ptviz.ui.look import decomposition_probes, inspect_run
from ptviz.ui.look.inspect_run import SnapshotSelection

LESSON = (
    "Some methods write the prompt as a product of thin factors, others prune it or pass it through a small network. "
    "Every part of the method is here under the letter of its paper. **Try:** the effective rank of a full prompt over "
    "the steps, and then the rank at which its best approximation misses a tenth."
)
_MAX_MULTIPLICATIONS = 6e8
"""Multiplications that the spectra of one figure over the steps may take: about half a second."""


def render_decompositions(found: SnapshotSelection) -> None:
    """The parts, and the views of the one chosen."""
    parts = inspect_run.load_tensor_histories(found)
    if not parts:
        st.caption("Reading the sizes of the backbone; this takes a few seconds the first time.")
        return
    decomposition_probes.tensor_gallery(found, parts)
    track = inspect_run.select_tensor(parts)
    sources = found.run.config.source_tasks()
    if sources and "k" in track.axes:
        st.caption("Source tasks, from 0: " + ", ".join(f"{i} {name}" for i, name in enumerate(sources)) + ".")
    picked = _select_highlight(found, parts)
    render_views(track, found.cache_key, found.run.id, found.run, picked)
    decomposition_probes.row_comparison_panel(found, track, parts, picked)
    decomposition_probes.low_rank_panel(found)
    decomposition_probes.saliency_panel(found, parts, picked)
    decomposition_probes.embedding_shift_panel(found, parts)


def _select_highlight(found: SnapshotSelection, parts: dict[str, TensorHistory]) -> frozenset[int]:
    """The prompt tokens that stand out in every panel that shows them one by one."""
    counts = [track.current.shape[track.axes.index("m")] for track in parts.values() if "m" in track.axes]
    if not counts:
        return frozenset()
    return linked_selection.highlight_box(
        "prompt tokens to highlight", range(max(counts)), (found.run.id, next(iter(parts)))
    )


def render_views(
    track: TensorHistory, key: Hashable, name: str, run: Run | None = None, picked: frozenset[int] = frozenset()
) -> None:
    """Every view of a part; ``key`` names what its values depend on, ``name`` begins those of its files.

    ``run`` is where a script finds the part again; ``picked`` prompt tokens stand out.
    """
    whole = [view for view in views_for_axes(track.axes) if view.needs_all_axes]
    sliced = [view for view in views_for_axes(track.axes) if not view.needs_all_axes]
    _render_view_grid(track, whole, key, name, run, picked)
    if not sliced:
        return
    leading = sliced[0].leading_axes(track.axes)
    _render_view_grid(track.select(_select_leading_indices(track, leading)), sliced, key, name, run, picked)


def _select_leading_indices(track: TensorHistory, leading: tuple[str, ...]) -> dict[str, int]:
    """One place of each leading axis."""
    if not leading:
        return {}
    sizes = dict(zip(track.axes, track.current.shape, strict=True))
    with st.container(horizontal=True):
        return {
            axis: int(st.number_input(axis_name(axis), 0, sizes[axis] - 1, 0, key=f"place-{axis}", width=160))
            for axis in leading
        }


def _render_view_grid(
    track: TensorHistory, offered: list[TensorView], key: Hashable, name: str, run: Run | None, picked: frozenset[int]
) -> None:
    columns = st.columns(2, gap="medium") if len(offered) > 1 else [st.container()]
    for index, view in enumerate(offered):
        with columns[index % len(columns)]:
            _render_view(track, view, key, name, run, picked)


def _render_view(
    track: TensorHistory, view: TensorView, key: Hashable, name: str, run: Run | None, picked: frozenset[int]
) -> None:
    rows = track.current.size // max(track.current.shape[-1], 1)
    work = track.current.size * min(rows, track.current.shape[-1] or 1)
    shown = inspect_run.shorten_history(
        track, int(max(2, min(inspect_run.MAX_STEPS, _MAX_MULTIPLICATIONS // max(work, 1))))
    )
    own = ("view", key, track.name, view.name, shown.current_index, shown.steps, picked)
    figure, alt, after, brushed = cached_by_signature(own, lambda: _draw_view(shown, view, picked))
    python = "" if run is None else scripts.view_script(run, shown, view, after=after)
    figure_panel(figure, alt, view.caption, key=f"view-{view.name}", name=f"{name}-{track.name}-{view.name}",
          title=view.title, on_pick=linked_selection.update_highlight if brushed and run is not None else None,
          python=python)  # fmt: skip


def _draw_view(track: TensorHistory, view: TensorView, picked: frozenset[int]) -> tuple[Any, str, list[str], bool]:
    """The figure, its words, the lines of a script that dim what is not picked, and whether it shows prompt tokens."""
    info = view.analyse(track)
    figure, token = view.draw(info), axis_name("m")
    if isinstance(info, LabelledMatrix):
        rows, columns = (picked if axis == token else frozenset() for axis in (info.rows, info.columns))
        brushed = token in (info.rows, info.columns)
        if brushed:
            down = info.rows == token
            make_pickable(figure, range(info.values.shape[0 if down else 1]), columns=not down)
        after = scripts.dim_cells_code(rows, columns)
        dim_cells(figure, rows, columns)
    else:
        brushed = track.axes == ("m",)
        after = scripts.dim_code("dim_bars", picked) if brushed else []
        if brushed:
            dim_bars(make_pickable(figure, range(len(track.current))), picked)
    return figure, f"{track.name}. {view.describe(info)}", after, brushed
