"""Comparison of methods: several methods and seeds on one backbone and task; equal runs are reused."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptviz.analysis.comparison import RunResult
from ptviz.methods import list_methods
from ptviz.methods.hyperparameters import HyperparameterInfo
from ptviz.runs.config import RunConfig, with_absolute_paths
from ptviz.runs.run import Run
from ptviz.runs.run_file_io import FileSignature, StoreError, file_signature
from ptviz.runs.same_training import has_same_lr
from ptviz.runs.status import ACTIVE_STATES
from ptviz.runs.store import RunSummary, Store

if TYPE_CHECKING:
    from ptviz.executors.base import Executor

MISSING = "missing"
_CACHE_SIZE = 4096
"""Runs whose results are cached, so that a page with many runs is fast."""
_RESULT_FILES = ("config.json", "events.jsonl", "environment.json", "prompt.safetensors")
_STATE_PRIORITY = ("finished", *ACTIVE_STATES, "stopped", "failed", MISSING)
"""Of several runs of one config, the first state in this order is used."""


@dataclass(frozen=True)
class PlannedRun:
    """One run of a comparison: its config, the stored run (None if there is none), and its state."""

    config: RunConfig
    run: str | None = None
    state: str = MISSING


def parse_methods(methods: str) -> tuple[str, ...]:
    """Return the registry names of a comma-separated list; ``all`` is every method, in the survey's order.

    Raises:
        ValueError: if a method is unknown, naming it.
    """
    if methods.strip() == "all":
        return tuple(list_methods())
    names = [name.strip() for name in methods.split(",") if name.strip()]
    unknown = [name for name in names if name not in list_methods()]
    if unknown or not names:
        got = ", ".join(unknown) or "nothing"
        raise ValueError(f"methods: expected `all`, or some of {', '.join(list_methods())}; got {got}")
    return tuple(dict.fromkeys(names))


def make_configs(
    methods: Sequence[str], seeds: Iterable[int], base: RunConfig, hyperparameters: Mapping[str, Any] | None = None
) -> tuple[RunConfig, ...]:
    """Return the configs of a comparison, ordered by seed and then by method.

    ``base`` sets backbone, task and training; each method gets those ``hyperparameters`` that it has.

    Raises:
        ValueError: for an unknown method, a bad hyperparameter, or one that none of the methods has.
    """
    hyperparameters = hyperparameters or {}
    known = {name for method in methods for name in _hyperparameters(method)}
    if unknown := [name for name in hyperparameters if name not in known]:
        raise ValueError(f"unknown hyperparameter {', '.join(unknown)}: none of these methods has it")
    configs = []
    for seed in seeds:
        for method in methods:
            own = {name: value for name, value in hyperparameters.items() if name in _hyperparameters(method)}
            training = replace(base.training, seed=seed)
            config = replace(base, method=method, hyperparameters=own, training=training)
            configs.append(with_absolute_paths(config).checked())
    return tuple(configs)


def comparison_command(configs: Sequence[RunConfig]) -> str:
    """Return the shell command that makes the comparison of ``make_configs``, quoted for pasting."""
    methods = dict.fromkeys(config.method for config in configs)
    base, seeds = configs[0], {config.training.seed for config in configs}
    names = "all" if set(methods) == set(list_methods()) else ",".join(methods)
    words = ["ptviz", "compare", "--methods", names, "--seeds", str(len(seeds))]
    words += ["--backbone", base.backbone, "--task", base.task, "--steps", str(base.training.steps)]
    changed = {name: value for config in configs for name, value in config.changed_hyperparameters().items()}
    for name, value in changed.items():
        words += ["--set", f"{name}={value}"]
    return shlex.join([*words, *base.table_flags()])


def _hyperparameters(method: str) -> Mapping[str, HyperparameterInfo]:
    if method not in list_methods():
        raise ValueError(f"unknown method {method!r}; expected one of {', '.join(list_methods())}")
    return list_methods()[method].hyperparameters


def find_runs(
    store: Store, configs: Iterable[RunConfig], recorded: Iterable[RunSummary] = ()
) -> tuple[PlannedRun, ...]:
    """Return the stored run for each config: the most advanced run of an equal config, the newest of several.

    A config without a stored run gets one of the ``recorded`` runs, if these are given.

    Raises:
        StoreError: if the folder of runs cannot be read.
    """
    listed = tuple(configs)
    found = _find_among(store, listed, store.list())
    others = _find_among(store, listed, recorded)
    return tuple(own if own.run is not None else other for own, other in zip(found, others, strict=True))


def _find_among(store: Store, configs: Sequence[RunConfig], runs: Iterable[RunSummary]) -> tuple[PlannedRun, ...]:
    wanted = {_coarse_key(config) for config in configs}
    candidates: dict[str, list[RunSummary]] = {}
    for summary in runs:
        if _coarse_key(summary.config) in wanted:
            with suppress(ValueError):  # A run of another version, whose hyperparameters this one does not know.
                candidates.setdefault(summary.config.training_fingerprint, []).append(summary)
    return tuple(_find_run(store, config, candidates.get(config.training_fingerprint, [])) for config in configs)


def _coarse_key(config: RunConfig) -> tuple[Any, ...]:
    """Return a key that is cheap to compare, and equal where the fingerprints are equal."""
    training = config.training
    return config.method, config.targets, config.backbone, training.seed, training.steps, training.batch


def _find_run(store: Store, config: RunConfig, candidates: list[RunSummary]) -> PlannedRun:
    if not candidates:
        return PlannedRun(config)
    equal = [summary for summary in candidates if has_same_lr(store, summary, config)]
    # Stable: within one state the newest stays first, as the store lists them.
    best = sorted(equal, key=lambda summary: _STATE_PRIORITY.index(summary.status.state))
    return PlannedRun(config, best[0].id, best[0].status.state) if best else PlannedRun(config)


def start_runs(executor: Executor, found: Iterable[PlannedRun]) -> tuple[PlannedRun, ...]:
    """Queue missing and failed runs, resume stopped ones, and return the updated entries.

    Raises:
        ValueError: if a config is wrong.
        StoreError: if the folder cannot be written, or the disk is full.
    """
    listed = tuple(found)
    executor.check_submissions([entry.config for entry in listed if entry.state in (MISSING, "failed")])
    return tuple(_start_run(executor, entry) for entry in listed)


def _start_run(executor: Executor, entry: PlannedRun) -> PlannedRun:
    if entry.state == "stopped" and entry.run is not None:
        try:
            return replace(entry, run=executor.resume(entry.run).id, state="queued")
        except StoreError:  # It was resumed or deleted in the meantime.
            return find_runs(executor.store, [entry.config])[0]
    if entry.state in (MISSING, "failed"):
        return replace(entry, run=executor.submit(entry.config).id, state="queued")
    return entry


def refresh(store: Store, found: Iterable[PlannedRun]) -> tuple[PlannedRun, ...]:
    """Return the entries with the current states of their runs; a deleted run becomes missing."""
    updated = []
    for entry in found:
        if entry.run is None or entry.state == "finished":
            updated.append(entry)
            continue
        try:
            updated.append(replace(entry, state=store.get(entry.run).status().state))
        except StoreError:
            updated.append(PlannedRun(entry.config))
    return tuple(updated)


def is_done(found: Iterable[PlannedRun]) -> bool:
    """Return whether no run is queued, training or stopping."""
    return not any(entry.state in ACTIVE_STATES for entry in found)


def stop_runs(executor: Executor, found: Iterable[PlannedRun]) -> int:
    """Stop the active runs, the queued ones first, and return how many; each can be resumed."""
    active = [entry for entry in found if entry.state in ACTIVE_STATES and entry.run is not None]
    for entry in sorted(active, key=lambda entry: entry.state != "queued"):
        executor.stop(str(entry.run))
    return len(active)


def load_result(run: Run) -> RunResult | None:
    """Return the result of a run, None before it has finished; read again only if one of its files changed.

    Raises:
        StoreError: if the run cannot be read.
    """
    return _read_result(run.path, *(file_signature(run.path / name) for name in _RESULT_FILES))


@lru_cache(maxsize=_CACHE_SIZE)
def _read_result(folder: Path, *signatures: FileSignature) -> RunResult | None:
    run = Run(folder)
    history, config = run.history(), run.config
    finished = history.finished
    if finished is None:
        return None
    try:
        environment = run.environment()
    except StoreError:  # A damaged file leaves sizes and memory unknown; the accuracies stand.
        environment = {}
    # A prefix of keys and values takes no input positions but has a length.
    length = environment.get("slots") or config.hyperparameters.get("m")
    return RunResult(
        method=config.method,
        seed=config.training.seed,
        run=run.id,
        test=finished.test,
        validation=finished.validation,
        zero_shot=finished.zero_shot,
        seconds=finished.seconds,
        trained=_as_int(environment.get("trained")),
        stored=_as_int(environment.get("stored")),
        memory=_as_int(environment.get("memory")),
        length=_as_int(length),
        size=_file_size(run.path / "prompt.safetensors"),
        evaluated=history.evaluation_steps,
        accuracies=tuple(evaluation.accuracy for evaluation in history.evaluations),
        metric=run.metric.name,
    )


def load_results(store: Store, found: Iterable[PlannedRun]) -> tuple[RunResult, ...]:
    """Return the results of all finished entries, in their order.

    Raises:
        StoreError: if a run cannot be read.
    """
    folders = [store.folder(entry.run) for entry in found if entry.run is not None and entry.state == "finished"]
    return tuple(result for folder in folders if (result := load_result(Run(folder))) is not None)


def with_row_scores(results: Iterable[RunResult], get_run: Callable[[str], Run]) -> tuple[RunResult, ...]:
    """Return results with the scores of their test rows, for methods of one seed: an interval needs them there.

    Rows of a metric that is no mean over rows, such as F1 of a class or BLEU, are left out.
    """
    listed = tuple(results)
    count = Counter(result.method for result in listed)
    return tuple(
        replace(result, rows=_row_scores(get_run(result.run))) if count[result.method] == 1 else result
        for result in listed
    )


def _row_scores(run: Run) -> tuple[float, ...]:
    return _read_row_scores(run.path, file_signature(run.path / "predictions.parquet"))


@lru_cache(maxsize=256)
def _read_row_scores(folder: Path, signature: FileSignature) -> tuple[float, ...]:
    """Return the scores of a run's test rows; read again only if the file changed."""
    run = Run(folder)
    if not run.metric.is_row_mean:
        return ()
    try:
        found = run.predictions()
    except StoreError:  # A damaged file, which the run's own page names, takes the interval and nothing else.
        return ()
    if found is None:
        return ()
    scores = found["score"] if "score" in found else found["label"] == found["predicted"]
    return tuple(float(score) for score in scores)


def _file_size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _as_int(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
