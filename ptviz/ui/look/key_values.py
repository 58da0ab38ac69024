"""Keys and values inside the backbone: no word lies in their spaces, so they have views of their own, site by site."""

from __future__ import annotations

import numpy as np
import streamlit as st

from ptviz.analysis.geometry import compute_geometry
from ptviz.analysis.spectrum import compute_spectrum
from ptviz.plots import plot_tensor_view
from ptviz.plots.views import TensorHistory, views_for_axes
from ptviz.prompt_statistics import find_outliers
from ptviz.ui.components import linked_selection
from ptviz.ui.components.figure_panel import render_plot
from ptviz.ui.look import projection_map, token_panels
from ptviz.ui.look.inspect_run import SnapshotSelection

_LESSON = (
    "This prompt is made of keys and values inside the backbone, at every attention site. There are no words in "
    "that space to compare with, so here is what can be said: how large they are, how many directions they use, and "
    "how they move and how alike they are within a head."
)
_PROJECTION_CAPTION = (
    "How to read it: one point a prompt token at this step, thin lines the way it came. The axes are the two leading "
    "directions of this head alone (PCA), fitted once for all steps; they mean nothing in another head."
)


def render_key_values(found: SnapshotSelection, track: TensorHistory) -> None:
    """All sites at once, then one head closely."""
    st.markdown(_LESSON)
    m = track.current.shape[3]
    odd = np.flatnonzero(find_outliers(np.moveaxis(track.current, 3, 0).reshape(m, -1))).tolist()
    rows, picked = linked_selection.select_tokens(m, odd, (found.run.id, track.name))
    _render_metrics(track.take("m", rows))
    views = [view for view in views_for_axes(track.axes) if view.needs_all_axes]
    for column, view in zip(st.columns(3, gap="medium"), views, strict=True):
        with column:
            render_plot(
                plot_tensor_view,
                found.run,
                view.name,
                **found.stage_and_step,
                part=track.name,
                tokens=rows if len(rows) < m else None,
                highlight=sorted(picked),
                key=view.name,
                caption=view.caption,
                filename=f"{found.run.id}-{view.name}",
                title=view.title,
            )
    _render_head(found, track, rows, picked)


def _render_metrics(track: TensorHistory) -> None:
    """How many tokens, and how far they moved since the first step."""
    first, now = track.values[0], track.current
    length = float(np.linalg.norm(first))
    sites, _, heads, m, _ = now.shape
    with st.container(horizontal=True):
        st.metric("Prompt tokens", m, help=f"each has a key and a value at {sites} sites with {heads} heads")
        for what, name in enumerate(("keys", "values")):
            st.metric(f"Median norm of {name}", f"{np.median(np.linalg.norm(now[:, what], axis=-1)):.2f}")
        moved = float(np.linalg.norm(now - first))
        st.metric("Moved by", f"{moved / length:.1f} lengths" if length else f"{moved:.2f}",
                  help="since the first step; the unit is the length of all of it at that step")  # fmt: skip


def _render_head(found: SnapshotSelection, track: TensorHistory, rows: list[int], picked: frozenset[int]) -> None:
    """The keys or the values of one head at one site."""
    st.subheader("One head")
    site, what, head = _select_head(track)
    whole = track.select({"S": site, "kv": what, "H": head})
    chosen, told = whole.take("m", rows), ("keys", "values")[what]
    where = f"the {told} of site {site}, head {head}"
    if compute_spectrum(chosen.current, centred=True).is_collapsed:
        st.warning(f"In {where}, the prompt has collapsed: its tokens use under a tenth of the directions they could.")
    left, right = st.columns([3, 2], gap="medium")
    with left:
        projection_map.render_tensor_projection(found, chosen, rows, picked, f"The way of {where}", _PROJECTION_CAPTION)
    with right:
        token_panels.norm_panel(
            found.run, chosen, compute_geometry(chosen.current), "norms", rows, picked, f"Lengths of {where}"
        )
    left, right = st.columns(2, gap="medium")
    with left:
        token_panels.cosine_panel(found.run, whole, rows, picked, f"Cosines between {where}")
    with right:
        token_panels.spectrum_panel(found.run, chosen, rows)


def _select_head(track: TensorHistory) -> tuple[int, int, int]:
    sizes = dict(zip(track.axes, track.current.shape, strict=True))
    first, second, third = st.columns(3)
    site = _index_input(first, "attention site", "site", sizes["S"])
    what = second.segmented_control(
        "of", (0, 1), default=0, key="kv", bind="query-params", format_func=("keys", "values").__getitem__
    )
    return site, what or 0, _index_input(third, "head", "head", sizes["H"])


def _index_input(where: st.delta_generator.DeltaGenerator, label: str, key: str, count: int) -> int:
    if st.session_state.get(key, 0) >= count:
        st.session_state.pop(key)  # of a backbone with more of them
    return min(int(where.number_input(label, 0, count - 1, 0, key=key, bind="query-params")), count - 1)
