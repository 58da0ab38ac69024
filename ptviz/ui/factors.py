"""The parts of a run's method under the paper's letters, each with the views that its axes allow."""

from __future__ import annotations

from collections.abc import Hashable

import streamlit as st

from ptviz.runs import Run
from ptviz.ui import inside, scripts, thinning
from ptviz.ui.inside import Moment
from ptviz.ui.panels import panel
from ptviz.ui.remembered import remembered
from ptviz.views import Track, View, called, views_of

LESSON = (
    "Some methods write the prompt as a product of thin factors, others prune it or pass it through a small network. "
    "Every part of the method is here under the letter of its paper. **Try:** the effective rank of a full prompt over "
    "the steps, and then the rank at which its best approximation misses a tenth."
)
_COST = 6e8
"""Multiplications that the spectra of one figure over the steps may take: about half a second."""


def show(found: Moment) -> None:
    """The parts, and the views of the one chosen."""
    parts = inside.tracks(found)
    if not parts:
        st.caption("Reading the sizes of the backbone; this takes a few seconds the first time.")
        return
    thinning.glance(found, parts)
    track = inside.choose_part(parts)
    views(track, found.key, found.run.id, found.run)
    thinning.compared(found, track, parts)
    thinning.thinned(found)
    thinning.salient(found, parts)
    thinning.shifted(found, parts)


def views(track: Track, key: Hashable, name: str, run: Run | None = None) -> None:
    """Every view of a part; ``key`` names what its values depend on, ``name`` begins those of its files.

    ``run`` is where a script finds the part again.
    """
    whole = [view for view in views_of(track.axes) if view.whole]
    sliced = [view for view in views_of(track.axes) if not view.whole]
    _grid(track, whole, key, name, run)
    if not sliced:
        return
    leading = sliced[0].leading(track.axes)
    _grid(track.slice(_place(track, leading)), sliced, key, name, run)


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


def _grid(track: Track, offered: list[View], key: Hashable, name: str, run: Run | None) -> None:
    columns = st.columns(2, gap="medium") if len(offered) > 1 else [st.container()]
    for index, view in enumerate(offered):
        with columns[index % len(columns)]:
            _show(track, view, key, name, run)


def _show(track: Track, view: View, key: Hashable, name: str, run: Run | None) -> None:
    rows = track.now.size // max(track.now.shape[-1], 1)
    work = track.now.size * min(rows, track.now.shape[-1] or 1)
    shown = inside.shorter(track, int(max(2, min(inside.MOST, _COST // max(work, 1)))))
    own = ("view", key, track.name, view.name, shown.at, shown.steps)
    figure, alt = remembered(own, lambda: _drawn(shown, view))
    python = "" if run is None else scripts.view(run, shown, view)
    panel(figure, alt, view.read, key=f"view-{view.name}", name=f"{name}-{track.name}-{view.name}",
          title=view.title, python=python)  # fmt: skip


def _drawn(track: Track, view: View) -> tuple[object, str]:
    info = view.analyse(track)
    return view.draw(info), f"{track.name}. {view.tell(info)}"
