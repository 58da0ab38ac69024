"""Taking a run along: as a shell line, as Python, as numbers."""

from __future__ import annotations

import streamlit as st

from ptviz.runs import Run
from ptviz.ui.train.training_curves import history_to_csv


def export_menu(run: Run) -> None:
    """Copy as CLI, copy as Python, download the curves as CSV."""
    with st.popover("Share", icon=":material/ios_share:"):
        config = run.config
        st.markdown("**The same run in the shell**")
        st.code(config.shell_command(), language="shell", wrap_lines=True)
        st.markdown("**The same run in Python**")
        st.code(config.python_script(), language="python")
        st.download_button(
            "Curves as CSV",
            data=lambda: history_to_csv({run.id: run.history()}),
            file_name=f"{run.id}.csv",
            mime="text/csv",
            icon=":material/download:",
            on_click="ignore",
            key="csv",
        )
        st.caption("The curves as a picture: the button Save as SVG under the figure.")
