"""The parts of a run's method under the paper's letters, each with the views that its axes allow."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import streamlit as st

from ptviz.figures.linked_selection import dim, dim_bars, pickable
from ptviz.plots.views import Cells, Track, View, called, views_of
from ptviz.runs import Run
from ptviz.ui import scripts
from ptviz.ui.cache import remembered
from ptviz.ui.components import linked_selection
from ptviz.ui.components.figure_panel import panel
from ptviz.ui.look import decomposition_probes, inspect_run
from ptviz.ui.look.inspect_run import Moment

LESSON = (
    "Some methods write the prompt as a product of thin factors, others prune it or pass it through a small network. "
    "Every part of the method is here under the letter of its paper. **Try:** the effective rank of a full prompt over "
    "the steps, and then the rank at which its best approximation misses a tenth."
)
_COST = 6e8
"""Multiplications that the spectra of one figure over the steps may take: about half a second."""


def show(found: Moment) -> None:
    """The parts, and the views of the one chosen."""
    parts = inspect_run.tracks(found)
    if not parts:
        st.caption("Reading the sizes of the backbone; this takes a few seconds the first time.")
        return
    decomposition_probes.glance(found, parts)
    track = inspect_run.choose_part(parts)
    sources = found.run.config.source_tasks()
    if sources and "k" in track.axes:
        st.caption("Source tasks, from 0: " + ", ".join(f"{i} {name}" for i, name in enumerate(sources)) + ".")
    picked = _brush(found, parts)
    views(track, found.key, found.run.id, found.run, picked)
    decomposition_probes.compared(found, track, parts, picked)
    decomposition_probes.thinned(found)
    decomposition_probes.salient(found, parts, picked)
    decomposition_probes.shifted(found, parts)


def _brush(found: Moment, parts: dict[str, Track]) -> frozenset[int]:
    """The prompt tokens that stand out in every panel that shows them one by one."""
    counts = [track.now.shape[track.axes.index("m")] for track in parts.values() if "m" in track.axes]
    if not counts:
        return frozenset()
    return linked_selection.box("prompt tokens to highlight", range(max(counts)), (found.run.id, next(iter(parts))))


def views(track: Track, key: Hashable, name: str, run: Run | None = None, picked: frozenset[int] = frozenset()) -> None:
    """Every view of a part; ``key`` names what its values depend on, ``name`` begins those of its files.

    ``run`` is where a script finds the part again; ``picked`` prompt tokens stand out.
    """
    whole = [view for view in views_of(track.axes) if view.whole]
    sliced = [view for view in views_of(track.axes) if not view.whole]
    _grid(track, whole, key, name, run, picked)
    if not sliced:
        return
    leading = sliced[0].leading(track.axes)
    _grid(track.slice(_place(track, leading)), sliced, key, name, run, picked)


def _place(track: Track, leading: tuple[str, ...]) -> dict[str, int]:
    """One place of each leading axis."""
    if not leading:
        return {}
    sizes = dict(zip(track.axes, track.now.shape, strict=True))
    with st.container(horizontal=True):
        return {
            axis: int(st.number_input(called(axis), 0, sizes[axis] - 1, 0, key=f"place-{axis}", width=160))
            for axis in leading
        }


def _grid(track: Track, offered: list[View], key: Hashable, name: str, run: Run | None, picked: frozenset[int]) -> None:
    columns = st.columns(2, gap="medium") if len(offered) > 1 else [st.container()]
    for index, view in enumerate(offered):
        with columns[index % len(columns)]:
            _show(track, view, key, name, run, picked)


def _show(track: Track, view: View, key: Hashable, name: str, run: Run | None, picked: frozenset[int]) -> None:
    rows = track.now.size // max(track.now.shape[-1], 1)
    work = track.now.size * min(rows, track.now.shape[-1] or 1)
    shown = inspect_run.shorter(track, int(max(2, min(inspect_run.MOST, _COST // max(work, 1)))))
    own = ("view", key, track.name, view.name, shown.at, shown.steps, picked)
    figure, alt, after, brushed = remembered(own, lambda: _drawn(shown, view, picked))
    python = "" if run is None else scripts.view(run, shown, view, after=after)
    panel(figure, alt, view.read, key=f"view-{view.name}", name=f"{name}-{track.name}-{view.name}",
          title=view.title, on_pick=linked_selection.pick if brushed and run is not None else None,
          python=python)  # fmt: skip


def _drawn(track: Track, view: View, picked: frozenset[int]) -> tuple[Any, str, list[str], bool]:
    """The figure, its words, the lines of a script that dim what is not picked, and whether it shows prompt tokens."""
    info = view.analyse(track)
    figure, token = view.draw(info), called("m")
    if isinstance(info, Cells):
        rows, columns = (picked if axis == token else frozenset() for axis in (info.rows, info.columns))
        brushed = token in (info.rows, info.columns)
        if brushed:
            down = info.rows == token
            pickable(figure, range(info.values.shape[0 if down else 1]), columns=not down)
        after = scripts.dimmed(rows, columns)
        dim(figure, rows, columns)
    else:
        brushed = track.axes == ("m",)
        after = scripts.dimmed_by("dim_bars", picked) if brushed else []
        if brushed:
            dim_bars(pickable(figure, range(len(track.now))), picked)
    return figure, f"{track.name}. {view.tell(info)}", after, brushed
