"""A diagram on a page: inline SVG that follows the theme, works with the keyboard, and can be saved."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import streamlit as st

from ptviz.analysis.csv_text import table_to_csv
from ptviz.figures.diagrams.scene import Scene
from ptviz.figures.diagrams.svg import to_svg
from ptviz.plots.drawing import Drawing
from ptviz.plots.snippet import call_snippet
from ptviz.ui.components.csv_download import figure_csv_download
from ptviz.ui.components.python_snippet import python_popover

_HTML = """
<div class="ptviz-drawing" data-testid="ptviz-drawing"></div>
<button class="ptviz-drawing-save" type="button" hidden>Save as SVG</button>
"""
_CSS = """
.ptviz-drawing { color: var(--st-text-color); font-family: var(--st-font); }
.ptviz-drawing .pointed > rect, .ptviz-drawing [data-open]:focus-visible > rect {
  stroke: var(--st-primary-color); stroke-width: 2.5;
}
.ptviz-drawing [data-open]:focus { outline: none; }
.ptviz-drawing-save {
  font: inherit; font-size: 0.85rem; padding: 0.2rem 0.7rem; margin-top: 0.3rem; cursor: pointer;
  color: var(--st-text-color); background: transparent; font-family: var(--st-font);
  border: 1px solid var(--st-border-color); border-radius: var(--st-button-radius);
}
.ptviz-drawing-save:hover, .ptviz-drawing-save:focus-visible {
  border-color: var(--st-primary-color); color: var(--st-primary-color);
}
"""

_COMPONENT = st.components.v2.component(
    "ptviz_drawing", html=_HTML, css=_CSS, js=(Path(__file__).parent / "svg_drawing.js").read_text(encoding="utf-8")
)


def render_drawing(
    scene: Scene, *, key: str, filename: str = "", zoom: float = 1.0, snippet: str = "", narrow: Scene | None = None
) -> str | None:
    """Show a scene at up to ``zoom`` times its own width; return the link that was just clicked, None otherwise.

    ``filename`` (without ending) names the SVG and the CSV; "" offers neither. ``snippet`` is the Python that draws the
    scene again. ``narrow`` is shown instead where ``scene`` would have to shrink below nine tenths of its width.
    """
    data: dict[str, Any] = {
        "svg": to_svg(scene, page=True, zoom=zoom),
        "file": to_svg(scene) if filename else "",
        "name": filename,
        "narrow": to_svg(narrow, page=True, zoom=zoom) if narrow else "",
        "least": 0.9 * scene.width,
    }
    clicked = _COMPONENT(key=key, data=data, on_open_change=lambda: None)
    if snippet or (scene.table and filename):
        with st.container(horizontal=True, gap="small"):
            if scene.table and filename:
                figure_csv_download(lambda: table_to_csv(scene.table), filename, key)
            if snippet:
                python_popover(snippet, key)
    return getattr(clicked, "open", None)


def render_plot_drawing(
    plot: Callable[..., Drawing],
    *args: Any,
    key: str,
    filename: str,
    zoom: float = 1.0,
    narrow: Drawing | None = None,
    **options: Any,
) -> str | None:
    """Call ``plot(*args, **options)`` of ``ptviz.plots`` and show its drawing, with the snippet of that call.

    Return the link that was just clicked, None otherwise. ``narrow`` as in ``render_drawing``.
    """
    return render_drawing(
        plot(*args, **options).scene,
        key=key,
        filename=filename,
        zoom=zoom,
        snippet=call_snippet(plot, *args, **options),
        narrow=None if narrow is None else narrow.scene,
    )
