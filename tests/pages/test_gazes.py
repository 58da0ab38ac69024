"""The page on attention, and surgery: empty states, both kinds of prompt, one step for all panels."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from ptviz.runs import LocalExecutor, Run, RunConfig, Store
from ptviz.runs.looking import Looking
from ptviz.runs.mailbox import Letter
from ptviz.runs.warm import Warm
from ptviz.runs.work import work
from ptviz.training import TrainConfig

PATH = "look/attention.py"
Page = Callable[..., AppTest]


@pytest.fixture(autouse=True)
def _answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker's answers, computed in this process."""
    warm = Warm()

    def ask(self: LocalExecutor, kind: str, body: dict[str, Any], timeout: float) -> dict[str, Any]:
        return Looking(self.store, warm).answer(Letter("1", kind, dict(body), float("inf")))

    monkeypatch.setattr(LocalExecutor, "_ask", ask)


@pytest.fixture
def trained(store: Store, tmp_path: Path) -> Callable[..., Run]:
    path = tmp_path / "texts.csv"
    lines = [f"{'good' if i % 2 else 'bad'} <b>thing</b> {i},{'yes' if i % 2 else 'no'}" for i in range(60)]
    path.write_text("\n".join(["text,label", *lines]))

    def make(method: str = "prompt-tuning", **knobs: Any) -> Run:
        training = TrainConfig(steps=4, snapshot_every=2, evaluate_every=2, batch=4)
        run = store.create(RunConfig("tiny-encoder", str(path), method, knobs, training, text="text", label="label"))
        work(run.path)
        return run

    return make


def settled(at: AppTest) -> AppTest:
    """The page once every answer has come, without an error on it."""
    for _ in range(80):
        asked = at.session_state["inside-asked"] if "inside-asked" in at.session_state else {}  # noqa: SIM401
        if all(future.done() for future in asked.values()):
            break
        time.sleep(0.05)
    at.run()
    assert not at.exception
    assert not at.error
    assert "Problem" not in " ".join(m.value for m in at.markdown if "-badge[" in m.value), [t.value for t in at.text]
    return at


def figures(at: AppTest) -> dict[str, dict]:
    found = {}
    for element in at.get("bidi_component"):
        data = json.loads(element.proto.json or "{}")
        if "figure" in data:
            assert len(data["alt"]) > 20, "every figure has words for who cannot see it"
            found[(data["name"] or "moment").rsplit("-", 1)[-1]] = json.loads(data["figure"])
    return found


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


@pytest.mark.parametrize(("method", "changes"), [("prompt-tuning", 4), ("p-tuning-v2", 1)])
def test_surgery_is_measured_when_asked(
    page: Page, trained: Callable[..., Run], method: str, changes: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("PTVIZ_CACHE", str(tmp_path))
    at = settled(page("look/embeddings.py", run=trained(method, m=3).id))
    assert not any(name.startswith("surgery") or name == "ablate" for name in figures(at))
    assert len(at.button_group(key="cut").options) == changes
    at.button(key="operate").click().run()
    at = settled(at)
    assert len(figures(at)["ablate"]["data"][0]["x"]) == 3
    at.select_slider(key="at").set_value("0").run()
    assert "ablate" not in figures(settled(at)), "a measurement belongs to its step"
