"""A button that downloads a CSV file."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from ptviz.ui.classroom import bind_visitor


def csv_download(label: str, content: Callable[[], str], filename: str, *, key: str = "") -> None:
    """Show a button that downloads a CSV file, made when the button is pressed; the default key is from its name."""
    st.download_button(
        label,
        data=bind_visitor(content),
        file_name=filename,
        mime="text/csv",
        icon=":material/download:",
        on_click="ignore",
        key=key or filename.replace(".", "-"),
    )


def figure_csv_download(content: Callable[[], str], filename: str, key: str) -> None:
    """Show the small button below a figure that downloads its data; ``filename`` is without ending."""
    st.download_button(
        "CSV",
        data=bind_visitor(content),
        file_name=f"{filename}.csv",
        mime="text/csv",
        type="tertiary",
        on_click="ignore",
        key=f"csv-{key}",
        help="download the data of this figure",
    )
