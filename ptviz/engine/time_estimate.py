"""Estimate how long runs take on this machine: those to be trained, and the source prompts that come first.

A run of the store on the same task, method and batches is the best measure. Without one, a measurement of a few steps
on this machine; then the recorded speed of the method, scaled by how runs here compare with the record.
"""

from __future__ import annotations

import hashlib
import json
import math
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict

from ptviz.engine.model_cache import ModelCache
from ptviz.engine.source_prompt_runs import find_source_run, source_run_configs
from ptviz.methods import list_methods
from ptviz.paths import cache_dir
from ptviz.runs.config import RunConfig, with_absolute_paths
from ptviz.runs.environment import machine_facts
from ptviz.runs.run_file_io import StoreError, atomic_write
from ptviz.runs.store import RunSummary, Store
from ptviz.tasks import named_task
from ptviz.training import Baselines, Evaluated, RunEstimate, StepCompleted, TrainConfig
from ptviz.training.source_prompt_config import SOURCE_METHOD, source_hyperparameters
from ptviz.validation import Duration, InvalidData, decode_json

_MEASURED_STEPS, _MEASURED_ROWS = 4, 16
"""Updates of a measurement, of which the first is left out, and examples that are evaluated: of fewer that are written
together, each takes longer (8 on two cores: 1.8 times as long as 60, 16: 1.3 times)."""
_COMPARED_RUNS = 12
"""Newest runs here that are compared with the record of their methods' speed."""
_BY_MEASUREMENT = "Speed measured on this machine by a few steps."
UNKNOWN = "This machine's speed on this task is not known yet."


@dataclass(frozen=True)
class TimeEstimate:
    """Seconds of training, None where they are not known; where they come from; and the source prompts in them."""

    seconds: float | None
    basis: str
    source_prompts: int = 0


class MeasuredSpeed(Struct, frozen=True):
    """Seconds of one update, of evaluating one example, and of all baselines of one example, measured here."""

    step: Duration
    example: Duration
    baseline: Duration


def estimate_time(store: Store, configs: Iterable[RunConfig]) -> TimeEstimate:
    """Estimate the training time of runs, with the source prompts that the store does not have yet, each once.

    Raises:
        ValueError: for an unknown method or a bad hyperparameter.
    """
    return _estimate_together(_KnownRuns(store), configs)


def estimate_each(store: Store, configs: Iterable[RunConfig]) -> list[TimeEstimate]:
    """Estimate each of several runs by itself; the store is read once.

    Raises:
        ValueError: for an unknown method or a bad hyperparameter.
    """
    known = _KnownRuns(store)
    return [_estimate_together(known, [config]) for config in configs]


def _estimate_together(known: _KnownRuns, configs: Iterable[RunConfig]) -> TimeEstimate:
    sources: dict[str, tuple[RunConfig, RunConfig]] = {}  # Each with a run that needs it.
    parts: list[tuple[float | None, str]] = []
    for config in configs:
        config = config.checked()
        estimate = config.estimate()
        if list_methods()[config.method].needs_source_prompts:
            sources |= {one.training_fingerprint: (one, config) for one in source_run_configs(config, estimate.slots)}
        parts.append(known.estimate(config, estimate))
    missing = [(one, config) for one, config in sources.values() if not _is_finished(known.store, one)]
    parts += [known.estimate_source(one, config) for one, config in missing]
    times = [seconds for seconds, _ in parts if seconds is not None]
    if len(times) < len(parts):
        return TimeEstimate(None, UNKNOWN, len(missing))
    return TimeEstimate(sum(times), " ".join(dict.fromkeys(basis for _, basis in parts)), len(missing))


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


def _is_finished(store: Store, wanted: RunConfig) -> bool:
    found = find_source_run(store, wanted)
    return found is not None and found.status().state == "finished"


