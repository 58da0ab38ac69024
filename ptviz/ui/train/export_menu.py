"""Taking a run along: as a shell line, as Python, as numbers."""

from __future__ import annotations

import streamlit as st

from ptviz.runs import Run
from ptviz.ui.train.training_curves import as_csv


def take_along(run: Run) -> None:
    """Copy as CLI, copy as Python, download the curves as CSV."""
    with st.popover("Share", icon=":material/ios_share:"):
        config = run.config
        st.markdown("**The same run in the shell**")
        st.code(config.command(), language="shell", wrap_lines=True)
        st.markdown("**The same run in Python**")
        st.code(config.python(), language="python")
        st.download_button(
            "Curves as CSV",
            data=lambda: as_csv({run.id: run.curve()}),
            file_name=f"{run.id}.csv",
            mime="text/csv",
            icon=":material/download:",
            on_click="ignore",
            key="csv",
        )
        st.caption("The curves as a picture: the button Save as SVG under the figure.")
