"""One figure on a page with everything that belongs to it: words for who cannot see it, how to read it, its numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from ptviz.figures.csv_export import figure_to_csv
from ptviz.ui.components.plotly_chart import plotly_chart
from ptviz.ui.components.python_snippet import python_popover


def figure_panel(
    figure: Any,
    alt: str,
    read: str,
    *,
    key: str,
    name: str,
    title: str = "",
    tools: bool = True,
    on_pick: Callable[[list[int], bool], None] | None = None,
    python: str = "",
) -> None:
    """A figure under its title, with SVG and CSV to take along; ``name`` is that of the files, without ending.

    ``python`` is the script that redraws it.
    """
    if title:
        st.markdown(f"**{title}**")
    plotly_chart(figure, alt, key=key, name=name, tools=tools, on_pick=on_pick)
    st.caption(read)
    with st.container(horizontal=True, gap="small"):
        if python:
            python_popover(python, key)
        st.download_button(
            "CSV",
            data=lambda: figure_to_csv(figure),
            file_name=f"{name}.csv",
            mime="text/csv",
            type="tertiary",
            on_click="ignore",
            key=f"csv-{key}",
            help="download the numbers of this figure",
        )