def _apply(speed: MeasuredSpeed, training: TrainConfig, estimate: RunEstimate, targets: int = 1) -> float:
    """Return the seconds of a run at a measured speed.

    Examples are scored before the first update, at every evaluation, and, those of the test, with the prompt and
    without; on each of several targets.
    """
    steps = sum(count for _, count in estimate.stages)
    evaluations = 1 + math.ceil(steps / training.evaluate_every)
    rows = evaluations * training.validation_rows + 2 * training.test_rows
    baselines = training.validation_rows * speed.baseline
    return steps * speed.step + targets * (rows * speed.example + baselines)


class _KnownRuns:
    """The finished runs of a store on this machine, newest first."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.finished = [run for run in store.list() if run.status.state == "finished" and run.status.seconds > 0]

    def estimate(self, config: RunConfig, estimate: RunEstimate) -> tuple[float | None, str]:
        """Return the seconds of one run, and where they come from."""
        for run in self._alike(config):
            if run.config.targets == config.targets:
                return self._scale(run, config), "Time as in the last such run on this machine."
        if (speed := load_measured_speed(config)) is not None:
            return _apply(speed, config.training, estimate, len(config.targets)), _BY_MEASUREMENT
        if len(config.targets) > 1 or generates_text(config):
            return None, UNKNOWN
        for run in self._alike(config):
            if not generates_text(run.config) and len(run.config.targets) == 1:
                return self._scale(run, config), "Time as in the last run of this method on this machine."
        if estimate.seconds is None:
            return None, UNKNOWN
        if self.machine_factor is None:
            return estimate.seconds, "Time as on the two-core machine of the recorded sweep."
        return estimate.seconds * self.machine_factor, "The recorded speed, scaled by earlier runs on this machine."

    def estimate_source(self, source: RunConfig, config: RunConfig) -> tuple[float | None, str]:
        """Return the seconds of a source prompt, if need be by the measurement of the run that needs it."""
        estimate = source.estimate()
        found = self.estimate(source, estimate)
        if found[0] is None and (speed := load_measured_speed(config)) is not None:
            return _apply(speed, source.training, estimate), _BY_MEASUREMENT
        return found

    def _alike(self, config: RunConfig) -> Iterator[RunSummary]:
        """Yield the runs of the same setting on a machine like this one; only those asked for are read from disk."""
        wanted = _setting(config)
        return (run for run in self.finished if _setting(run.config) == wanted and self._was_here(run))

    def _scale(self, run: RunSummary, config: RunConfig) -> float:
        return float(run.status.seconds) * config.training.steps / run.config.training.steps

    def _was_here(self, run: RunSummary) -> bool:
        """Return whether a run was trained on a machine like this one; an imported bundle may come from another."""
        with suppress(StoreError, OSError):
            found = self.store.get(run.id).environment()
            return all(found.get(name, value) == value for name, value in self._machine.items())
        return False

    @cached_property
    def _machine(self) -> dict[str, Any]:
        return machine_facts()

    @cached_property
    def machine_factor(self) -> float | None:
        """The median of time here over time by the record, of the newest runs with a record; None without any."""
        ratios: list[float] = []
        for run in self.finished:
            if len(ratios) == _COMPARED_RUNS:
                break
            config = run.config
            if config.method in list_methods() and len(config.targets) == 1 and not generates_text(config):
                with suppress(ValueError):
                    recorded = config.estimate().seconds
                    if recorded and self._was_here(run):
                        ratios.append(float(run.status.seconds) / recorded)
        return statistics.median(ratios) if ratios else None


def _setting(config: RunConfig) -> tuple[object, ...]:
    return config.backbone, config.method, config.training.batch, config.training.dtype


def generates_text(config: RunConfig) -> bool:
    """Return whether the answers of a run's task are texts, or each example's choices: evaluation takes longer then."""
    if config.table.target is not None or config.table.choices:
        return True
    task = named_task(config.task)
    return task is not None and task.kind != "classification"
