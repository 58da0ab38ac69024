"""The speed of training on this machine: measured by a few steps, stored, and read again for estimates."""

from __future__ import annotations

import hashlib
import json
import statistics
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import asdict

from ptviz.methods import list_methods
from ptviz.paths import cache_dir
from ptviz.runs.config import RunConfig, with_absolute_paths
from ptviz.runs.run_file_io import atomic_write
from ptviz.training.events import Baselines, Evaluated, StepCompleted
from ptviz.training.source_prompts import SOURCE_METHOD, source_hyperparameters
from ptviz.validation import Duration, InvalidData, decode_json

if TYPE_CHECKING:
    from ptviz.engine.model_cache import ModelCache

_MEASURED_STEPS, _MEASURED_ROWS = 4, 16
"""Updates of a measurement, of which the first is left out, and examples that are evaluated: of fewer that are written
together, each takes longer (8 on two cores: 1.8 times as long as 60, 16: 1.3 times)."""


class MeasuredSpeed(Struct, frozen=True):
    """Seconds of one update, of evaluating one example, and of all baselines of one example, measured here."""

    step: Duration
    example: Duration
    baseline: Duration


def measure_speed(
    model_cache: ModelCache, config: RunConfig, should_stop: Callable[[], bool] = lambda: False
) -> MeasuredSpeed:
    """Train a few steps of a run on this machine, save their time for ``estimate_time`` and return it.

    A method with source tasks is measured by a plain prompt of its length, whose steps take about as long.
    ``should_stop`` is asked after each step and evaluation.

    Raises:
        ValueError: if the run cannot be trained, or the measurement was stopped.
        OSError: if the backbone or the task cannot be loaded, or the time not be saved.
    """
    config = config.checked()
    own = config.for_target(0)
    if list_methods()[own.method].uses_source_tasks:
        m = own.estimate().slots
        own = replace(own, method=SOURCE_METHOD, hyperparameters=source_hyperparameters(m), sources=None).checked()
    rows = min(_MEASURED_ROWS, own.training.validation_rows)
    training = replace(own.training, steps=_MEASURED_STEPS, validation_rows=rows, test_rows=2, patience=0, warmup=0.0)
    backbone, task = model_cache.backbone(own), model_cache.task(own)
    method = model_cache.backend.build_method(own, backbone, task)
    steps: list[float] = []
    baseline = example = last = 0.0
    began = time.perf_counter()
    for event in model_cache.backend.train(method, backbone, task, training, resume=None, baselines=None):
        now = time.perf_counter() - began
        if isinstance(event, StepCompleted):
            steps.append(now - last)
        elif isinstance(event, Baselines):
            baseline = (now - last) / rows
        elif isinstance(event, Evaluated):
            example = (now - last) / rows
        if len(steps) == _MEASURED_STEPS:
            break
        if should_stop():
            raise ValueError("the measurement was stopped: a run waits")
        last = now
    # The first step includes what is done once.
    found = MeasuredSpeed(statistics.median(steps[1:]), example, baseline)
    path = speed_file(config)
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(path, json.dumps(asdict(found)).encode())
    return found


def load_measured_speed(config: RunConfig) -> MeasuredSpeed | None:
    """Return the saved measurement of a run like this; None if there is none."""
    with suppress(OSError, InvalidData):
        return decode_json(speed_file(config).read_bytes(), MeasuredSpeed)
    return None


def speed_file(config: RunConfig) -> Path:
    """Return the file of the measurement of runs like this one, whatever their steps, seed and name."""
    config = with_absolute_paths(config)
    t = config.training
    hyperparameters = sorted((name, str(value)) for name, value in config.checked().hyperparameters.items())
    key = [config.backbone, config.device, config.method, hyperparameters, config.targets, t.batch, t.length, t.dtype]
    return cache_dir() / "speed" / f"{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]}.json"
