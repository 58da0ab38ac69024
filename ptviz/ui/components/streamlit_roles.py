"""What screen readers need to know of Streamlit's own elements, which it does not say itself."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

_COMPONENT = st.components.v2.component(
    "ptviz_roles", js=(Path(__file__).parent / "streamlit_roles.js").read_text(encoding="utf-8")
)


def repair_roles() -> None:
    """Let the browser give Streamlit's sidebar the roles that WCAG 2.2 asks for (1.3.1)."""
    with st.sidebar:  # It shows nothing, and takes no room from the page.
        _COMPONENT(key="roles", data={})
