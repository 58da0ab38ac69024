"""Measurements on demand: forced routing, temperatures, lower ranks, saliency, shifts, logit lens."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import parse_qs

import pytest
from streamlit.testing.v1 import AppTest

from ptviz.runs import Run
from tests.pages import run_pages
from tests.pages.run_pages import settled, well

pytestmark = pytest.mark.usefixtures("answered")
Page = Callable[..., AppTest]


def figures(at: AppTest) -> set[str]:
    """Return the last parts of the figures' names."""
    return {name.rsplit("-", 1)[-1] for name in run_pages.figures(at)}


def pressed(at: AppTest, *keys: str) -> AppTest:
    for key in keys:
        at.button(key=f"measure-{key}").click().run()
        at = well(settled(at))
    return at


def test_every_expert_forced(page: Page, trained: Callable[..., Run]):
    at = well(settled(page("look/routing.py", run=trained("smop", m=2, k=3).id, at="4")))
    assert {"load", "balance", "classes", "inputs", "alike", "own"} <= figures(at)
    assert not {"accuracy", "loss", "rises"} & figures(at), "nothing heavy unless it is asked for"
    at = pressed(at, "forced-routing")
    assert {"accuracy", "loss", "rises"} <= figures(at)
    assert {m.label for m in at.metric} >= {"As routed", "Best expert per text", "Routed to the best"}
    at.select_slider(key="at").set_value("0").run()
    assert "rises" not in figures(well(settled(at))), "a measurement belongs to its step"


def test_a_link_fills_the_form_with_another_routing(page: Page, trained: Callable[..., Run]):
    run = trained("smop", m=2, k=3)
    at = well(settled(page("look/routing.py", run=run.id)))
    labels = {one.label for one in at.number_input}
    assert any("noise" in label for label in labels)
    assert any("experts per input" in label for label in labels)
    at.number_input(key=f"again-{run.id}-sigma").set_value(0.25).run()
    at.number_input(key=f"again-{run.id}-top").set_value(2).run()
    link = next(one for one in at.get("page_link") if "these settings" in one.proto.label)
    asked = parse_qs(link.proto.query_string)
    assert (asked["smop-sigma"], asked["smop-top"], asked["method"]) == (["0.25"], ["2"], ["smop"])


def test_the_temperature_of_a_mixture(page: Page, trained: Callable[..., Run]):
    at = well(settled(page("look/routing.py", run=trained("smop", m=2, k=3, top=3).id)))
    before = {name: f for name, f in run_pages.figures(at).items() if name.endswith("inputs")}
    at = pressed(at, "temperatures")
    assert "temperature" in figures(at)
    at.select_slider(key="temperature").set_value("one-hot").run()
    at = well(settled(at))
    after = {name: f for name, f in run_pages.figures(at).items() if name.endswith("inputs")}
    assert before != after
    assert {m.label: m.value for m in at.metric}["Routing entropy"] == "0.00 nats"


def test_a_single_choice_has_no_temperature(page: Page, trained: Callable[..., Run]):
    at = well(settled(page("look/routing.py", run=trained("smop", m=2, k=3).id)))
    assert "temperature" not in [one.key for one in at.select_slider]


@pytest.mark.parametrize("method", ["prompt-tuning", "p-tuning-v2"])
def test_ranks_and_saliency(page: Page, trained: Callable[..., Run], method: str):
    at = well(settled(page("look/decompositions.py", run=trained(method, m=4).id)))
    assert "tensors" in figures(at)
    assert not {"ranks", "saliency"} & figures(at)
    assert {"ranks", "saliency", "signed"} <= figures(pressed(at, "ranks", "saliency"))


def test_recorded_scores_are_shown_next_to_measured_ones(page: Page, trained: Callable[..., Run]):
    at = well(settled(page("look/decompositions.py", run=trained("xprompt", m=4).id)))
    assert "recorded" in figures(at)
    at.selectbox(key="part").set_value("P").run()
    assert any("-and-" in name for name in run_pages.figures(well(settled(at))))


def test_the_words_that_move_most(page: Page, trained: Callable[..., Run]):
    at = well(settled(page("look/decompositions.py", run=trained("dept", m=2).id)))
    at = pressed(at, "shift")
    assert {"moved", "most"} <= figures(at)
    at = well(settled(page("look/decompositions.py", run=trained(m=2).id)))
    assert "measure-shift" not in [one.key for one in at.button]


@pytest.mark.parametrize(("method", "shown"), [("prompt-tuning", True), ("p-tuning-v2", False)])
def test_the_logit_lens(page: Page, trained: Callable[..., Run], method: str, shown: bool):
    at = well(settled(page("look/attention.py", run=trained(method, m=3).id)))
    assert at.button(key="measure-lens").disabled != shown, "what cannot be read is not offered"
    at = pressed(at, "lens") if shown else at
    assert ("lens" in figures(at)) == shown
    assert any("no state to read" in one.value for one in at.text) != shown
