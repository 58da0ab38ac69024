"""A figure on a page with its title, alternative text, caption, downloads and Python snippet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from ptviz.figures.csv_export import figure_to_csv
from ptviz.figures.linked_selection import has_pickable_trace
from ptviz.plots.alt_text import alt_of
from ptviz.plots.snippet import call_snippet
from ptviz.ui.components.figure_frame import figure_frame, server_tools, tools_data
from ptviz.ui.components.plotly_chart import plotly_chart

PickHandler = Callable[[list[int], bool], None]
"""Called with the indices that were picked in a figure, and whether they are added to the selection."""


def render_plot(
    plot: Callable[..., go.Figure],
    *args: Any,
    key: str,
    caption: str,
    filename: str,
    title: str = "",
    toolbar: bool = True,
    on_pick: PickHandler | None = None,
    zoom_param: str | None = None,
    **options: Any,
) -> None:
    """Call ``plot(*args, **options)`` of ``ptviz.plots`` and show its figure, with the snippet of that very call.

    ``filename`` (without ending) names the files of the tools; "" shows no tools. ``zoom_param`` is the query parameter
    that stores the zoom.
    """
    figure = plot(*args, **options)
    snippet = call_snippet(plot, *args, **options)
    tools = tools_data(title, filename, csv=True, python=True)
    with figure_frame(key) if filename else st.container(gap="xsmall"):
        plotly_chart(
            figure,
            alt_of(figure),
            key=key,
            tools=tools,
            toolbar=toolbar,
            on_pick=on_pick if has_pickable_trace(figure) else None,
            zoom_param=zoom_param,
        )
        if caption:
            st.caption(caption)
        server_tools(key, filename, lambda: figure_to_csv(figure), snippet)
