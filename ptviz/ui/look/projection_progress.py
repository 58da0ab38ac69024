"""A map that the worker makes: asked for once, how far it is, and taken back."""

from __future__ import annotations

from contextlib import suppress

import streamlit as st

from ptviz.analysis.projection import Projection
from ptviz.runs.atomic_io import StoreError
from ptviz.ui.backend import request_projection
from ptviz.ui.look import inspect_run
from ptviz.ui.look.inspect_run import SnapshotSelection, poll_request
from ptviz.worker.projection_process import ProjectionJob, ProjectionProgress, cancel, load_progress, load_projection
from ptviz.worker.projection_queue import projection_folder


def projection_with_progress(found: SnapshotSelection, order: ProjectionJob) -> tuple[Projection, ...] | None:
    """The map of an order, asked for once; how far it is, until it is there."""
    folder = projection_folder(order.digest)
    if (maps := load_projection(folder)) is not None:
        return maps
    key = ("map", order.digest)
    if st.session_state.get("map-off") == order.digest:
        st.caption("This map was cancelled.")
        if st.button("Lay it out", icon=":material/play_arrow:", key="map-on"):
            st.session_state.pop("map-off")
            st.rerun()
        return None
    try:
        poll_request(key, lambda: request_projection(found.run.id, order))
    except (StoreError, OSError) as error:
        st.text(f"The map could not be made: {error}")
        if st.button("Try again", icon=":material/refresh:", key="map-retry"):
            inspect_run.forget_request(key)
            st.rerun()
        return None
    _show_progress(load_progress(folder))
    if st.button("Cancel", icon=":material/close:", key="map-cancel"):
        with suppress(OSError):
            cancel(folder)
        st.session_state["map-off"] = order.digest
        inspect_run.forget_request(key)
        st.rerun()
    return None


def _show_progress(far: ProjectionProgress) -> None:
    st.progress(far.share, text=f"The worker makes this map: {far.doing} ({far.share:.0%})")
    st.caption(
        "The first map takes one to four minutes, since UMAP prepares itself; the next ones are quicker, and this one "
        "is cached. Training continues. You can leave this page or switch to PCA."
    )
