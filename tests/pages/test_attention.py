"""The page on attention: empty states, both kinds of prompt, one step for all panels."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from ptviz.engine.model_cache import ModelCache
from ptviz.executors.local import LocalExecutor
from ptviz.runs import Run, RunConfig, Store
from ptviz.worker.handlers import HandlerContext, answer_request
from tests.pages import run_pages
from tests.pages.run_pages import well

PATH = "look/attention.py"
Page = Callable[..., AppTest]


@pytest.fixture(autouse=True)
def _answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker's answers, computed in this process."""
    warm = ModelCache()

    def ask(self: LocalExecutor, kind: str, run: str = "", **question: Any) -> dict[str, Any]:
        return answer_request(HandlerContext(self.store, warm), kind, {"run": run, **question})

    monkeypatch.setattr(LocalExecutor, "ask", ask)


def settled(at: AppTest) -> AppTest:
    """The page once every answer has come, without an error on it."""
    return well(run_pages.settled(at))


def figures(at: AppTest) -> dict[str, dict]:
    """The figures by the last part of their names."""
    return {name.rsplit("-", 1)[-1]: figure for name, figure in run_pages.figures(at).items()}


def test_nothing_there_and_no_snapshot(page: Page, store: Store):
    assert page(PATH).button(key="start-usual")
    run = store.create(replace(RunConfig(), backbone="tiny-encoder"), queued=True)
    assert "no snapshot yet" in " ".join(c.value for c in page(PATH, run=run.id).caption)


@pytest.mark.parametrize("method", ["prompt-tuning", "p-tuning-v2"])
def test_what_looks_at_the_prompt(page: Page, trained: Callable[..., Run], method: str):
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
