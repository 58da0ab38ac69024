"""All runs: find, open, annotate, delete, compare."""

import streamlit as st

from ptviz.runs.run_filters import filter_summaries
from ptviz.runs.source_runs import find_source_runs
from ptviz.ui.backend import get_store
from ptviz.ui.components.errors import show_errors
from ptviz.ui.navigation import NEW_RUN_PAGE, start_button
from ptviz.ui.recorded_runs import list_runs
from ptviz.ui.train import cluster_nodes, run_table
from ptviz.ui.train.classroom_queue import render_turns

st.title("All runs")
with show_errors():
    summaries = list_runs()
    if not summaries:
        st.markdown("No run yet. Start a first one with the default settings, or choose your own.")
        with st.container(horizontal=True, vertical_alignment="center"):
            start_button()
            st.page_link(NEW_RUN_PAGE, label="Choose backbone, task and method", icon=":material/tune:")
    else:
        render_turns(summaries)
        words = run_table.render_filter(summaries)
        found = []
        with show_errors():
            found = filter_summaries(summaries, words)
        owners = find_source_runs(get_store(), summaries)
        with st.container(horizontal=True, vertical_alignment="center"):
            view = st.segmented_control(
                "Show as",
                ["Runs", "By method"],
                default="Runs",
                key="view",
                required=True,
                bind="query-params",
                label_visibility="collapsed",
            )
            grouped = view == "By method"
            # Source prompts are no part of a method's mean unless the reader asks for it.
            key = "grouped-sources" if grouped else "sources"
            listed = found
            if owners and not st.toggle("source prompts", not grouped, key=key, bind="query-params"):
                found = [summary for summary in found if summary.id not in owners]
        if not found and listed:
            st.text("Only source prompts of other runs are left: the switch above shows them.")
        elif not found:
            st.text(f"No run matches {words!r}.")
            st.button("Show all runs", on_click=lambda: st.session_state.update(q=""), key="show-all")
        elif grouped:
            # Recorded runs are no part of the means of one's own.
            run_table.render_run_groups([summary for summary in found if not summary.recorded] or found)
        else:
            picked = run_table.render_run_table(run_table.order_runs(found, owners), owners)
            run_table.render_run_actions(picked)
            if picked:
                st.header("Compare" if len(picked) > 1 else "Curves")
                run_table.render_comparison_section(picked)
    cluster_nodes.render_cluster()
    run_table.render_unreadable_runs(summaries)
    run_table.rerun_on_change(summaries)
