"""Views of a prompt of keys and values inside the backbone, where there are no words to compare with."""

from __future__ import annotations

import numpy as np
import streamlit as st

from ptviz.analysis.spectrum import compute_spectrum
from ptviz.plots import plot_tensor_projection, plot_tensor_view
from ptviz.plots.tensor_views import TensorHistory, views_for_axes
from ptviz.prompt_statistics import find_outliers
from ptviz.ui.components import linked_selection
from ptviz.ui.components.address_values import expect_one_of
from ptviz.ui.components.figure_panel import render_plot
from ptviz.ui.components.glossary import render_markdown
from ptviz.ui.look import token_panels
from ptviz.ui.look.look_page import SnapshotSelection
from ptviz.ui.look.token_panels import PromptView

_LESSON = (
    "This prompt consists of [[key and value|keys and values]] inside the backbone, at every [[attention site]]. There "
    "are no words in that space to compare with, so this page shows their norms, how many directions they use, how "
    "they move, and how similar they are within a head."
)
_PARTS = ("keys", "values")
_PROJECTION_CAPTION = (
    "How to read it: one point per prompt token at this step, thin lines its path. The axes are the two leading "
    "directions (PCA) of this head, fitted once for all steps; they mean nothing in another head."
)


def render_key_values(found: SnapshotSelection, history: TensorHistory) -> None:
    """Show all sites at once, then one head in detail."""
    render_markdown(_LESSON)
    m = history.current.shape[3]
    outliers = np.flatnonzero(find_outliers(np.moveaxis(history.current, 3, 0).reshape(m, -1))).tolist()
    tokens, highlight = linked_selection.select_tokens(m, outliers, (found.run.id, history.name))
    _render_metrics(history.take("m", tokens))
    views = [view for view in views_for_axes(history.axes) if view.needs_all_axes]
    for column, view in zip(st.columns(3, gap="medium"), views, strict=True):
        with column:
            render_plot(
                plot_tensor_view,
                found.run,
                view.name,
                **found.stage_and_step,
                part=history.name,
                tokens=tokens if len(tokens) < m else None,
                highlight=sorted(highlight),
                key=view.name,
                caption=view.caption,
                filename=f"{found.run.id}-{view.name}",
                title=view.title,
            )
    _render_head(found, history, tokens, highlight)


def _render_metrics(history: TensorHistory) -> None:
    """Show how many tokens there are, and how far they are from the first step."""
    first, now = history.values[0], history.current
    length = float(np.linalg.norm(first))
    sites, _, heads, m, _ = now.shape
    with st.container(horizontal=True):
        st.metric("Prompt tokens", m, help=f"each has a key and a value at {sites} sites with {heads} heads")
        for what, name in enumerate(("keys", "values")):
            st.metric(f"Median norm of {name}", f"{np.median(np.linalg.norm(now[:, what], axis=-1)):z.2f}")
        moved = float(np.linalg.norm(now - first))
        change = f"{moved / length:z.1f} x initial norm" if length else f"{moved:z.2f}"
        st.metric("Change", change, help="norm of the difference between this step and the first one")


def _render_head(
    found: SnapshotSelection, history: TensorHistory, tokens: list[int], highlight: frozenset[int]
) -> None:
    """Show the keys or the values of one head at one site."""
    st.header("One head")
    site, what, head = _select_head(history)
    index = {"S": site, "kv": what, "H": head}
    vectors = history.select(index).take("m", tokens).current
    where = f"the {('keys', 'values')[what]} of site {site}, head {head}"
    if compute_spectrum(vectors, centred=True).is_collapsed:
        st.warning(f"In {where}, the prompt has collapsed: its tokens use under a tenth of the directions they could.")
    view = PromptView(
        prompt=found.run,
        file_stem=found.run.id,
        tokens=tokens,
        m=history.current.shape[3],
        highlight=highlight,
        selection={**found.stage_and_step, "part": history.name, "index": index},
    )
    left, right = st.columns([3, 2], gap="medium")
    with left:
        render_plot(
            plot_tensor_projection,
            view.prompt,
            **view.options,
            key="map-alone",
            caption=_PROJECTION_CAPTION,
            filename=f"{found.run.id}-map",
            title=f"The path of {where}",
            on_pick=linked_selection.update_highlight,
        )
    with right:
        token_panels.render_norms(view, "norms", token_panels.HEAD_NORMS_CAPTION, f"Norms of {where}")
    left, right = st.columns(2, gap="medium")
    with left:
        token_panels.render_cosines(view, f"Cosines between {where}")
    with right:
        token_panels.render_spectrum(view)


def _select_head(history: TensorHistory) -> tuple[int, int, int]:
    sizes = dict(zip(history.axes, history.current.shape, strict=True))
    first, second, third = st.columns(3)
    site = _index_input(first, "attention site", "site", sizes["S"])
    expect_one_of("kv", _PARTS, _PARTS[0])
    what = second.segmented_control(
        "of", (0, 1), default=0, key="kv", bind="query-params", format_func=_PARTS.__getitem__
    )
    return site, what or 0, _index_input(third, "head", "head", sizes["H"])


def _index_input(where: st.delta_generator.DeltaGenerator, label: str, key: str, count: int) -> int:
    if st.session_state.get(key, 0) >= count:
        st.session_state.pop(key)  # of a backbone with more of them
    return min(int(where.number_input(label, 0, count - 1, 0, key=key, bind="query-params")), count - 1)
