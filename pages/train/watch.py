"""One run, live or played again: metrics, curves, and predictions with the prompt of each step."""

import streamlit as st

from ptviz.ui import replay
from ptviz.ui.components.errors import show_errors
from ptviz.ui.navigation import NEW_RUN_PAGE, RUNS_PAGE, start_button
from ptviz.ui.train import predictions, run_page

run = None
asked_for = "run" in st.query_params
top = st.container()
with show_errors():
    run = run_page.run_from_address()

if run is not None:
    with show_errors():
        status = run.status()
        if replay.is_replay() and status.state == "finished":
            replay.render_replay(run)
        else:
            if replay.is_replay():
                st.caption("Only a finished run can be replayed; this is the run as it is now.")
            run_page.render_run_header(run, status)
            shown = run_page.select_target(run)
            run_page.render_live_run(shown, status)
            predictions.render_predictions(shown, status)
else:
    top.title("Watch")
    if asked_for:
        st.markdown("The run in this address does not exist. Look for it under All runs, or start a new one.")
    else:
        st.markdown("No run yet. Start a first one with the default settings, or choose your own.")
    with st.container(horizontal=True, vertical_alignment="center"):
        start_button()
        st.page_link(NEW_RUN_PAGE, label="Choose backbone, task and method", icon=":material/tune:")
        st.page_link(RUNS_PAGE, label="All runs", icon=":material/list:")
