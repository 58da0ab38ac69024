"""Run the Python snippets of a page as a reader would, and compare what they draw with the page."""

from __future__ import annotations

import json
from typing import Any

import plotly.graph_objects as go
import pytest
from streamlit.testing.v1 import AppTest

from tests.pages.run_pages import figures


def redrawn(at: AppTest) -> set[str]:
    """Return the file names of the page's figures, each of which a snippet on the page draws exactly as shown.

    The step strip is a control: it has no tools.
    """
    assert not at.exception
    drawn = [_run(code.value) for code in at.code if "figure.show()" in code.value]
    shown = figures(at)
    shown.pop("moment", None)
    for name, figure in shown.items():
        assert figure in drawn, f"no snippet draws {name}"
    return set(shown)


def redrawn_drawings(at: AppTest) -> set[str]:
    """Return the file names of the page's drawings, each of which a snippet on the page draws exactly as shown.

    The snippets write into the current folder.
    """
    assert not at.exception
    drawn = [_namespace(code.value)["drawing"].to_svg() for code in at.code if "drawing.to_svg()" in code.value]
    components = [json.loads(element.proto.json or "{}") for element in at.get("bidi_component")]
    shown = {data["name"]: data["file"] for data in components if data.get("file")}
    for name, svg in shown.items():
        assert svg in drawn, f"no snippet draws {name}"
    return set(shown)


def _run(snippet: str) -> dict[str, Any]:
    figure: dict[str, Any] = json.loads(_namespace(snippet)["figure"].to_json())
    return figure


def _namespace(snippet: str) -> dict[str, Any]:
    space: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(go.Figure, "show", lambda self: None)
        exec(compile(snippet, "snippet", "exec"), space)
    return space
