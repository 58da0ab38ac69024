"""Results of finished runs, for comparisons; read again only if a run's files changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from ptviz.analysis.comparison import RunResult
from ptviz.experiments.planned_runs import PlannedRun
from ptviz.runs.run import Run
from ptviz.runs.run_file_io import FileSignature, StoreError, file_signature
from ptviz.runs.store import Store

_CACHE_SIZE = 4096
"""Runs whose results are cached, so that a page with many runs is fast."""
_RESULT_FILES = ("config.json", "events.jsonl", "environment.json", "prompt.safetensors")


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
