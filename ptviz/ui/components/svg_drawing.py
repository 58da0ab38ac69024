"""A diagram on a page: inline SVG that follows the theme, works with the keyboard, and can be saved."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from ptviz.analysis.csv_text import table_to_csv
from ptviz.figures.diagrams.scene import Scene
from ptviz.figures.diagrams.svg import to_svg
from ptviz.plots.drawing import Drawing
from ptviz.plots.snippet import call_snippet
from ptviz.ui.components.figure_frame import (
    TOOLS_CSS,
    TOOLS_HTML,
    TOOLS_JS,
    figure_frame,
    server_tools,
    tools_data,
)

_HTML = TOOLS_HTML + '<div class="ptviz-drawing" data-testid="ptviz-drawing"></div>'
_CSS = """
.ptviz-drawing { color: var(--st-text-color); font-family: var(--st-font); overflow-x: auto; }
.ptviz-drawing.staged > svg { max-width: none !important; margin: 0 auto; }
.ptviz-drawing:focus-visible { outline: 2px solid var(--st-primary-color); }
.ptviz-drawing .pointed > rect, .ptviz-drawing [data-open]:focus-visible > rect {
  stroke: var(--st-primary-color); stroke-width: 2.5;
}
.ptviz-drawing [data-open]:focus { outline: none; }
"""

_COMPONENT = st.components.v2.component(
    "ptviz_drawing",
    html=_HTML,
    css=TOOLS_CSS + _CSS,
    js=TOOLS_JS + (Path(__file__).parent / "svg_drawing.js").read_text(encoding="utf-8"),
)


def render_drawing(
    scene: Scene,
    *,
    key: str,
    filename: str = "",
    caption: str = "",
    zoom: float = 1.0,
    snippet: str = "",
    narrower: Sequence[Scene] = (),
) -> str | None:
    """Show a scene at up to ``zoom`` times its own width; return the link that was just clicked, None otherwise.

    ``filename`` (without ending) names the files of the tools; "" shows no tools. ``snippet`` is the Python that draws
    the scene again. Where a scene would have to shrink below nine tenths of its width, the next one of ``narrower`` is
    shown instead; the last one is moved sideways.
    """
    has_csv = bool(scene.table and filename)
    data = {
        "forms": [
            {"svg": to_svg(form, page=True, zoom=zoom), "least": 0.9 * form.width} for form in (scene, *narrower)
        ],
        "file": to_svg(scene) if filename else "",
        **tools_data("", filename, csv=has_csv, python=bool(snippet)),
    }
    with figure_frame(key) if filename else st.container(gap="xsmall"):
        clicked = _COMPONENT(key=key, data=data, on_open_change=lambda: None)
        if caption:
            st.caption(caption)
        server_tools(key, filename, (lambda: table_to_csv(scene.table)) if has_csv else None, snippet)
    return getattr(clicked, "open", None)


def render_plot_drawing(
    plot: Callable[..., Drawing],
    *args: Any,
    key: str,
    filename: str,
    caption: str = "",
    zoom: float = 1.0,
    narrower: Sequence[Drawing] = (),
    **options: Any,
) -> str | None:
    """Call ``plot(*args, **options)`` of ``ptviz.plots`` and show its drawing, with the snippet of that call.

    Return the link that was just clicked, None otherwise. ``narrower`` as in ``render_drawing``.
    """
    return render_drawing(
        plot(*args, **options).scene,
        key=key,
        filename=filename,
        caption=caption,
        zoom=zoom,
        snippet=call_snippet(plot, *args, **options),
        narrower=[drawing.scene for drawing in narrower],
    )
