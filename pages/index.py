"""Page config, sidebar and navigation of the app. No logic."""

import streamlit as st

from ptviz.ui.components.formatting import ICON

st.set_page_config(page_icon=ICON, layout="wide", initial_sidebar_state=230)
page = st.navigation(
    {
        "": [st.Page("home.py", title="Home", icon=":material/home:", default=True)],
        "Learn": [
            st.Page(
                "learn/survey.py", title="Survey", icon=":material/account_tree:", help="All methods in two figures."
            ),
            st.Page(
                "learn/method.py", title="Method", icon=":material/function:", help="One method: idea, equation, code."
            ),
        ],
        "Train": [
            st.Page("train/compose.py", title="New run", icon=":material/tune:", help="Configure a run and start it."),
            st.Page("train/watch.py", title="Watch", icon=":material/monitoring:", help="One run, live."),
            st.Page(
                "train/runs.py", title="All runs", icon=":material/list:", help="Find, compare, rename, delete runs."
            ),
        ],
        "Look inside": [
            st.Page(
                "look/embeddings.py",
                title="Embeddings",
                icon=":material/scatter_plot:",
                help="Prompt tokens among the words of the frozen backbone.",
            ),
            st.Page(
                "look/decompositions.py",
                title="Decompositions",
                icon=":material/grid_view:",
                help="The tensors of a method: products, factors, masks, networks.",
            ),
            st.Page(
                "look/routing.py", title="Routing", icon=":material/alt_route:", help="Which input gets which prompt."
            ),
            st.Page(
                "look/attention.py",
                title="Attention",
                icon=":material/visibility:",
                help="Attention of the words and the answer to each prompt token.",
            ),
        ],
        "Compare": [
            st.Page(
                "compare/methods.py",
                title="Compare methods",
                icon=":material/leaderboard:",
                url_path="compare-methods",  # The file's own name would differ from the page Method by one letter.
                help="Several methods on one task, over several seeds.",
            ),
            st.Page(
                "compare/transfer.py",
                title="Transfer",
                icon=":material/swap_horiz:",
                help="Which prompt works on which other task.",
            ),
            st.Page(
                "compare/benchmark.py",
                title="PEFT benchmark",
                icon=":material/query_stats:",
                help="Result files of PEFT's own comparison of methods.",
            ),
        ],
        "Open": [
            st.Page(
                "open/checkpoint.py",
                title="Checkpoint",
                icon=":material/folder_open:",
                help="Inspect and compare prompts trained elsewhere.",
            ),
        ],
    },
    expanded=True,
)
st.set_page_config(f"{page.title} · ptviz")
st.sidebar.caption("ptviz trains prompts for frozen language models. All data stays on this computer.")
page.run()
