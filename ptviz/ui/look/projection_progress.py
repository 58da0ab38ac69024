"""A map that the worker makes: asked for once, how far it is, and taken back."""

from __future__ import annotations

from contextlib import suppress

import streamlit as st

from ptviz.analysis.projection import Map
from ptviz.runs.atomic_io import StoreError
from ptviz.ui.backend import lay_map
from ptviz.ui.look import inspect_run
from ptviz.ui.look.inspect_run import Moment, asked
from ptviz.worker.projection_process import Order, Progress, drop, laid, progress
from ptviz.worker.projection_queue import folder_of


def awaited(found: Moment, order: Order) -> tuple[Map, ...] | None:
    """The map of an order, asked for once; how far it is, until it is there."""
    folder = folder_of(order.name)
    if (maps := laid(folder)) is not None:
        return maps
    key = ("map", order.name)
    if st.session_state.get("map-off") == order.name:
        st.caption("This map was cancelled.")
        if st.button("Lay it out", icon=":material/play_arrow:", key="map-on"):
            st.session_state.pop("map-off")
            st.rerun()
        return None
    try:
        asked(key, lambda: lay_map(found.run.id, order))
    except (StoreError, OSError) as error:
        st.text(f"The map could not be made: {error}")
        if st.button("Try again", icon=":material/refresh:", key="map-retry"):
            inspect_run.forget(key)
            st.rerun()
        return None
    _waits(progress(folder))
    if st.button("Cancel", icon=":material/close:", key="map-cancel"):
        with suppress(OSError):
            drop(folder)
        st.session_state["map-off"] = order.name
        inspect_run.forget(key)
        st.rerun()
    return None


def _waits(far: Progress) -> None:
    st.progress(far.share, text=f"The worker makes this map: {far.doing} ({far.share:.0%})")
    st.caption(
        "The first map takes one to four minutes, since UMAP prepares itself; the next ones are quicker, and this one "
        "is kept. Training goes on meanwhile, and so can you: leave the page or choose PCA."
    )
