"""The Python of a figure, in a popover below it."""

from __future__ import annotations

import streamlit as st

_RUNS_NOTE = "It reads the runs of this app, unless PTVIZ_HOME names another folder."


def python_popover(python: str, key: str) -> None:
    """Show a button that opens a script."""
    with st.popover("Python", type="tertiary", key=f"python-{key}", help="the call that draws this figure"):
        st.code(python, language="python")
        st.caption(_RUNS_NOTE)
