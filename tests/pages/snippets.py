"""Run the Python snippets of a page as a reader would, and compare what they draw with the page."""

from __future__ import annotations

import json
from typing import Any

import plotly.graph_objects as go
import pytest
from streamlit.testing.v1 import AppTest

from tests.pages.run_pages import figures


def redrawn(at: AppTest) -> set[str]:
    """The file names of the page's figures, each of which a snippet on the page draws exactly as shown.

    The step strip has no file name and goes by "moment".
    """
    assert not at.exception
    drawn = [_run(code.value) for code in at.code if "figure.show()" in code.value]
    shown = figures(at)
    for name, figure in shown.items():
        assert figure in drawn, f"no snippet draws {name}"
    return set(shown)


def _run(snippet: str) -> dict[str, Any]:
    space: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(go.Figure, "show", lambda self: None)
        exec(compile(snippet, "snippet", "exec"), space)
    figure: dict[str, Any] = json.loads(space["figure"].to_json())
    return figure
