"""A finished run played again: the page at a step, played, paused, sought, and never training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from ptviz.runs import Run
from ptviz.ui import replay
from tests.pages.run_pages import figures, settled, well

Page = Callable[..., AppTest]


class Clock:
    """A clock that stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(replay, "clock", clock)
    # The vectors of these runs fit no backbone: the map has a test of its own.
    monkeypatch.setattr(replay, "are_libraries_loaded", lambda: False)
    return clock


def shown_steps(at: AppTest, run: Run) -> list[int]:
    """The steps of the loss curve on the page."""
    return next(list(t["x"]) for t in figures(at)[f"{run.id}-curves"]["data"] if t["name"] == "loss of each batch")


def press(at: AppTest, key: str) -> AppTest:
    return well(next(button for button in at.button if button.key == key).click().run())


def metrics(at: AppTest) -> dict[str, str]:
    return {metric.label: metric.value for metric in at.metric}


def test_a_replay_says_what_it_is_and_starts_nothing(page: Page, make_run: Callable[..., Run], clock: Clock) -> None:
    run = make_run()
    before = {path.name: path.stat().st_mtime_ns for path in run.path.rglob("*")}
    at = well(page("train/watch.py", run=run.id, replay="20s"))
    assert "Replay of a finished run" in " ".join(m.value for m in at.markdown)
    assert {"Extend by these steps", "Stop", "Resume", "Start the branch"}.isdisjoint({b.label for b in at.button})
    assert shown_steps(at, run) == [0]
    assert before == {path.name: path.stat().st_mtime_ns for path in run.path.rglob("*")}


def test_it_plays_to_the_end_in_the_promised_time_and_stops(
    page: Page, make_run: Callable[..., Run], clock: Clock
) -> None:
    run = make_run()
    at = page("train/watch.py", run=run.id, replay="20s")
    clock.now += 10
    at = well(at.run())
    assert shown_steps(at, run) == list(range(11))
    assert metrics(at)["Step"] == "10 / 20"
    assert metrics(at)["Test"] == "—"
    clock.now += 10.01
    at = well(at.run())
    assert shown_steps(at, run) == list(range(21))
    assert metrics(at)["Test"] == "75.0%"
    assert "Play" in [button.label for button in at.button]
    assert at.query_params["step"] in ("20", ["20"])
    assert shown_steps(press(at, "replay-play"), run) == [0]  # from the start again


def test_its_own_speed_is_that_of_the_training(page: Page, make_run: Callable[..., Run], clock: Clock) -> None:
    run = make_run()  # ten steps per second
    at = page("train/watch.py", run=run.id, replay="1x")
    clock.now += 0.55
    assert shown_steps(well(at.run()), run) == list(range(6))
    at = page("train/watch.py", run=run.id, replay="10x")
    clock.now += 0.105
    assert shown_steps(well(at.run()), run) == list(range(11))


def test_another_speed_goes_on_from_the_same_step(page: Page, make_run: Callable[..., Run], clock: Clock) -> None:
    run = make_run()
    at = page("train/watch.py", run=run.id, replay="20s")
    clock.now += 10
    at = well(at.run())
    at.segmented_control(key="replay-speed").set_value("1x").run()
    assert shown_steps(at, run) == list(range(11))
    clock.now += 0.25
    assert shown_steps(well(at.run()), run) == list(range(13))
    assert at.query_params["replay"] in ("1x", ["1x"])


def test_it_is_paused_and_stepped(page: Page, make_run: Callable[..., Run], clock: Clock) -> None:
    run = make_run()
    at = page("train/watch.py", run=run.id, replay="20s")
    clock.now += 5
    at = press(at.run(), "replay-play")
    assert shown_steps(at, run) == list(range(6))
    clock.now += 100
    assert shown_steps(well(at.run()), run) == list(range(6))  # time does not matter while it is paused
    assert shown_steps(press(at, "replay-forward"), run) == list(range(7))
    press(at, "replay-back")
    assert shown_steps(press(at, "replay-back"), run) == list(range(5))
    assert at.query_params["step"] in ("4", ["4"])


def problems(at: AppTest) -> list[str]:
    """Return what is said of the address."""
    return [text.value for text in at.text if "expected" in text.value]


@pytest.mark.parametrize(("step", "last"), [("7", 7), ("0", 0), ("999", 20), ("20", 20)])
def test_an_address_opens_paused_at_its_step(
    page: Page, make_run: Callable[..., Run], clock: Clock, step: str, last: int
) -> None:
    run = make_run()
    at = page("train/watch.py", run=run.id, replay="10x", step=step)
    refused = ["step: expected a whole number from 0 to 20; got 999. Step 20 is used instead"] if step == "999" else []
    assert problems(at) == refused
    clock.now += 3
    at.run()
    assert not at.exception
    assert shown_steps(at, run) == list(range(last + 1))


@pytest.mark.parametrize("address", [{"replay": "fast"}, {"replay": "20s", "step": "x" * 500}, {"replay": ""}])
def test_a_wrong_address_plays_from_the_start(
    page: Page, make_run: Callable[..., Run], clock: Clock, address: dict[str, Any]
) -> None:
    run = make_run()
    at = page("train/watch.py", run=run.id, **address)
    assert not at.exception
    assert (
        problems(at)
        == {
            "fast": ["replay: expected one of 1x, 10x, 20s; got fast. 20s is used instead"],
            "20s": [f"step: expected a whole number from 0 to 20; got {79 * 'x'}…. Step 0 is used instead"],
            "": [],
        }[address["replay"]]
    )
    assert shown_steps(at, run) == [0]


@pytest.mark.parametrize("state", ["running", "stopped", "failed", "queued"])
def test_only_a_finished_run_is_replayed(page: Page, make_run: Callable[..., Run], state: str) -> None:
    run = make_run(state)
    at = page("train/watch.py", run=run.id, replay="20s")
    assert not at.exception
    assert any("Only a finished run can be replayed" in caption.value for caption in at.caption)
    assert "replay-play" not in [button.key for button in at.button]


def test_the_page_of_a_finished_run_offers_the_replay(page: Page, make_run: Callable[..., Run], clock: Clock) -> None:
    run = make_run()
    at = press(page("train/watch.py", run=run.id), "replay-run")
    assert shown_steps(at, run) == [0]
    assert at.query_params["replay"] in ("20s", ["20s"])
    at = page("train/watch.py", run=make_run("stopped").id)
    assert "replay-run" not in [button.key for button in at.button]


def test_the_prompt_among_the_words_is_that_of_the_step(
    page: Page, trained: Callable[..., Run], answered: None, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "are_libraries_loaded", lambda: True)
    run = trained()
    first, last = (
        figures(well(settled(page("train/watch.py", run=run.id, replay="20s", step=step))))[f"{run.id}-map"]
        for step in ("0", "4")
    )
    assert first["data"][0] == last["data"][0]  # the words stay where they are
    assert first["data"][-1] != last["data"][-1]
