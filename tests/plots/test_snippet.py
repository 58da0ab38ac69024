"""The snippet under a figure is the very call that drew it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest
from hypothesis import HealthCheck, given, settings

import ptviz
from ptviz.figures.diagrams.scene import Scene
from ptviz.plots import plot_run_comparison, plot_training
from ptviz.plots.alt_text import alt_of, with_alt
from ptviz.plots.snippet import call_snippet, training_snippet
from ptviz.runs import Run, RunConfig, Store, StoreError
from ptviz.training import TrainConfig
from tests.runs.test_config import configs


@pytest.fixture
def run() -> Run:
    return Store().create(RunConfig(name="one run"))


def plot_anything(
    name: str, *, tokens: tuple[int, ...] = (), metric: str = "cosine", limit: float | None = None, answer: Any = None
) -> go.Figure:
    raise AssertionError("a snippet is written without drawing")


def plot_drawing(name: str) -> Scene:
    raise AssertionError("a snippet is written without drawing")


def last_call(snippet: str) -> str:
    return snippet.splitlines()[-2]


def test_a_run_is_written_as_a_look_up(run: Run):
    assert call_snippet(plot_training, run, smoothing=0.5) == (
        "from ptviz.plots import plot_training\n"
        "from ptviz.runs import Store\n\n"
        f'figure = plot_training(Store().get("{run.id}"), smoothing=0.5)\n'
        "figure.show()"
    )


def test_defaults_and_what_is_computed_again_are_left_out():
    snippet = call_snippet(plot_anything, "x", tokens=[], metric="cosine", answer={"weights": [1.0]})
    assert last_call(snippet) == 'figure = plot_anything("x")'
    assert last_call(call_snippet(plot_anything, "x", metric="L2")) == 'figure = plot_anything("x", metric="L2")'


def test_plain_values_survive_writing():
    hostile = 'quote " backslash \\ newline \n 日本'
    snippet = call_snippet(plot_anything, hostile, tokens=frozenset({3, 1}), limit=np.float64(0.5))
    found: dict[str, Any] = {}
    source = snippet.replace("from ptviz.plots import plot_anything", "").replace("figure.show()", "")
    exec(source, {"plot_anything": lambda name, **options: found.update(name=name, **options)})
    assert found == {"name": hostile, "tokens": (1, 3), "limit": 0.5}


def test_an_infinite_value_survives_writing():
    assert (
        last_call(call_snippet(plot_anything, "x", limit=np.inf)) == 'figure = plot_anything("x", limit=float("inf"))'
    )


def test_what_cannot_be_written_is_named():
    with pytest.raises(TypeError, match="argument 'limit': expected a run or a plain value, got Figure"):
        call_snippet(plot_anything, "x", limit=go.Figure())


def test_a_drawing_is_written_to_a_file():
    assert call_snippet(plot_drawing, "dpt").splitlines() == [
        "from pathlib import Path",
        "",
        "from ptviz.plots import plot_drawing",
        "",
        'drawing = plot_drawing("dpt")',
        'Path("drawing.svg").write_text(drawing.to_svg(), encoding="utf-8")',
    ]


@pytest.mark.parametrize("count", [0, 1, 2])
def test_any_number_of_runs(count: int, monkeypatch: pytest.MonkeyPatch):
    runs = [Store().create(RunConfig(name=f"run {i}")) for i in range(count)]
    figure = plot_run_comparison(runs)
    assert len(figure.data) == 2 * count, "a line of the score and one of the loss for each run"
    assert alt_of(figure).startswith("Validation accuracy and smoothed training loss over steps.")
    monkeypatch.setattr(go.Figure, "show", lambda self: None)
    space: dict[str, Any] = {}
    exec(call_snippet(plot_run_comparison, runs), space)
    assert space["figure"].to_json() == figure.to_json()


def test_a_figure_carries_its_words(run: Run):
    assert alt_of(go.Figure()) == ""
    assert alt_of(with_alt(go.Figure(), "Two bars.")) == "Two bars."
    assert alt_of(plot_training(run)) == "Training curves: no step has been made yet."
    assert plot_training(run.id).to_json() == plot_training(run).to_json()


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(configs)
def test_the_script_of_a_run_trains_its_config(config: RunConfig):
    trained: list[RunConfig] = []
    space = {"train_and_save": trained.append, "print": str}
    source = training_snippet(config).replace("from ptviz import train_and_save\n", "")
    exec(source.replace("print(run.status())", ""), space)
    assert trained == [replace(config, planned=())]


def test_the_script_names_only_what_was_changed():
    config = RunConfig(
        method="smop", hyperparameters={"k": 8}, training=TrainConfig(steps=300, planned_steps=100), planned=(100, 200)
    )
    assert training_snippet(config.checked()) == (
        "# made in parts: planned for 100, then 200 steps, extended to 300\n"
        "from ptviz import train_and_save\n"
        "from ptviz.runs import RunConfig\n"
        "from ptviz.training import TrainConfig\n\n"
        "run = train_and_save(\n"
        '    RunConfig(method="smop", hyperparameters={"k": 8}, training=TrainConfig(steps=300)),\n'
        ")\n"
        "print(run.status())"
    )


def test_a_run_that_fails_raises_its_reason():
    with pytest.raises(StoreError, match=r"failed: .*nowhere"):
        ptviz.train_and_save(RunConfig("tiny-encoder", "/nowhere.csv"))
