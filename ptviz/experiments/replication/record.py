"""Record of the studies' measured values in one file: only missing runs are trained.

The key of a value is a hash of the run's settings and the metric: when a study changes, only the changed part is
measured again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Required, TypedDict

from ptviz import paths
from ptviz.engine.model_cache import ModelCache
from ptviz.engine.train_job import EventCallback, StopCheck, execute_run
from ptviz.experiments import planned_runs
from ptviz.experiments.replication.metrics import GROUP_METRICS, METRICS
from ptviz.experiments.replication.study import Arm, ReplicationStudy
from ptviz.experiments.replication.verdict import StudyResult, evaluate_study
from ptviz.methods.hyperparameters import STORED_KEY
from ptviz.runs.config import RunConfig
from ptviz.runs.environment import source_commit
from ptviz.runs.file_lock import write_lock
from ptviz.runs.prepare_resume import prepare_resume
from ptviz.runs.run import Run
from ptviz.runs.run_file_io import StoreError, atomic_write
from ptviz.runs.store import Store
from ptviz.validation import Count, InvalidData, StepCount, convert_json, decode_json

TUNING_SEED = 0
"""The seed that chose the default learning rates without a tuned record: it is not reported."""
DEFAULT_SEEDS = (1, 2, 3, 4, 5)


@dataclass(frozen=True)
class MissingRun:
    """A run that a study needs, and the metrics to measure on it.

    ``group_metrics`` are measured on this run and those of ``group`` together, and recorded with this run.
    """

    config: RunConfig
    metrics: tuple[str, ...]
    group: tuple[RunConfig, ...] = ()
    group_metrics: tuple[str, ...] = ()


class StudyRecord:
    """Measured values by settings and metric: the user's own file first, then the record in the package."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path if path is not None else paths.data_dir() / "findings.json"
        shipped = files("ptviz.experiments.replication") / "record.json"
        self._shipped = _parse_record(shipped.read_text()) if shipped.is_file() else {}
        self._own = self._read()
        self._seeds = {int(entry["seed"]) for entry in (*self._own.values(), *self._shipped.values())}

    def _read(self) -> dict[str, Mapping[str, Any]]:
        return _parse_record(self.path.read_text()) if self.path.exists() else {}

    def get_value(self, config: RunConfig, metric: str) -> float | None:
        """Return the measured value of a run, or None."""
        key = _value_key(config, metric)
        entry = self._own.get(key) or self._shipped.get(key)
        return None if entry is None else float(entry["value"])

    def save_value(self, config: RunConfig, metric: str, value: float, run: Run) -> None:
        """Write a value to the file, beside those that other processes have written since.

        Raises:
            StoreError: if the file is damaged or cannot be written.
        """
        training = config.training
        measured = {
            "method": config.method, "task": config.task, "backbone": config.backbone,
            STORED_KEY: dict(config.hyperparameters), "seed": training.seed,
            "steps": training.steps, "lr": run.environment().get("lr", training.lr),
            "metric": metric, "value": value, "seconds": run.status().seconds, "run": run.id, "commit": source_commit(),
        }  # fmt: skip
        with write_lock(self.path):
            try:
                self._own = {**self._own, **self._read(), _value_key(config, metric): measured}
            except InvalidData as error:
                raise StoreError(f"{self.path}: {error}") from error
            lines = ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in sorted(self._own.items()))
            atomic_write(self.path, f"{{\n{lines}\n}}\n".encode())
        self._seeds |= {int(entry["seed"]) for entry in self._own.values()}

    def values_by_seed(self, study: ReplicationStudy, arm: Arm, metric: str) -> dict[int, tuple[float, ...]]:
        """Return an arm's values by seed, for the reported seeds whose every setting was measured."""
        found: dict[int, tuple[float, ...]] = {}
        for seed in sorted(self._seeds - {TUNING_SEED}):
            configs = _known_configs(study, arm, seed)
            # What all settings of an arm gave together is recorded with the first of them.
            values = [self.get_value(config, metric) for config in configs[: 1 if metric in GROUP_METRICS else None]]
            if values and None not in values:
                found[seed] = tuple(value for value in values if value is not None)
        return found

    def evaluate(self, study: ReplicationStudy) -> StudyResult:
        """Evaluate a study with the values measured so far."""
        return evaluate_study(study, lambda arm, metric: self.values_by_seed(study, arm, metric))

    def list_missing(self, study: ReplicationStudy, seeds: tuple[int, ...] = DEFAULT_SEEDS) -> tuple[MissingRun, ...]:
        """Return the runs that must be trained or measured for a study.

        Raises:
            ValueError: if this version lacks a method or hyperparameter that it needs.
        """
        wanted: dict[str, tuple[RunConfig, list[str]]] = {}
        groups: list[MissingRun] = []
        for seed in seeds:
            for arm, metric in study.list_measurements():
                configs = study.run_configs(arm, seed)
                if metric in GROUP_METRICS:
                    if self.get_value(configs[0], metric) is None:
                        groups.append(MissingRun(configs[0], (), configs[1:], (metric,)))
                    continue
                for config in configs:
                    if self.get_value(config, metric) is None:
                        wanted.setdefault(config.training_fingerprint, (config, []))[1].append(metric)
        single = (MissingRun(config, tuple(dict.fromkeys(metrics))) for config, metrics in wanted.values())
        return (*single, *groups)

    def record_finished(self, studies: Iterable[ReplicationStudy], store: Store) -> int:
        """Measure finished runs of the store that studies still need; return how many values were written.

        Nothing is trained and no backbone is loaded. A run that cannot be measured is left out.

        Raises:
            StoreError: if the record cannot be written.
        """
        missing, count = [one for study in studies for one in self.list_missing(study)], 0
        planned = planned_runs.find_runs(store, [one.config for one in missing]) if missing else ()
        for wanted, entry in zip(missing, planned, strict=True):
            if entry.state != "finished" or entry.run is None:
                continue
            run = store.get(entry.run)
            for metric in wanted.metrics:
                if self.get_value(wanted.config, metric) is not None:  # Two studies may need the same run.
                    continue
                try:
                    value = METRICS[metric](run, ModelCache())
                except StoreError:
                    continue
                self.save_value(wanted.config, metric, value, run)
                count += 1
            count += self._record_group(wanted, run, store)
        return count

    def _record_group(self, wanted: MissingRun, run: Run, store: Store) -> int:
        """Measure what a run and its group gave together, if all are finished; return how many values were written."""
        if not wanted.group_metrics:
            return 0
        others = planned_runs.find_runs(store, wanted.group)
        if any(entry.state != "finished" or entry.run is None for entry in others):
            return 0
        runs, count = [run, *(store.get(str(entry.run)) for entry in others)], 0
        for metric in wanted.group_metrics:
            if self.get_value(wanted.config, metric) is None:
                self.save_value(wanted.config, metric, GROUP_METRICS[metric](runs), run)
                count += 1
        return count

    def measure_missing(
        self,
        missing: tuple[MissingRun, ...],
        store: Store,
        model_cache: ModelCache | None = None,
        on_event: EventCallback | None = None,
        should_stop: StopCheck | None = None,
        on_start: Callable[[Run], None] | None = None,
    ) -> Iterator[Run]:
        """Train and measure one run after another in the store, and yield each when it is done.

        A finished run with the same settings is reused; a stopped one is resumed.

        Raises:
            StoreError: if a run did not finish, with the reason.
        """
        model_cache = model_cache or ModelCache()
        for wanted in missing:
            run = _finish_run(store, wanted.config, model_cache, on_event, should_stop, on_start)
            if run is None:
                return
            for metric in wanted.metrics:
                self.save_value(wanted.config, metric, METRICS[metric](run, model_cache), run)
            if wanted.group_metrics:
                for config in wanted.group:
                    if _finish_run(store, config, model_cache, on_event, should_stop, on_start) is None:
                        return
                self._record_group(wanted, run, store)
            yield run


