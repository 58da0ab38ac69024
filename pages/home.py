"""The first thing a visitor sees: what this is, and one button that shows it."""

import streamlit as st

from ptviz.ui.backend import store
from ptviz.ui.components.errors import explained
from ptviz.ui.components.plotly_chart import preload
from ptviz.ui.home import INTRODUCTION, first_run
from ptviz.ui.navigation import COMPOSE, RUNS, start_button
from ptviz.ui.train.run_table import follow, recent

st.title("See a prompt learn")
st.markdown(INTRODUCTION)
first_run()
with st.container(horizontal=True, vertical_alignment="center"):
    start_button()
    st.page_link(COMPOSE, label="Choose backbone, task and method", icon=":material/tune:")

st.subheader("Recent runs")
with explained():
    summaries = store().list()
    if summaries:
        recent(summaries)
        follow(summaries)
        st.page_link(RUNS, label="All runs", icon=":material/list:")
    else:
        st.caption("None yet. Your first one will appear here; it stays when you close the page.")
preload()
