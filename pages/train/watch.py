"""One run, live: numbers, curves, and a box to try the prompt of this very step."""

import streamlit as st

from ptviz.ui.components.errors import explained
from ptviz.ui.navigation import COMPOSE, RUNS, start_button
from ptviz.ui.train import run_page

run = None
asked_for = "run" in st.query_params
top = st.container()
with explained():
    run = run_page.run_of_address()

if run is not None:
    with explained():
        status = run.status()
        run_page.head(run, status)
        run_page.live(run, status)
else:
    top.title("Watch")
    if asked_for:
        st.markdown("This address names a run that is not here. Look for it among the others, or start a new one.")
    else:
        st.markdown(
            "Nothing to watch yet: no run has been started. Press Start for a good first one, or choose your own."
        )
    with st.container(horizontal=True, vertical_alignment="center"):
        start_button()
        st.page_link(COMPOSE, label="Choose backbone, task and method", icon=":material/tune:")
        st.page_link(RUNS, label="All runs", icon=":material/list:")
