"""Estimate how long runs take on this machine: those to be trained, and the source prompts that come first.

A run of the store on the same task, method and batches is the best measure. Without one, a measurement of a few steps
on this machine; then the recorded speed of the method, scaled by how runs here compare with the record.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ptviz.engine.measured_speed import MeasuredSpeed, load_measured_speed
from ptviz.engine.source_prompt_runs import find_source_run, source_run_configs
from ptviz.methods import list_methods
from ptviz.runs.config import RunConfig
from ptviz.runs.environment import machine_facts
from ptviz.runs.run_file_io import StoreError
from ptviz.runs.store import RunSummary, Store
from ptviz.tasks import named_task
from ptviz.training.config import TrainConfig

if TYPE_CHECKING:
    from ptviz.training.run_estimate import RunEstimate

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
