"""The pages that look inside a run: every empty state, every kind of method, one step shared by all."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from ptviz.runs import LocalExecutor, Run, RunConfig, Store, Writer
from ptviz.runs.looking import Looking
from ptviz.runs.mailbox import Letter
from ptviz.runs.vocabulary import keep
from ptviz.runs.warm import Warm
from tests.pages.looking import figures, settled, well

PAGES = ("look/embeddings.py", "look/factors.py", "look/routing.py")
Page = Callable[..., AppTest]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _answered(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    """The worker's answers, computed in this process."""
    monkeypatch.setenv("PTVIZ_CACHE", str(cache))
    warm = Warm()

    def ask(self: LocalExecutor, kind: str, body: dict[str, Any], timeout: float) -> dict[str, Any]:
        return Looking(self.store, warm).answer(Letter("1", kind, dict(body), float("inf")))

    monkeypatch.setattr(LocalExecutor, "_ask", ask)


def ending(at: AppTest) -> set[str]:
    """The names of the figures, without the run's id."""
    return {name.rsplit("-", 1)[-1] for name in figures(at)}


@pytest.mark.parametrize("path", PAGES)
def test_nothing_there(page: Page, path: str):
    at = well(page(path))
    assert at.button(key="start-usual")


@pytest.mark.parametrize("path", PAGES)
def test_a_run_without_snapshots(page: Page, store: Store, path: str):
    run = store.create(replace(RunConfig(), backbone="tiny-encoder"), queued=True)
    assert "no snapshot yet" in " ".join(c.value for c in well(page(path, run=run.id)).caption)


@pytest.mark.parametrize("path", PAGES)
def test_an_unknown_run_is_told(page: Page, path: str):
    at = page(path, run="gone")
    assert not at.exception
    assert "there is no run 'gone'" in " ".join(t.value for t in at.text)


def test_tokens_among_words(page: Page, trained: Callable[..., Run]):
    at = well(settled(page("look/embeddings.py", run=trained(m=6).id)))
    assert {"map", "norms", "distances", "words", "drift", "cosines", "spectrum", "moment"} <= ending(at)
    assert {m.label: m.value for m in at.metric}["Prompt tokens"] == "6"


def test_one_step_moves_every_panel(page: Page, trained: Callable[..., Run]):
    at = well(settled(page("look/embeddings.py", run=trained(m=6).id, at="0")))
    before = figures(at)
    cursor = before["moment"]["layout"]["shapes"][0]["x0"]
    assert cursor == 0
    at.select_slider(key="at").set_value("4").run()
    after = figures(well(at))
    assert after["moment"]["layout"]["shapes"][0]["x0"] == 4
    for name in ("map", "norms", "distances", "cosines", "words"):
        key = next(k for k in before if k.endswith(name))
        assert before[key] != after[key], name


def test_the_step_is_part_of_the_address(page: Page, trained: Callable[..., Run]):
    run = trained(m=6)
    for path in ("look/embeddings.py", "look/factors.py"):
        at = well(settled(page(path, run=run.id, at="2")))
        assert at.select_slider(key="at").value == "2"


def test_playing_goes_from_step_to_step_and_ends(page: Page, trained: Callable[..., Run]):
    at = well(settled(page("look/factors.py", run=trained(m=6).id)))
    at.button(key="play").click().run()
    seen = [at.select_slider(key="at").value]
    for _ in range(4):
        seen.append(well(at.run()).select_slider(key="at").value)
    assert {"0", "2", "4"} <= set(seen)
    assert seen[-1] == "4"
    assert not at.session_state["playing"]


def test_keys_and_values_have_views_of_their_own(page: Page, trained: Callable[..., Run]):
    at = well(settled(page("look/embeddings.py", run=trained("p-tuning-v2", m=4).id)))
    assert {"sites", "cosines"} <= ending(at)
    assert "map" not in ending(at)


@pytest.mark.parametrize("method", ["dept", "smop"])
def test_every_part_can_be_looked_at(page: Page, trained: Callable[..., Run], method: str):
    at = well(settled(page("look/factors.py", run=trained(method, m=4).id)))
    for part in at.selectbox(key="part").options:
        at.selectbox(key="part").set_value(part.split("  ")[0]).run()
        assert len(figures(well(at))) > 1, part


def test_where_the_texts_go(page: Page, trained: Callable[..., Run]):
    run = trained("smop", m=2, k=3)
    at = well(settled(page("look/routing.py", run=run.id)))
    assert {"load", "classes", "inputs", "alike"} <= ending(at)
    inputs = next(figure for name, figure in figures(at).items() if name.endswith("inputs"))
    assert "<b>" not in json.dumps(inputs)
    at.text_input(key="own").set_value("a good thing").run()
    at = well(settled(at))
    assert any(text.value.startswith("To expert ") for text in at.text)


def test_without_routing_the_page_says_so(page: Page, trained: Callable[..., Run]):
    at = well(settled(page("look/routing.py", run=trained(m=2).id)))
    assert any("nothing to route" in m.value for m in at.markdown)


def test_the_routing_page_prefers_a_run_that_routes(page: Page, trained: Callable[..., Run]):
    routed, _ = trained("smop", m=2, k=3), trained(m=2)
    at = well(settled(page("look/routing.py")))
    assert at.selectbox(key="look-run").value == routed.id


def test_a_run_under_way_shows_its_newest_step(page: Page, trained: Callable[..., Run]):
    run = trained(m=6)
    with Writer(run) as writer:
        writer.status = writer.status.now(state="running")
        (run.path / "status.json").write_bytes(writer.status.to_bytes())
        at = well(settled(page("look/factors.py", run=run.id)))
        assert figures(at)["moment"]["layout"]["shapes"][0]["x0"] == 4


def test_another_run_starts_at_its_own_best_step(page: Page, trained: Callable[..., Run]):
    one, other = trained(m=6), trained(m=6)
    at = well(settled(page("look/factors.py", run=one.id, at="2")))
    at.selectbox(key="look-run").set_value(other.id).run()
    assert well(at).select_slider(key="at").value == "best"


def test_a_page_is_quick_once_the_words_are_there(page: Page, trained: Callable[..., Run]):
    from ptviz import load_backbone

    keep(load_backbone("tiny-encoder"))
    run = trained(m=6)
    page("home.py")
    begun = time.perf_counter()
    well(page("look/embeddings.py", run=run.id))
    assert time.perf_counter() - begun < 4  # two on the reference machine; this one may be busy
