"""A button that downloads a report as one HTML file."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import streamlit as st

from ptviz.ui.classroom import bind_visitor

if TYPE_CHECKING:
    from ptviz.reports.document import Report


def report_download(make: Callable[[], Report], filename: str, *, key: str = "report") -> None:
    """Show a button that makes a report when it is pressed, and downloads it; ``filename`` is without ending."""
    st.download_button(
        "Report",
        data=bind_visitor(lambda: make().to_html()),
        file_name=f"{filename}.html",
        mime="text/html",
        icon=":material/description:",
        on_click="ignore",
        key=key,
        help="one HTML file with settings, figures, data, commands and citations; a browser prints it as PDF",
    )
