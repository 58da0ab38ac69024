"""Settings are plain data: they survive JSON, and bad ones are refused by name."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ptviz.training import Baselines, Evaluated, Event, Failed, Finished, StageStarted, StepCompleted, TrainConfig
from ptviz.training.events import Resumed, SourcePromptReady, decode_event, event_to_json

CONFIGS = st.builds(
    TrainConfig,
    steps=st.integers(1, 1_000_000),
    batch=st.integers(1, 4096),
    lr=st.none() | st.floats(1e-9, 100),
    optimiser=st.sampled_from(["adamw", "adafactor"]),
    schedule=st.sampled_from(["linear", "constant", "cosine"]),
    warmup=st.floats(0, 1),
    weight_decay=st.floats(0, 1),
    clip=st.floats(0, 1e6),
    seed=st.integers(0, 2**31 - 1),
    evaluate_every=st.integers(1, 1_000_000),
    snapshot_every=st.integers(1, 1_000_000),
    patience=st.integers(0, 1_000_000),
    shots=st.integers(0, 100_000),
    train_rows=st.integers(2, 10_000_000),
    validation_rows=st.integers(2, 1_000_000),
    test_rows=st.integers(2, 1_000_000),
    length=st.integers(4, 8192),
    dtype=st.sampled_from(["float32", "bfloat16"]),
)


@given(CONFIGS)
def test_settings_survive_json(config: TrainConfig) -> None:
    assert TrainConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


NUMBERS = ("steps", "batch", "evaluate_every", "snapshot_every", "train_rows", "validation_rows", "test_rows", "length")
SHARES = ("warmup", "weight_decay", "clip")
BAD: list[tuple[str, Any]] = [
    *[(name, value) for name in NUMBERS for value in (0, -1, 1.5, 2.0, "3", None, True, float("nan"), 10**9)],
    *[(name, value) for name in SHARES for value in (-0.1, 1e7, "0.1", None, True, float("nan"), float("inf"))],
    *[("seed", value) for value in (-1, 2**31, 0.5)],
    *[("lr", value) for value in (0, -0.1, 101, float("nan"), float("inf"), "fast", True)],
    *[(name, "best") for name in ("optimiser", "schedule", "dtype")],
    *[(name, None) for name in ("optimiser", "schedule", "dtype")],
]


@pytest.mark.parametrize(("name", "value"), BAD)
def test_bad_values_are_refused_by_name(name: str, value: Any) -> None:
    """Set without the constructor's type checks, which would refuse a wrong type first."""
    config = object.__new__(TrainConfig)
    for key, other in {**asdict(TrainConfig()), name: value}.items():
        object.__setattr__(config, key, other)
    with pytest.raises(ValueError, match=rf"^{name}: expected .*; got "):
        config.__post_init__()


@pytest.mark.parametrize(("name", "value"), [("steps", 0), ("lr", 101.0), ("schedule", "best"), ("length", 3)])
def test_bad_values_in_json_are_refused(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"^{name}: expected .*; got "):
        TrainConfig.from_json({**TrainConfig().to_json(), name: value})


def test_unknown_settings_are_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"unknown training setting learning_rate, stepz; expected steps, batch, lr"):
        TrainConfig.from_json({"stepz": 3, "learning_rate": 1})


def test_settings_cannot_be_changed_in_place() -> None:
    config = TrainConfig()
    with pytest.raises(AttributeError):
        config.steps = 3
    assert replace(config, steps=3).steps == 3


FLOATS = st.floats(-1e30, 1e30)
COUNTS = st.integers(0, 10**6)
SHARES, SECONDS, STAGES = st.floats(0, 1), st.floats(0, 1e9), st.integers(0, 20)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
EVENTS: dict[type[Event], tuple[st.SearchStrategy[Any], ...]] = {
    Baselines: (SHARES, SHARES, FLOATS),
    SourcePromptReady: (TEXTS, TEXTS, SHARES, st.booleans()),
    StageStarted: (STAGES, TEXTS, COUNTS),
    StepCompleted: (STAGES, COUNTS, FLOATS, FLOATS, FLOATS, SECONDS, st.lists(SHARES).map(tuple)),
    Evaluated: (STAGES, COUNTS, FLOATS, SHARES, st.booleans(), SECONDS),
    Finished: (SHARES, SHARES, FLOATS, SHARES, SHARES, COUNTS, COUNTS, SECONDS, FLOATS, TEXTS),
    Failed: (TEXTS, COUNTS),
    Resumed: (STAGES, COUNTS, COUNTS),
}


@pytest.mark.parametrize("kind", EVENTS)
@settings(max_examples=25)
@given(data=st.data())
def test_events_survive_json(kind: type[Event], data: st.DataObject) -> None:
    event = kind(*data.draw(st.tuples(*EVENTS[kind])))
    assert decode_event(json.dumps(event_to_json(event)).encode()) == event


def test_unknown_events_are_skipped_and_broken_ones_refused() -> None:
    assert decode_event(json.dumps({"event": "applause"}).encode()) is None
    assert decode_event(json.dumps({"event": "snapshot", "stage": 0, "step": 3}).encode()) is None
    with pytest.raises(ValueError, match="missing required field step"):
        decode_event(json.dumps({"event": "step", "stage": 0}).encode())


def test_planned_steps_keep_their_name_on_disk() -> None:
    config = TrainConfig(planned_steps=50)
    assert config.to_json()["begun"] == 50
    assert TrainConfig.from_json(config.to_json()) == config
