"""Page config, sidebar and navigation of the app. No logic."""

from pathlib import Path

import streamlit as st

from ptviz.ui.address_problems import render_address_problems
from ptviz.ui.classroom import render_sidebar_note
from ptviz.ui.components.address_values import checked_address
from ptviz.ui.components.connection import watch_connection
from ptviz.ui.components.formatting import ICON
from ptviz.ui.components.glossary import render_term_style
from ptviz.ui.components.presenter import render_presenter
from ptviz.ui.components.streamlit_roles import repair_roles
from ptviz.ui.heavy_libraries import load_libraries_in_background, wait_for_libraries
from ptviz.ui.recorded_runs import recorded_switch

st.set_page_config(page_icon=ICON, layout="wide", initial_sidebar_state=230)
# Path, title, icon and help of each page.
PAGES: dict[str, list[tuple[str, str, str, str | None]]] = {
    "": [("home.py", "Home", "home", None)],
    "Learn": [
        ("learn/survey.py", "Survey", "account_tree", "All methods in two figures."),
        ("learn/method.py", "Method", "function", "One method: idea, equation, code."),
        ("learn/lessons.py", "Lessons", "school", "Eight short lessons: predict, then measure."),
        ("learn/findings.py", "Findings", "science", "Claims of the papers, repeated by small experiments."),
        ("learn/glossary.py", "Glossary", "dictionary", "The words of the field, each in one sentence."),
        ("learn/teaching.py", "For teachers", "co_present", "What the lessons need, and their answers."),
    ],
    "Train": [
        ("train/new_run.py", "New run", "tune", "Configure a run and start it."),
        ("train/watch.py", "Watch", "monitoring", "One run, live."),
        ("train/runs.py", "All runs", "list", "Find, compare, rename, delete runs."),
    ],
    "Look inside": [
        ("look/embeddings.py", "Embeddings", "scatter_plot", "Prompt tokens among the words of the frozen backbone."),
        ("look/decompositions.py", "Decompositions", "grid_view", "Tensors: products, factors, masks, networks."),
        ("look/routing.py", "Routing", "alt_route", "Which input gets which prompt."),
        ("look/attention.py", "Attention", "visibility", "Attention of the text and the answer to each prompt token."),
    ],
    "Compare": [
        (
            "compare/compare_methods.py",
            "Compare methods",
            "leaderboard",
            "Several methods on one task, over several seeds.",
        ),
        ("compare/sweep.py", "Sweep", "grid_on", "Many settings: which matter, and which are best."),
        ("compare/transfer.py", "Transfer", "swap_horiz", "Which prompt works on which other task."),
        ("compare/peft_benchmark.py", "PEFT benchmark", "query_stats", "Results of PEFT's comparison of methods."),
    ],
    "Open": [("open/checkpoint.py", "Checkpoint", "folder_open", "Inspect and compare prompts trained elsewhere.")],
}
# Titles of the pages that are drawn before torch is loaded: no tensor is needed for them.
WITHOUT_TORCH = ("Home", "Glossary", "New run", "Watch", "All runs", "Compare methods")
SECTIONS = {
    section: [
        st.Page(
            path,
            title=title,
            icon=f":material/{icon}:",
            help=help,
            default=path == "home.py",
            url_path=Path(path).stem.replace("_", "-"),
        )
        for path, title, icon, help in pages
    ]
    for section, pages in PAGES.items()
}
page = st.navigation(SECTIONS, expanded=True)
st.set_page_config(f"{page.title} · ptviz")
with checked_address(page.url_path):
    recorded_switch()
    render_sidebar_note()
    if page.title not in WITHOUT_TORCH:
        wait_for_libraries()
    render_term_style()
    render_presenter()
    render_address_problems(page for pages in SECTIONS.values() for page in pages)
    watch_connection()
    repair_roles()
    page.run()
load_libraries_in_background()