def _finish_run(
    store: Store,
    config: RunConfig,
    model_cache: ModelCache,
    on_event: EventCallback | None,
    should_stop: StopCheck | None,
    on_start: Callable[[Run], None] | None,
) -> Run | None:
    """Return the finished run of a config, trained if needed; None if training was stopped."""
    entry = planned_runs.find_runs(store, [config])[0]
    if entry.state in ("queued", "running", "stopping"):
        raise StoreError(f"run {entry.run} is {entry.state} in another process: wait for it or stop it, and try again")
    is_new = entry.run is None or entry.state == "failed"
    run = store.create(entry.config) if is_new else store.get(str(entry.run))
    if entry.state == "finished":
        return run
    if on_start is not None:
        on_start(run)
    if entry.state == "stopped":
        prepare_resume(run)
    execute_run(run.path, model_cache, on_event, should_stop)
    status = run.status()
    if status.state == "stopped":
        return None
    if status.state != "finished":
        raise StoreError(f"run {run.id} {status.state}: {status.reason}")
    return run


def _known_configs(study: ReplicationStudy, arm: Arm, seed: int) -> tuple[RunConfig, ...]:
    with suppress(ValueError):  # This version may lack a method or hyperparameter.
        return study.run_configs(arm, seed)
    return ()


def _value_key(config: RunConfig, metric: str) -> str:
    return hashlib.sha256(f"{config.training_fingerprint} {metric}".encode()).hexdigest()[:16]


def _parse_record(text: str) -> dict[str, Mapping[str, Any]]:
    """Parse a record file.

    Raises:
        InvalidData: if it is damaged or not a record.
    """
    try:
        found = decode_json(text.encode(), dict[str, dict[str, Any]], non_finite=True)
        for key, measured in found.items():
            _check_measured(key, measured)
    except ValueError as error:
        raise InvalidData(
            f"the record of findings is damaged ({error}); restore a complete copy, or delete it to start again"
        ) from error
    return {**found}


class _Measured(TypedDict, total=False):
    value: Required[float]
    seed: Required[Count]
    steps: StepCount
    lr: float | None


def _check_measured(key: str, measured: dict[str, Any]) -> None:
    try:
        convert_json(measured, _Measured)
    except InvalidData as error:
        raise InvalidData(f"{key}: {error}") from None
