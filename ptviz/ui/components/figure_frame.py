"""The frame of a figure: what full screen and presenter mode enlarge, with the row of its tools at the upper right."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import streamlit as st

from ptviz.ui.components.csv_download import figure_csv_download
from ptviz.ui.components.python_popover import python_popover

_HERE = Path(__file__).parent
TOOLS_HTML = """
<div class="ptviz-head" hidden>
  <div class="ptviz-title"></div>
  <button type="button" data-tool="svg" aria-label="Download as SVG" title="Download as SVG">SVG</button>
  <button type="button" data-tool="png" aria-label="Download as PNG" title="Download as PNG">PNG</button>
  <span class="ptviz-gap"></span>
  <button type="button" data-tool="full" aria-label="Full screen" title="Full screen">
    <svg viewBox="0 0 16 16" width="14" height="14" fill="none" stroke="currentColor" stroke-width="1.5"
         aria-hidden="true">
      <path d="M2 6V2h4M10 2h4v4M14 10v4h-4M6 14H2v-4"/>
    </svg>
  </button>
</div>
"""
"""The title and the tools that need no server; the other tools lie in the gap."""
TOOLS_CSS = (_HERE / "figure_tools.css").read_text(encoding="utf-8")
TOOLS_JS = (_HERE / "figure_tools.js").read_text(encoding="utf-8")
"""What a component's script begins with: ``connectTools`` and ``stageOf``."""
FRAME_PREFIX = "figure-"
"""What the key of every frame begins with; the scripts find frames by it."""
_CSV_WIDTH, _PYTHON_WIDTH = 2.6, 3.7
"""Widths of the tools that Streamlit draws, in rem; the style sheet has them too."""


def tools_data(title: str, filename: str, *, csv: bool, python: bool) -> dict[str, Any]:
    """Return what a component passes to ``connectTools``; without a ``filename`` there are no tools."""
    return {"title": title, "name": filename, "gap": csv * _CSV_WIDTH + python * _PYTHON_WIDTH}


def figure_frame(key: str) -> Any:
    """Return the container of a figure, its tools and its caption, to be used in a ``with`` statement."""
    return st.container(key=FRAME_PREFIX + key, gap="xsmall")


def server_tools(key: str, filename: str, csv: Callable[[], str] | None, snippet: str) -> None:
    """Show the tools that need the server: the data as CSV, made when it is asked for, and the Python of the figure."""
    if not filename or (csv is None and not snippet):
        return
    with st.container(horizontal=True, gap=None, key=f"tools-{key}", width="content"):
        if csv is not None:
            figure_csv_download(csv, filename, key)
        if snippet:
            python_popover(snippet, key)
