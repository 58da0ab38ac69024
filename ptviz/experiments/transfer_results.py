"""The record of measured transfer: one JSON file in the folder of runs, so that nothing is computed twice.

A result is valid while the prompt, the task's file and a local backbone are unchanged, which its ``stamp`` records.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, TypeVar

from msgspec import Meta

from ptviz.paths import expand_user
from ptviz.runs.backbone_files import backbone_digest
from ptviz.runs.file_lock import FileLock, is_locked
from ptviz.runs.recorded_runs import gallery_store
from ptviz.runs.run import read_small_file
from ptviz.runs.run_file_io import FileSignature, StoreError, atomic_write, file_digest, file_signature
from ptviz.runs.saved_prompts import SAVED_PREFIX
from ptviz.runs.store import Store
from ptviz.tasks import TableOptions
from ptviz.tasks.metrics import ACCURACY, Metric, recorded_metric
from ptviz.validation import (
    Count,
    Duration,
    InvalidData,
    Name,
    PathText,
    Score,
    Sentence,
    StepCount,
    convert_json,
    decode_json,
)

_MAX_RECORD_BYTES = 256_000_000
_RECORD_FILE, _LOCK_FILE = ".transfer.json", ".transfer.lock"
DEFAULT_ROWS = 200
"""Default number of validation examples: the standard error of an accuracy is then at most 3.6 points."""
DEFAULT_STEPS = 30
"""Default number of updates of a run."""
ScoreKey = tuple[str, str, int]
TransferRunKey = tuple[str, str, int, int, int]


@dataclass(frozen=True)
class TargetTask:
    """A task to measure on, with the columns of texts and labels if it is a table."""

    name: str
    text: str | None = None
    label: str | None = None
    table: TableOptions = field(default_factory=TableOptions)

    @property
    def reading(self) -> str:
        """Return how a table is read, in words and short; empty if as usual."""
        words = [f"{what} {own}" for what in ("label", "text") if (own := getattr(self, what))]
        if options := self.table.to_json():
            words.append(f"options {hashlib.sha256(json.dumps(options, sort_keys=True).encode()).hexdigest()[:8]}")
        return ", ".join(words)

    @property
    def key(self) -> str:
        """Return the name of the task in the record, which differs for two tasks that are made of one file."""
        return f"{self.name} ({self.reading})" if self.reading else self.name


@dataclass(frozen=True)
class TransferScore:
    """One prompt on one task, on at most ``rows`` validation examples.

    ``task`` is the ``key`` of a ``TargetTask``.
    ``accuracy`` is the score by the task's ``metric``, ``loss`` is in nats.
    ``run`` is a run's id, ``kept:`` and the id of a saved prompt, or ``no_prompt_key(backbone)``. ``stamp`` is the
    ``fingerprint`` of the prompt, the task's file and the backbone when it was measured. ``reason`` says why nothing
    was measured; such a score is not stored.
    """

    run: PathText
    task: PathText
    rows: Count
    accuracy: Score
    loss: float
    stamp: PathText = ""
    reason: Sentence = ""
    metric: Name = ACCURACY.name

    @property
    def key(self) -> ScoreKey:
        """Return the key of this entry in the record."""
        return self.run, self.task, self.rows


@dataclass(frozen=True)
class TransferRun:
    """A prompt trained on ``task`` for ``steps`` updates, from the prompt of ``start`` or from scratch.

    ``accuracies`` are scores by the task's ``metric`` on at most ``rows`` validation examples, after the updates in
    ``evaluated``; the first is that of the initial prompt. ``start`` is an id as in ``TransferScore``, or
    ``from_scratch_key(backbone, m)``. ``seconds`` is the training time. ``stamp`` and ``reason`` are those of a
    ``TransferScore``.
    """

    start: PathText
    task: PathText
    rows: Count
    steps: StepCount
    seed: Count
    evaluated: Annotated[tuple[StepCount, ...], Meta(max_length=100_000)] = ()
    accuracies: Annotated[tuple[Score, ...], Meta(max_length=100_000)] = ()
    seconds: Duration = 0.0
    stamp: PathText = ""
    reason: Sentence = ""
    metric: Name = ACCURACY.name

    def __post_init__(self) -> None:
        if len(self.evaluated) != len(self.accuracies) or bool(self.evaluated) == bool(self.reason):
            raise ValueError(f"{len(self.evaluated)} evaluated steps with {len(self.accuracies)} accuracies")

    @property
    def key(self) -> TransferRunKey:
        """Return the key of this entry in the record."""
        return self.start, self.task, self.rows, self.steps, self.seed


def metrics_of_tasks(found: Iterable[TransferScore | TransferRun], tasks: Iterable[TargetTask]) -> tuple[Metric, ...]:
    """Return the metric that each task was measured by; accuracy for a task that was not."""
    measured = {one.task: recorded_metric(one.metric) for one in found}
    return tuple(measured.get(task.key, ACCURACY) for task in tasks)


def task_names(tasks: Iterable[TargetTask]) -> dict[str, str]:
    """Return what to call each task, by its key: its name, or the key where another task is made of the same file."""
    listed = [*tasks]
    counts = Counter(task.name for task in listed)
    return {task.key: task.name if counts[task.name] == 1 else task.key for task in listed}


def no_prompt_key(backbone: str) -> str:
    """Return the id in the record for a backbone without a prompt."""
    return f"bare:{backbone}"


def from_scratch_key(backbone: str, m: int) -> str:
    """Return the id in the record for ``m`` prompt tokens trained from scratch."""
    return f"scratch:{m}:{backbone}"


def read_transfer_scores(store: Store) -> dict[ScoreKey, TransferScore]:
    """Return every recorded score by key, even if its run was deleted. Damaged entries are left out.

    The scores of the gallery's recorded runs are included.

    Raises:
        StoreError: if the whole record is damaged.
    """
    return {score.key: score for one in (gallery_store(), store) for score in _read_record(one).cells}


def read_transfer_runs(store: Store) -> dict[TransferRunKey, TransferRun]:
    """Return every recorded training run by key, even if its start prompt was deleted. Damaged entries are left out.

    The training runs from the gallery's recorded runs are included.

    Raises:
        StoreError: if the whole record is damaged.
    """
    return {run.key: run for one in (gallery_store(), store) for run in _read_record(one).trials}


def describe_damaged_entries(store: Store) -> str:
    """Return how many entries of the record are left out because they are damaged, and why the first; else "".

    Raises:
        StoreError: if the whole record is damaged.
    """
    problems = _read_record(store).problems
    if not problems:
        return ""
    count = f"{len(problems)} entries are" if len(problems) > 1 else "1 entry is"
    return f"{store.root / _RECORD_FILE}: {count} damaged and left out, to be measured again ({problems[0]})"


_Entry = TypeVar("_Entry", TransferScore, TransferRun)


def find_valid(have: Mapping[Any, _Entry], key: Any, name: str, stamp: str) -> _Entry | None:
    """Return the recorded entry of a key if it was measured with this stamp; None if there is none.

    ``name`` is the name of the task: under it earlier versions recorded a table, whatever its columns.
    """
    for task in (key[1], name):
        found = have.get((key[0], task, *key[2:]))
        if found is not None and found.stamp == stamp:
            return replace(found, task=key[1])
    return None


@dataclass(frozen=True)
class _UncheckedRecord:
    cells: tuple[Any, ...]
    trials: tuple[Any, ...] = ()


@dataclass(frozen=True)
class _Record:
    cells: list[TransferScore] = field(default_factory=list)
    trials: list[TransferRun] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def _read_record(store: Store) -> _Record:
    path = store.root / _RECORD_FILE
    return _parse_record(path, file_signature(path)) if path.exists() else _Record()


@lru_cache(maxsize=4)  # A page asks for its scores many times.
def _parse_record(path: Path, signature: FileSignature) -> _Record:
    """Return the record at a path, which is read again only if it changed."""
    try:
        found = decode_json(read_small_file(path, _MAX_RECORD_BYTES), _UncheckedRecord, non_finite=True)
    except ValueError as error:
        raise StoreError(f"{path} is damaged ({error}); delete it, and measure again with `ptviz transfer`") from error
    problems: list[str] = []
    scores = _convert_entries("cells", found.cells, TransferScore, problems)
    return _Record(scores, _convert_entries("trials", found.trials, TransferRun, problems), problems)


def _convert_entries(name: str, entries: Sequence[object], kind: type[_Entry], problems: list[str]) -> list[_Entry]:
    """Return the valid entries; add the reason for each of the others to ``problems``."""
    valid = []
    for index, entry in enumerate(entries):
        try:
            found = convert_json(entry, kind)
            if found.reason:
                raise InvalidData("reason: expected none, since failures are not stored")
            valid.append(found)
        except InvalidData as error:
            problems.append(f"{name}[{index}]: {error}")
    return valid


def save_measurement(store: Store, new: TransferScore | TransferRun) -> None:
    """Add a score or a training run to the record, without its damaged entries; the caller must hold its lock.

    Raises:
        StoreError: if the whole record is damaged, or it cannot be written.
    """
    record = _read_record(store)
    scores: list[TransferScore] = [score for score in record.cells if score.key != new.key]
    runs: list[TransferRun] = [run for run in record.trials if run.key != new.key]
    if isinstance(new, TransferScore):
        scores.append(new)
    else:
        runs.append(new)
    _write_record(store.root, scores, runs)


def pack_record(store: Store, folder: Path, ids: Mapping[str, str]) -> int:
    """Write what was measured with some runs to ``folder``, under their new ``ids``; return the number of entries.

    Entries without a prompt are kept.

    Raises:
        StoreError: if the whole record is damaged, or the folder cannot be written.
    """
    record = _read_record(store)
    cells = [replace(one, run=ids.get(one.run, one.run)) for one in record.cells if one.run in ids or ":" in one.run]
    trials = [
        replace(one, start=ids.get(one.start, one.start))
        for one in record.trials
        if one.start in ids or ":" in one.start
    ]
    _write_record(folder, cells, trials)
    return len(cells) + len(trials)


def _write_record(folder: Path, cells: Sequence[TransferScore], trials: Sequence[TransferRun]) -> None:
    data = {"cells": [_to_json(score) for score in cells], "trials": [_to_json(run) for run in trials]}
    atomic_write(folder / _RECORD_FILE, json.dumps(data, indent=0).encode(), durable=False)


def _to_json(entry: TransferScore | TransferRun) -> dict[str, Any]:
    return {name: value for name, value in asdict(entry).items() if name != "reason"}


def acquire_record_lock(store: Store) -> FileLock:
    """Acquire and return the lock for writing the record.

    Raises:
        StoreError: if another process has it.
    """
    lock = FileLock(store.root / _LOCK_FILE)
    if not lock.acquire():
        raise StoreError("another process is measuring transfer in this folder of runs; wait until it is done")
    return lock


def is_measuring(store: Store) -> bool:
    """Return whether a process holds the lock of the record."""
    return is_locked(store.root / _LOCK_FILE)


def fingerprint(store: Store, id: str, target: TargetTask, backbone: str = "") -> str:
    """Return digests of a prompt and of a local backbone, and the size and modification time of a task's file."""
    return Fingerprints(store)(id, target, backbone)


