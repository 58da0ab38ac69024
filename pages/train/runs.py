"""All runs: find, open, rename, delete, compare."""

import streamlit as st

from ptviz.ui.backend import get_store
from ptviz.ui.components.errors import show_errors
from ptviz.ui.navigation import COMPOSE_PAGE, start_button
from ptviz.ui.train import cluster, run_table

st.title("All runs")
with show_errors():
    summaries = get_store().list()
    if not summaries:
        st.markdown("No run yet. Start a first one with the default settings, or choose your own.")
        with st.container(horizontal=True, vertical_alignment="center"):
            start_button()
            st.page_link(COMPOSE_PAGE, label="Choose backbone, task and method", icon=":material/tune:")
    else:
        words = st.text_input(
            "Find",
            key="q",
            placeholder="name, method, task, backbone or state",
            icon=":material/search:",
            bind="query-params",
        )
        found = run_table.filter_runs(summaries, words)
        if found:
            picked = run_table.render_run_table(found)
            run_table.render_run_actions(picked)
            st.subheader("Compare")
            run_table.render_comparison_section(picked)
        else:
            st.text(f"No run matches {words!r}.")
            st.button("Show all runs", on_click=lambda: st.session_state.update(q=""), key="show-all")
    cluster.render_cluster()
    run_table.render_unreadable_runs(summaries)
    run_table.rerun_on_change(summaries)
