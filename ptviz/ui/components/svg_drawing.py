"""A drawn scene on the page: inline SVG that follows the theme, can be walked by keyboard, and can be saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import streamlit as st

from ptviz.figures.csv_export import table_to_csv
from ptviz.figures.diagrams.scene import Scene
from ptviz.figures.diagrams.svg import to_svg
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
    "ptviz_drawing",
    html=_HTML,
    css=_CSS,
    js=(Path(__file__).parent / "svg_drawing.js").read_text(encoding="utf-8"),
)


def render_drawing(
    scene: Scene, *, key: str, name: str = "", zoom: float = 1.0, python: str = "", narrow: Scene | None = None
) -> str | None:
    """Show a scene, at most ``zoom`` times its own width; the link that was just opened, None otherwise.

    ``name`` is that of the saved file; without one there is no button to save it. ``python`` is the script that redraws
    it. Both are offered below, and the rows of the scene, if it has some. ``narrow`` is shown instead where ``scene``
    would have to shrink to less than nine tenths.
    """
    data: dict[str, Any] = {
        "svg": to_svg(scene, page=True, zoom=zoom), "file": to_svg(scene) if name else "", "name": name,
        "narrow": to_svg(narrow, page=True, zoom=zoom) if narrow else "", "least": 0.9 * scene.width,
    }  # fmt: skip
    answer = _COMPONENT(key=key, data=data, on_open_change=lambda: None)
    if python or (scene.table and name):
        with st.container(horizontal=True, gap="small"):
            if scene.table and name:
                st.download_button(
                    "CSV", data=lambda: table_to_csv(scene.table), file_name=f"{name}.csv", mime="text/csv",
                    type="tertiary", on_click="ignore", key=f"csv-{key}", help="download what is drawn, as rows",
                )  # fmt: skip
            if python:
                python_popover(python, key)
    return getattr(answer, "open", None)
