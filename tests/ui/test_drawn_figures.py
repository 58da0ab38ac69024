"""A figure of a run that has ended is drawn once, and again when a file of the run or an argument changes."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import plotly.graph_objects as go
import pytest

from ptviz.profanity import mask_words
from ptviz.runs import Run, RunConfig, RunWriter, Store
from ptviz.runs.writer import write_status
from ptviz.training import Event
from ptviz.ui.components.drawn_figures import DrawnFigure, draw_figure
from tests.fake_runs import config, events, store

__all__ = ["config", "events", "store"]

DRAWN: list[tuple[Any, ...]] = []


def plot(run: Run, *args: Any, **options: Any) -> go.Figure:
    """Draw a figure that says what it was given; count the calls."""
    DRAWN.append((run.id, args, options))
    return go.Figure(layout={"title": {"text": f"{mask_words(['shit'])} {args} {options}"}})


@pytest.fixture
def ended(store: Store, config: RunConfig, events: list[Event]) -> Run:
    DRAWN.clear()
    run = store.create(config)
    with RunWriter(run) as writer:
        writer.begin(None)
        for event in events:
            writer.write_event(event)
    return run


def draw(run: Run, *args: Any, masks: bool = True, **options: Any) -> DrawnFigure:
    return draw_figure(plot, (run, *args), options, masks)


def test_the_same_call_draws_once(ended: Run) -> None:
    first = draw(ended, "spectrum", step=3, highlight={1, 2}, index={"S": 0})
    assert draw(Run(ended.path), "spectrum", step=3, highlight={2, 1}, index={"S": 0}) == first
    assert len(DRAWN) == 1
    assert first.profane_words == 1


@pytest.mark.parametrize("other", [{"step": 4}, {"step": 3.0}, {"step": None}, {"step": "3"}, {"masks": False}])
def test_another_argument_draws_again(ended: Run, other: dict[str, Any]) -> None:
    first = draw(ended, step=3)
    assert draw(ended, **{"step": 3, **other}) != first
    assert len(DRAWN) == 2


def test_a_changed_file_draws_again(ended: Run) -> None:
    draw(ended)
    later = ended.path.stat().st_mtime + 5
    os.utime(ended.path / "events.jsonl", (later, later))
    draw(ended)
    assert len(DRAWN) == 2


def test_a_run_that_is_trained_is_always_drawn(ended: Run) -> None:
    write_status(ended.path, replace(ended.status(), state="queued"))
    draw(ended)
    draw(ended)
    assert len(DRAWN) == 2


@pytest.mark.parametrize("argument", [list(range(1000)), object(), lambda: None])
def test_results_among_the_arguments_are_always_drawn(ended: Run, argument: Any) -> None:
    draw(ended, argument)
    draw(ended, argument)
    assert len(DRAWN) == 2
