"""A figure on a page with its title, alternative text, caption, downloads and Python snippet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from ptviz.figures.csv_export import figure_to_csv
from ptviz.plots.snippet import call_snippet
from ptviz.profanity import profanity_filter
from ptviz.ui.classroom import hide_folders
from ptviz.ui.components.drawn_figures import draw_figure
from ptviz.ui.components.figure_frame import figure_frame, server_tools, tools_data
from ptviz.ui.components.plotly_chart import plotly_chart

_SHOW_PROFANITY = "show-profanity"
"""Whether this session shows profane words."""
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
    shows_profanity = bool(st.session_state.get(_SHOW_PROFANITY))
    drawn = draw_figure(plot, args, options, masks=not shows_profanity)

    def export_csv() -> str:
        with profanity_filter(masks=not shows_profanity):
            return figure_to_csv(plot(*args, **options))

    snippet = hide_folders(call_snippet(plot, *args, **options))
    if drawn.profane_words and shows_profanity:
        snippet = _without_mask(snippet)
    tools = tools_data(title, filename, csv=True, python=True)
    with figure_frame(key) if filename else st.container(gap="xsmall"):
        plotly_chart(
            drawn.json,
            drawn.alt,
            key=key,
            tools=tools,
            toolbar=toolbar,
            on_pick=on_pick if drawn.is_pickable else None,
            zoom_param=zoom_param,
        )
        if caption:
            st.caption(caption)
        if drawn.profane_words:
            _profanity_switch(drawn.profane_words, shows_profanity, key)
        server_tools(key, filename, export_csv, snippet)


def _without_mask(snippet: str) -> str:
    """Return a script whose figure shows profane words too."""
    imports, _, call = snippet.partition("\n\n")
    body = "\n".join(f"    {line}" for line in call.splitlines())
    return f"{imports}\nfrom ptviz.profanity import profanity_filter\n\nwith profanity_filter(masks=False):\n{body}"


def _profanity_switch(count: int, shown: bool, key: str) -> None:
    """Say how many words are masked, with a button that shows the words of all figures, or masks them again."""

    def switch() -> None:
        st.session_state[_SHOW_PROFANITY] = not shown

    words = "1 profane word" if count == 1 else f"{count} profane words"
    label = f"Mask {words}" if shown else f"Show {words}"
    icon = f":material/{'visibility_off' if shown else 'visibility'}:"
    help = "for all figures of this session; words are masked if at least seven public lists name them"
    st.button(label, icon=icon, type="tertiary", key=f"profanity-{key}", on_click=switch, help=help)
