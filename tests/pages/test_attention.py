"""The page Attention: empty states, both kinds of prompt, one step for all panels."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from streamlit.testing.v1 import AppTest

from ptviz.runs import Run, RunConfig, Store
from tests.pages import run_pages
from tests.pages.run_pages import well

PATH = "look/attention.py"
pytestmark = pytest.mark.usefixtures("answered")
Page = Callable[..., AppTest]


def settled(at: AppTest) -> AppTest:
    """Return the page once all requests are answered; it shows no error."""
    return well(run_pages.settled(at))


def figures(at: AppTest) -> dict[str, dict]:
    """Return the figures by the last part of their names."""
    return {name.rsplit("-", 1)[-1]: figure for name, figure in run_pages.figures(at).items()}


def test_nothing_there_and_no_snapshot(page: Page, store: Store):
    assert page(PATH).button(key="start-usual")
    run = store.create(replace(RunConfig(), backbone="tiny-encoder"), queued=True)
    assert "no snapshot yet" in " ".join(c.value for c in page(PATH, run=run.id).caption)


@pytest.mark.parametrize("method", ["prompt-tuning", "p-tuning-v2"])
def test_attention_on_the_prompt(page: Page, trained: Callable[..., Run], method: str):
    at = settled(page(PATH, run=trained(method, m=3).id, at="0"))
    before = figures(at)
    assert set(before) == {"moment", "mass", "heads", "tokens", "given"}
    assert "<b>" not in json.dumps(before)
    assert before["given"]["layout"]["xaxis"]["ticktext"] == ["0", "1", "2"]
    at.select_slider(key="at").set_value("4").run()
    after = figures(settled(at))
    assert all(before[name] != after[name] for name in before)
    at.selectbox(key="head").set_value("1").run()
    assert figures(settled(at))["given"] != after["given"]
    at.text_input(key="own").set_value("a <i>good</i> day").run()
    assert any(text.value == "a <i>good</i> day" for text in settled(at).text)


def test_a_text_beyond_the_last_is_said(page: Page, trained: Callable[..., Run]):
    run = trained(m=3)
    last = run.config.training.validation_rows - 1
    at = run_pages.settled(page(PATH, run=run.id, row="5000"))
    assert f"row: expected a whole number from 0 to {last}; got 5000. 0 is used instead" in [t.value for t in at.text]
    box = at.number_input(key="row")
    assert (box.value, box.max) == (0, last)
    assert f"from 0 to {last}" in box.help
    assert settled(page(PATH, run=run.id, row=str(last))).number_input(key="row").value == last
