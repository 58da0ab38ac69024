"""One estimate of time: by earlier runs here, by a measurement, or by the record scaled to this machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ptviz.engine import time_estimate
from ptviz.engine.measured_speed import MeasuredSpeed, load_measured_speed, measure_speed
from ptviz.engine.model_cache import ModelCache
from ptviz.engine.source_prompt_runs import source_run_configs
from ptviz.engine.time_estimate import UNKNOWN, estimate_each, estimate_time
from ptviz.runs import RunConfig, RunWriter, Store
from ptviz.training import TrainConfig, estimate_run
from ptviz.training.events import Finished

TREC = RunConfig("minilm-l6", "trec6", "prompt-tuning", {"m": 10}, TrainConfig(steps=200))
TEXT = RunConfig("smollm2-135m", "inflection", "prompt-tuning", {"m": 10}, TrainConfig(steps=60, batch=8))
Finish = Callable[..., None]


@pytest.fixture
def finish(store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Finish:
    """Store a finished run that took some seconds, on this machine or another."""
    monkeypatch.setenv("PTVIZ_CACHE", str(tmp_path / "cache"))

    def make(config: RunConfig, seconds: float, **environment: object) -> None:
        with RunWriter(store.create(config)) as writer:
            writer.begin(None)
            writer.write_environment(dict(environment))
            writer.write_event(Finished(0.8, 0.75, 0.6, 0.26, 0.38, 1, config.training.steps, seconds, 10.0))

    return make


def test_the_last_such_run_here_counts_and_scales_with_the_steps(store: Store, finish: Finish) -> None:
    finish(replace(TREC, training=TrainConfig(steps=100)), 50.0)
    found = estimate_time(store, [TREC])
    assert found.seconds == pytest.approx(100)
    assert found.basis == "Time as in the last such run on this machine."


def test_several_runs_are_estimated_each_by_itself(store: Store, finish: Finish) -> None:
    finish(TREC, 50.0)
    longer = replace(TREC, training=replace(TREC.training, steps=400))
    assert [one.seconds for one in estimate_each(store, [TREC, longer])] == pytest.approx([50.0, 100.0])
    assert estimate_time(store, [TREC, longer]).seconds == pytest.approx(150.0)
    assert estimate_each(store, []) == []


def test_a_run_of_another_machine_does_not_count(store: Store, finish: Finish) -> None:
    finish(TREC, 9999.0, cpus=4096)
    assert "two-core machine" in estimate_time(store, [TREC]).basis


def test_another_method_scales_the_recorded_speed(store: Store, finish: Finish) -> None:
    recorded = {
        name: estimate_run(name, "minilm-l6", "trec6", TREC.training, {}).seconds for name in ("prompt-tuning", "dept")
    }
    finish(TREC, 3 * recorded["prompt-tuning"])
    found = estimate_time(store, [replace(TREC, method="dept", hyperparameters={})])
    assert found.seconds == pytest.approx(3 * recorded["dept"])
    assert "scaled by earlier runs" in found.basis


def test_source_prompts_that_are_missing_are_in_the_time_and_counted_once(store: Store, finish: Finish) -> None:
    config = RunConfig("minilm-l6", "trec6", "attempt", {}, TrainConfig(steps=200))
    attempt = [replace(config, training=TrainConfig(steps=200, seed=seed)) for seed in (0, 1)]
    slots = estimate_run("attempt", "minilm-l6", "trec6", config.training, {}).slots
    sources = source_run_configs(attempt[0].checked(), slots)
    one = estimate_time(store, attempt[:1])
    assert one.source_prompts == len(sources) >= 2
    alone = estimate_run("attempt", "minilm-l6", "trec6", config.training, {}, targets=1).seconds
    each = estimate_time(store, sources[:1]).seconds
    assert one.seconds == pytest.approx(alone + len(sources) * each)
    both = estimate_time(store, attempt)
    assert both.source_prompts == len(sources), "seeds share their source prompts"
    assert both.seconds == pytest.approx(one.seconds + alone)
    for source in sources:
        finish(source, 7.0)
    assert estimate_time(store, attempt[:1]).source_prompts == 0


def test_a_text_task_has_no_time_until_it_is_measured(
    store: Store, finish: Finish, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish(TREC, 10.0)
    assert estimate_time(store, [TEXT]) == time_estimate.TimeEstimate(None, UNKNOWN)
    monkeypatch.setattr(time_estimate, "load_measured_speed", lambda config: MeasuredSpeed(0.5, 0.25, 0.75))
    found = estimate_time(store, [TEXT])
    training = TEXT.training  # It evaluates after 0, 25, 50 and 60 updates.
    rows = 4 * training.validation_rows + 2 * training.test_rows
    assert found.seconds == pytest.approx(60 * 0.5 + rows * 0.25 + training.validation_rows * 0.75)
    assert "by a few steps" in found.basis


@pytest.mark.parametrize("method", ["prompt-tuning", "attempt"])
def test_a_measurement_trains_a_few_steps_and_is_saved(
    store: Store, table: Path, finish: Finish, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    config = RunConfig("tiny-decoder", str(table), method, {"m": 3}, TrainConfig(steps=10_000, batch=4))
    assert load_measured_speed(config) is None
    found = measure_speed(ModelCache(), config)
    assert 0 < found.step < 60
    assert found.example > 0
    assert found.baseline > 0
    assert load_measured_speed(config) == found
    assert estimate_time(store, [config]).seconds is not None
    assert store.list() == []
    assert load_measured_speed(replace(config, training=replace(config.training, batch=8))) is None


def test_a_measurement_ends_when_a_run_waits(table: Path) -> None:
    config = RunConfig("tiny-decoder", str(table), "prompt-tuning", {"m": 3}, TrainConfig(batch=4))
    with pytest.raises(ValueError, match="a run waits"):
        measure_speed(ModelCache(), config, lambda: True)
