"""Presenter mode: the figures of a page one by one, large, for a lecture.

The browser does the work: it knows which figures the page has. The state is in the address, ``?present=FIGURE``.
"""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from ptviz.ui.server import QR_ROUTE

_HERE = Path(__file__).parent
_STEP_KEY = "presenter-step"
_COMPONENT = st.components.v2.component(
    "ptviz_presenter",
    html='<button class="ptviz-present" type="button" aria-keyshortcuts="p">Present <kbd>P</kbd></button>',
    css=(_HERE / "app.css").read_text(encoding="utf-8"),
    js=(_HERE / "presenter.js").read_text(encoding="utf-8"),
    isolate_styles=False,  # the bar and the frames lie outside the component
)


def render_presenter() -> None:
    """Show the button of presenter mode, and listen to its key."""

    def stepped() -> None:
        st.session_state[_STEP_KEY] = st.session_state["presenter"].step

    _COMPONENT(key="presenter", data={"codes": QR_ROUTE.lstrip("/")}, on_step_change=stepped)


def take_step() -> int:
    """Return by how many steps the presenter asked to move since the last call: 1, -1, or 0 for none."""
    return int(st.session_state.pop(_STEP_KEY, 0) or 0)
