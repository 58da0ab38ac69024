"""All runs: find, open, rename, delete, compare."""

import streamlit as st

from ptviz.ui.backend import store
from ptviz.ui.components.errors import explained
from ptviz.ui.navigation import COMPOSE, start_button
from ptviz.ui.train import run_table

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
        found = run_table.find(summaries, words)
        if found:
            picked = run_table.table(found)
            run_table.actions(picked)
            st.subheader("Compare")
            run_table.compare(picked)
        else:
            st.text(f"No run matches {words!r}.")
            st.button("Show all runs", on_click=lambda: st.session_state.update(q=""), key="show-all")
    run_table.unreadable()
    run_table.follow(summaries)
