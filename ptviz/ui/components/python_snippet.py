"""The door under a figure to the script that redraws it."""

from __future__ import annotations

import streamlit as st

HOME_NOTE = "It finds your runs where this app keeps them, unless PTVIZ_HOME names another folder."


def python_popover(python: str, key: str) -> None:
    """Show a script when asked."""
    with st.popover("Python", type="tertiary", key=f"python-{key}", help="the script that redraws this figure"):
        st.code(python, language="python")
        st.caption(HOME_NOTE)