class Fingerprints:
    """The fingerprints of a grid of prompts and tasks: each prompt, each task and each backbone is looked up once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._prompts: dict[str, str] = {}
        self._tasks: dict[TargetTask, tuple[str, str]] = {}
        self._backbones: dict[str, str] = {}

    def __call__(self, id: str, target: TargetTask, backbone: str) -> str:
        """Return the ``fingerprint`` of a prompt, a task and a backbone."""
        if id not in self._prompts:
            self._prompts[id] = self._read_prompt(id)
        if target not in self._tasks:
            self._tasks[target] = _task_parts(target)
        if backbone not in self._backbones:
            digest = backbone_digest(backbone)
            self._backbones[backbone] = f" backbone {digest}" if digest else ""
        reading, changed = self._tasks[target]
        return f"{reading} {self._prompts[id]} {changed}{self._backbones[backbone]}".strip()

    def _read_prompt(self, id: str) -> str:
        is_saved, store = id.startswith(SAVED_PREFIX), self._store
        folder = store.prompts_folder / id.removeprefix(SAVED_PREFIX) if is_saved else store.folder(id)
        return file_digest(folder / "prompt.safetensors")


def _task_parts(target: TargetTask) -> tuple[str, str]:
    """Return how a task is read, and when its file was changed."""
    reading = f"{target.text}/{target.label}" if target.text or target.label else ""
    reading += json.dumps(target.table.to_json()) if target.table != TableOptions() else ""
    _, changed, size = file_signature(expand_user(target.name))
    return reading, f"{changed}-{size}" if changed else ""
