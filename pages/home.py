"""The home page: what ptviz does, a button that trains a first prompt, and the newest runs."""

import streamlit as st

from ptviz.ui.backend import get_store
from ptviz.ui.components.errors import show_errors
from ptviz.ui.components.forward_pass import render_forward_pass
from ptviz.ui.components.glossary import render_markdown
from ptviz.ui.components.plotly_chart import preload_plotly
from ptviz.ui.home import INTRODUCTION, find_recorded_run, play_button, render_writing_run
from ptviz.ui.navigation import NEW_RUN_PAGE, RUNS_PAGE, start_button
from ptviz.ui.train.classroom_queue import render_turns
from ptviz.ui.train.run_table import render_recent_runs, rerun_on_change

st.title("See a prompt learn")
render_markdown(INTRODUCTION)
recorded = find_recorded_run()
with st.container(horizontal=True, vertical_alignment="center"):
    start_button()
    if recorded is not None:
        play_button(recorded)
    st.page_link(NEW_RUN_PAGE, label="Choose backbone, task and method", icon=":material/tune:")
if recorded is not None:
    with show_errors():
        render_forward_pass(recorded, title="What the prompt does to one question")
with show_errors():
    render_writing_run()

st.header("Recent runs")
with show_errors():
    summaries = get_store().list()
    if summaries:
        render_turns(summaries)
        render_recent_runs(summaries)
        rerun_on_change(summaries)
        st.page_link(RUNS_PAGE, label="All runs", icon=":material/list:")
    else:
        st.caption("No run yet. Your runs appear here; they stay when you close the page.")
preload_plotly()
