"""Highlights on the pages that inspect a run, and the Python below what the worker measured."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from ptviz.figures.linked_selection import DIMMED_OPACITY
from ptviz.runs import Run
from ptviz.ui.components import linked_selection
from tests.pages import run_pages
from tests.pages.run_pages import settled, well
from tests.pages.snippets import redrawn

pytestmark = pytest.mark.usefixtures("answered")
Page = Callable[..., AppTest]


def pressed(at: AppTest, *keys: str) -> AppTest:
    for key in keys:
        at.button(key=f"measure-{key}").click().run()
        at = well(settled(at))
    return at


def faint(figure: dict[str, Any]) -> bool:
    """Return whether something in a figure is dimmed."""
    opacities = [trace.get("opacity") for trace in figure["data"]]
    bars = [trace.get("marker", {}).get("opacity") for trace in figure["data"] if trace["type"] == "bar"]
    return DIMMED_OPACITY * 2 in opacities or any(
        isinstance(found, list) and DIMMED_OPACITY * 2 in found for found in bars
    )


def dimmed(at: AppTest) -> set[str]:
    """Return the last parts of the names of the figures in which something is dimmed."""
    return {name.rsplit("-", 1)[-1] for name, figure in run_pages.figures(at).items() if faint(figure)}


def test_experts_and_texts(page: Page, trained: Callable[..., Run]):
    run = trained("smop", m=2, k=3)
    at = well(settled(page("look/routing.py", run=run.id, own="a good thing")))
    at = pressed(at, "forced-routing")
    assert not dimmed(at)
    at.multiselect(key="experts").select(1).run()
    at = well(settled(at))
    assert dimmed(at) == {"load", "classes", "inputs", "alike", "own", "sentence", "accuracy", "loss", "rises"}
    at.multiselect(key="experts").unselect(1).run()
    at.multiselect(key="texts").select(2).run()
    at = well(settled(at))
    assert dimmed(at) == {"inputs", "rises"}
    assert at.dataframe[0].value["number"].tolist() == [2]
    assert len(redrawn(at)) == 10


def test_the_same_text_is_bright_however_rows_are_sorted(page: Page, trained: Callable[..., Run]):
    run = trained("smop", m=2, k=3)
    found = []
    for sort in ("class", "certainty"):
        at = well(settled(page("look/routing.py", run=run.id, texts=["4"], sort=sort)))
        figure = next(f for name, f in run_pages.figures(at).items() if name.endswith("inputs"))
        bright = next(trace for trace in figure["data"] if trace.get("opacity") == 1.0)
        (row,) = {i for i, texts in enumerate(bright["text"]) if texts[0]}
        assert set(bright["customdata"][row]) == {4}
        found.append(bright["text"][row][0])
    assert found[0] == found[1]


def test_prompt_tokens_of_tensors(page: Page, trained: Callable[..., Run]):
    at = well(settled(page("look/decompositions.py", run=trained("dpt", m=6).id, brush=["1", "3"])))
    at = pressed(at, "ranks", "saliency")
    assert dimmed(at) == {"cosines", "values", "saliency", "signed"}
    assert len(redrawn(at)) == 9
    at.selectbox(key="part").set_value("B").run()
    assert not {"cosines", "values"} & dimmed(well(settled(at))), "rows of B are no prompt tokens"


def test_prompt_tokens_on_the_page_attention(page: Page, trained: Callable[..., Run]):
    at = well(settled(page("look/attention.py", run=trained(m=3).id, brush=["2"])))
    assert dimmed(at) == {"tokens", "given"}
    mass = next(figure for name, figure in run_pages.figures(at).items() if name.endswith("mass"))
    assert "answer, highlighted tokens" in [trace["name"] for trace in mass["data"]]
    assert len(redrawn(at)) == 4


def test_stages_share_a_step(page: Page, trained: Callable[..., Run]):
    at = well(settled(page("look/decompositions.py", run=trained("xprompt", m=4).id)))
    at = pressed(at, "saliency")
    assert len(redrawn(at)) > 8
    labels = at.select_slider(key="at").options
    last = [label for label in labels if label.startswith("1:")][-1]  # the next stage starts at the same step
    at.select_slider(key="at").set_value(last).run()
    redrawn(well(settled(at)))


def test_another_validation_text(page: Page, trained: Callable[..., Run]):
    run = trained(m=3)
    seen = []
    for row in ("0", "1"):
        at = well(settled(page("look/attention.py", run=run.id, row=row)))
        seen.append((at.text[0].value, run_pages.figures(at)))
    assert seen[0][0] != seen[1][0]
    assert np.isfinite(json.loads(json.dumps(seen[1][1]))[f"{run.id}-given"]["data"][0]["zmax"])


def test_another_run_starts_without_a_highlight(page: Page, trained: Callable[..., Run]):
    one, other = trained(m=6), trained(m=6)
    at = well(settled(page("look/decompositions.py", run=one.id)))
    at.multiselect(key=linked_selection.HIGHLIGHT_KEY).select(2).run()
    assert dimmed(well(at))
    at.selectbox(key="look-run").set_value(other.id).run()
    assert not dimmed(well(settled(at)))
