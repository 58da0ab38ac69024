"""A figure on a page with its title, alternative text, caption, downloads and Python snippet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from ptviz.figures.csv_export import figure_to_csv
from ptviz.figures.linked_selection import has_pickable_trace
from ptviz.plots.alt_text import alt_of
from ptviz.plots.snippet import call_snippet
from ptviz.ui.components.csv_download import figure_csv_download
from ptviz.ui.components.plotly_chart import plotly_chart
from ptviz.ui.components.python_snippet import python_popover

PickHandler = Callable[[list[int], bool], None]
"""Called with the indices that were picked in a figure, and whether they are added to the selection."""


@dataclass(frozen=True)
class FigurePanel:
    """A figure and what is shown around it.

    ``filename`` (without ending) names the SVG and the CSV; "" offers neither. ``snippet`` is the Python that draws the
    figure again. ``zoom_param`` is the query parameter that stores the zoom.
    """

    figure: go.Figure
    alt: str
    caption: str
    key: str
    filename: str
    title: str = ""
    snippet: str = ""
    toolbar: bool = True
    on_pick: PickHandler | None = None
    zoom_param: str | None = None


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
    """Call ``plot(*args, **options)`` of ``ptviz.plots`` and show its figure, with the snippet of that very call."""
    figure = plot(*args, **options)
    render_figure_panel(
        FigurePanel(
            figure=figure,
            alt=alt_of(figure),
            caption=caption,
            key=key,
            filename=filename,
            title=title,
            snippet=call_snippet(plot, *args, **options),
            toolbar=toolbar,
            on_pick=on_pick if has_pickable_trace(figure) else None,
            zoom_param=zoom_param,
        )
    )


def render_figure_panel(panel: FigurePanel) -> None:
    """Show a figure with its title, caption, snippet and downloads."""
    if panel.title:
        st.markdown(f"**{panel.title}**")
    plotly_chart(
        panel.figure,
        panel.alt,
        key=panel.key,
        name=panel.filename,
        tools=panel.toolbar,
        on_pick=panel.on_pick,
        zoom_param=panel.zoom_param,
    )
    if panel.caption:
        st.caption(panel.caption)
    with st.container(horizontal=True, gap="small"):
        if panel.snippet:
            python_popover(panel.snippet, panel.key)
        if panel.filename:
            figure_csv_download(lambda: figure_to_csv(panel.figure), panel.filename, panel.key)
