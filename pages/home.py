"""The first thing a visitor sees: what this is, and one button that shows it."""

import streamlit as st

from ptviz.ui.failures import explained
from ptviz.ui.listing import follow, recent
from ptviz.ui.live_plot import preload
from ptviz.ui.picture import INTRODUCTION, first_run
from ptviz.ui.services import store
from ptviz.ui.starting import COMPOSE, RUNS, start_button

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
