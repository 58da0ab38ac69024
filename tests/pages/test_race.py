"""The race page: what is there joins, what is missing can be started, and it stays quick."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from ptviz.runs import RunConfig, race
from ptviz.training import TrainConfig
from ptviz.ui import services

RACE = "compare/race.py"
ADDRESS = {"methods": "prompt-tuning,smop", "seeds": "2", "steps": "20"}


def texts(at) -> str:
    return " ".join(
        str(element.value) for kind in ("text", "caption", "markdown", "metric") for element in at.get(kind)
    )


@pytest.fixture
def run_of(store, make_run):
    """A finished run as the page would ask for it."""

    def make(method: str, seed: int, state: str = "finished"):
        run = make_run(state, method=method)
        config = RunConfig(method=method, training=TrainConfig(steps=20, seed=seed)).checked()
        from ptviz.runs.disk import write_whole
        from ptviz.runs.store import encoded

        write_whole(run.path / "config.json", encoded(config))
        return run

    return make


def test_an_empty_store_offers_to_train_all(page):
    at = page(RACE, **ADDRESS)
    assert not at.exception
    assert at.button(key="race-start").label == "Train 4 runs"
    assert "0 of 4 runs are here" in texts(at)


def test_old_runs_join_and_only_the_rest_is_trained(page, run_of, store):
    run_of("prompt-tuning", 0)
    run_of("smop", 0)
    at = page(RACE, **ADDRESS)
    assert not at.exception
    assert "2 of 4 runs are here" in texts(at)
    at.button(key="race-start").click().run()
    assert not at.exception
    queued = [s.config for s in store.list() if s.status.state == "queued"]
    assert {(c.method, c.training.seed) for c in queued} == {("prompt-tuning", 1), ("smop", 1)}
    assert "2 under way" in texts(at)
    at.button(key="race-stop").click().run()
    assert not [s for s in store.list() if s.status.state == "queued"]


@pytest.mark.parametrize("picture", ["Curves", "Side by side", "Against cost", "Seeds"])
def test_every_picture_is_shown(page, run_of, picture):
    for method in ("prompt-tuning", "smop"):
        for seed in (0, 1):
            run_of(method, seed)
    at = page(RACE, picture=picture, **ADDRESS)
    assert not at.exception
    assert not [b for b in at.button if b.key == "race-start"]
    assert "How to read it" in texts(at)


def test_no_method_and_all_methods(page):
    at = page(RACE, **ADDRESS)
    at.multiselect(key="methods").set_value([]).run()
    assert not at.exception
    assert "Choose at least one method" in texts(at)
    at.button(key="all-methods").click().run()
    assert at.query_params["methods"] in ("all", ["all"])
    assert not at.exception


def test_a_length_for_all_reaches_every_run(page, store):
    at = page(RACE, m="7", **ADDRESS)
    at.button(key="race-start").click().run()
    assert {s.config.knobs["m"] for s in store.list()} == {7}


def test_it_answers_at_once_with_500_runs(store):
    config = RunConfig(training=TrainConfig(steps=20)).checked()
    for seed in range(500):
        store.create(replace(config, training=replace(config.training, seed=seed)))
    wanted = race.lineup(["prompt-tuning", "smop"], range(3), RunConfig(training=TrainConfig(steps=20)))
    services.store().list()
    began = time.perf_counter()
    found = race.entries(services.store(), wanted)
    assert time.perf_counter() - began < 0.4
    assert [e.state for e in found] == ["stopped", "missing"] * 3
