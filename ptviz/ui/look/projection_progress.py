"""A projection that the worker computes: requested once, with its progress and a button that cancels it."""

from __future__ import annotations

from contextlib import suppress

import streamlit as st

from ptviz.analysis.projection import Projection
from ptviz.runs.run_file_io import StoreError
from ptviz.ui.backend import request_projection
from ptviz.ui.look import look_page
from ptviz.ui.look.look_page import SnapshotSelection, poll_request
from ptviz.worker.projection_process import ProjectionJob, ProjectionProgress, cancel, load_progress, load_projection
from ptviz.worker.projection_queue import projection_folder


def projection_with_progress(found: SnapshotSelection, job: ProjectionJob) -> tuple[Projection, ...] | None:
    """Return the projection of a job, requested once; show its progress and return None until it is done."""
    folder = projection_folder(job.digest)
    if (projections := load_projection(folder)) is not None:
        return projections
    key = ("map", job.digest)
    if st.session_state.get("map-off") == job.digest:
        _show_cancelled()
        return None
    try:
        poll_request(key, lambda: request_projection(found.run.id, job))
    except (StoreError, OSError) as error:
        st.text(f"The projection failed: {error}")
        if st.button("Try again", icon=":material/refresh:", key="map-retry"):
            look_page.forget_request(key)
            st.rerun()
        return None
    if look_page.is_answered(key):
        if (projections := load_projection(folder)) is None:  # Pages share a job, and another one has cancelled it.
            st.session_state["map-off"] = job.digest
            look_page.forget_request(key)
            _show_cancelled()
        return projections
    _show_progress(load_progress(folder))
    if st.button("Cancel", icon=":material/close:", key="map-cancel"):
        with suppress(OSError):
            cancel(folder)
        st.session_state["map-off"] = job.digest
        look_page.forget_request(key)
        st.rerun()
    return None


def _show_cancelled() -> None:
    st.caption("This projection was cancelled.")
    if st.button("Compute it", icon=":material/play_arrow:", key="map-on"):
        st.session_state.pop("map-off")
        st.rerun()


def _show_progress(progress: ProjectionProgress) -> None:
    st.progress(progress.share, text=f"The worker computes the projection: {progress.doing} ({progress.share:.0%})")
    st.caption(
        "The first projection takes one to four minutes, since UMAP is compiled; later ones are faster, and all are "
        "cached. Training continues. You can leave this page or switch to PCA."
    )
