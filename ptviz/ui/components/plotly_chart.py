"""A plotly figure on the page that keeps its zoom while it changes.

``st.plotly_chart`` mounts a new DOM node whenever its data changes, and forgets zoom, pan and legend each time
(https://github.com/streamlit/streamlit/issues/8782). This component calls ``Plotly.react`` on one node instead.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import streamlit as st

from ptviz.ui.components.figure_frame import TOOLS_CSS, TOOLS_HTML, TOOLS_JS
from ptviz.ui.server import PLOTLY_ROUTE

_HTML = (
    TOOLS_HTML
    + """
<div class="ptviz-plot" data-testid="ptviz-plot"></div>
<div class="ptviz-plot-message" role="status" hidden></div>
"""
)
_CSS = """
.ptviz-plot:not([hidden]) { width: 100%; min-height: 60px; }
.ptviz-plot-message { padding: 0.5rem 0; }
/* Below the axis, at its right end: above the plot they would cover its legend. */
.ptviz-plot .modebar-container { top: auto !important; bottom: 0; }
.ptviz-plot .modebar { top: auto !important; bottom: 2px; }
"""

_COMPONENT = st.components.v2.component(
    "ptviz_live_plot",
    html=_HTML,
    css=TOOLS_CSS + _CSS,
    js=TOOLS_JS + (Path(__file__).parent / "plotly_chart.js").read_text(encoding="utf-8"),
    isolate_styles=False,  # plotly puts its own styles into the document's head
)


def preload_plotly() -> None:
    """Have the browser load the plotting library before the first figure; shows nothing."""
    _COMPONENT(key="preload", data={"source": PLOTLY_ROUTE.lstrip("/")}, height=1)


def plotly_chart(
    figure: str,
    alt: str,
    *,
    key: str,
    tools: dict[str, Any],
    toolbar: bool = True,
    zoom_param: str | None = None,
    on_pick: Callable[[list[int], bool], None] | None = None,
) -> None:
    """Draw a plotly figure, given as its JSON, or update the one under this key without losing its zoom.

    ``alt`` is its alternative text; ``tools`` is what ``tools_data`` returns for it; ``toolbar`` shows plotly's buttons
    for zoom on hover; ``zoom_param`` is the query parameter that stores the zoom. ``on_pick`` is called with the
    indices picked in traces marked ``ptviz.figures.linked_selection.PICKABLE``, and with whether they are added to
    those picked before (a click) or replace them (a box or a lasso).
    """
    start = str(st.query_params.get(zoom_param, "")) if zoom_param else ""
    data = {
        "figure": figure,
        "alt": alt,
        "toolbar": toolbar,
        "zoom": start[:200],
        "follows": zoom_param is not None,
        "picks": on_pick is not None,
        "source": PLOTLY_ROUTE.lstrip("/"),
        **tools,
    }

    def zoomed() -> None:
        new = st.session_state[key].zoom if zoom_param else None
        if zoom_param and new:
            st.query_params[zoom_param] = new
        elif zoom_param and zoom_param in st.query_params:
            del st.query_params[zoom_param]

    def picked() -> None:
        found = st.session_state[key].highlighted
        if on_pick is not None and found:
            on_pick([int(number) for number in found["points"]], bool(found["more"]))

    _COMPONENT(key=key, data=data, on_zoom_change=zoomed, on_picked_change=picked)
