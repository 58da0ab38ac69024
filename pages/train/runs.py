"""All runs: find, open, rename, delete, compare."""

import streamlit as st

from ptviz.ui import listing
from ptviz.ui.failures import explained
from ptviz.ui.services import store
from ptviz.ui.starting import COMPOSE, start_button

st.title("All runs")
with explained():
    summaries = store().list()
    if not summaries:
        st.markdown("No run yet. Press Start for a good first one, or choose your own.")
        with st.container(horizontal=True, vertical_alignment="center"):
            start_button()
            st.page_link(COMPOSE, label="Choose backbone, task and method", icon=":material/tune:")
    else:
        words = st.text_input(
            "Find",
            key="q",
            placeholder="name, method, task, backbone or state",
            icon=":material/search:",
            bind="query-params",
        )
        found = listing.find(summaries, words)
        if found:
            picked = listing.table(found)
            listing.actions(picked)
            st.subheader("Compare")
            listing.compare(picked)
        else:
            st.text(f"No run matches {words!r}.")
            st.button("Show all runs", on_click=lambda: st.session_state.update(q=""), key="show-all")
    listing.unreadable()
    listing.follow(summaries)
