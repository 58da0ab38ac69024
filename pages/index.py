"""Page config, sidebar and navigation of the app. No logic."""

import streamlit as st

from ptviz.ui.wording import ICON

st.set_page_config(page_icon=ICON, layout="wide", initial_sidebar_state=230)
page = st.navigation(
    {
        "": [st.Page("home.py", title="Home", icon=":material/home:", default=True)],
        "Train": [
            st.Page(
                "train/compose.py", title="New run", icon=":material/tune:", help="Choose what to train, and start it."
            ),
            st.Page("train/watch.py", title="Watch", icon=":material/monitoring:", help="One run, live."),
            st.Page(
                "train/runs.py", title="All runs", icon=":material/list:", help="Find, compare, rename, delete runs."
            ),
        ],
    }
)
st.set_page_config(f"{page.title} · ptviz")
st.sidebar.caption("ptviz trains prompts on frozen language models. Everything stays on this computer.")
page.run()
