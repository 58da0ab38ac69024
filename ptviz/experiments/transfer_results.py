"""The record of measured transfer: one JSON file beside the runs, so that nothing is ever computed twice.

A cell holds only as long as the prompt and the task's file it was measured with are what they were: its ``stamp``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from ptviz.runs import saved_prompts
from ptviz.runs.atomic_io import StoreError, write_whole
from ptviz.runs.file_lock import Lock, held
from ptviz.runs.run import read_json
from ptviz.runs.saved_prompts import KEPT
from ptviz.runs.store import Store

_RECORD, _LOCK = ".transfer.json", ".transfer.lock"
Key = tuple[str, str, int]
TrialKey = tuple[str, str, int, int, int]
T = TypeVar("T")


@dataclass(frozen=True)
class Target:
    """A task to measure on, with the columns of a person's own table."""

    name: str
    text: str | None = None
    label: str | None = None


@dataclass(frozen=True)
class Cell:
    """One prompt on one task: ``accuracy`` (0 to 1) and ``loss`` (nats) on at most ``rows`` validation rows.

    ``run`` is a run's id, that of a kept prompt with ``kept:`` in front, or ``bare(backbone)`` for the backbone without
    a prompt. ``stamp`` names the prompt and the task's file it was measured with. ``reason`` says why nothing was
    measured; such a cell is not kept.
    """

    run: str
    task: str
    rows: int
    accuracy: float
    loss: float
    stamp: str = ""
    reason: str = ""

    @property
    def key(self) -> Key:
        """What the record files it under."""
        return self.run, self.task, self.rows


@dataclass(frozen=True)
class Trial:
    """A prompt trained on ``task`` for ``steps`` updates, from the prompt of ``start`` or from scratch.

    ``accuracies`` (0 to 1) on at most ``rows`` validation rows belong to the updates in ``evaluated``; the first is
    that of the start as it is. ``start`` is an id as in ``Cell``, or ``scratch(backbone, m)``. ``seconds`` is how long
    it took. ``stamp`` and ``reason`` are those of a ``Cell``.
    """

    start: str
    task: str
    rows: int
    steps: int
    seed: int
    evaluated: tuple[int, ...] = ()
    accuracies: tuple[float, ...] = ()
    seconds: float = 0.0
    stamp: str = ""
    reason: str = ""

    @property
    def key(self) -> TrialKey:
        """What the record files it under."""
        return self.start, self.task, self.rows, self.steps, self.seed


def bare(backbone: str) -> str:
    """The name under which the record keeps what a backbone scores without any prompt."""
    return f"bare:{backbone}"


def scratch(backbone: str, m: int) -> str:
    """The name under which the record keeps what m fresh prompt tokens in front of a backbone learn."""
    return f"scratch:{m}:{backbone}"


def measured(store: Store) -> dict[Key, Cell]:
    """Every cell that was measured so far, whether or not its run is still there.

    Raises:
        StoreError: if the record is damaged.
    """
    return {cell.key: cell for cell in _read(store)[0]}


def trials(store: Store) -> dict[TrialKey, Trial]:
    """Every trial made so far, whether or not its run is still there.

    Raises:
        StoreError: if the record is damaged.
    """
    return {trial.key: trial for trial in _read(store)[1]}


def _read(store: Store) -> tuple[list[Cell], list[Trial]]:
    path = store.root / _RECORD
    if not path.exists():
        return [], []
    try:
        data = read_json(path)
        cells = [_made(Cell, told) for told in data["cells"]]
        return cells, [_trial(told) for told in data.get("trials", [])]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StoreError(f"{path} is damaged ({error}); delete it, and measure again with `ptviz transfer`") from error


def _made(kind: type[T], told: Mapping[str, Any]) -> T:
    names = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: value for name, value in told.items() if name in names})


def _trial(told: Mapping[str, Any]) -> Trial:
    evaluated, accuracies = tuple(map(int, told["evaluated"])), tuple(map(float, told["accuracies"]))
    if len(evaluated) != len(accuracies) or not evaluated:
        raise ValueError(f"{len(evaluated)} steps with {len(accuracies)} accuracies")
    return _made(Trial, {**told, "evaluated": evaluated, "accuracies": accuracies})


def keep(store: Store, new: Cell | Trial) -> None:
    """Write one more cell or trial into the record; whoever does must hold the lock.

    Raises:
        StoreError: if the record is damaged or cannot be written.
    """
    cells, found = _read(store)
    if isinstance(new, Cell):
        cells = [*(cell for cell in cells if cell.key != new.key), new]
    else:
        found = [*(trial for trial in found if trial.key != new.key), new]
    told = {"cells": [_plain(cell) for cell in cells], "trials": [_plain(trial) for trial in found]}
    write_whole(store.root / _RECORD, json.dumps(told, indent=0).encode(), durable=False)


def _plain(kept: Cell | Trial) -> dict[str, Any]:
    return {name: value for name, value in asdict(kept).items() if name != "reason"}


def locked(store: Store) -> Lock:
    """The lock of whoever writes the record, acquired.

    Raises:
        StoreError: if another process has it.
    """
    lock = Lock(store.root / _LOCK)
    if not lock.acquire():
        raise StoreError("another process is measuring transfer in this folder of runs; wait until it is done")
    return lock


def filling(store: Store) -> bool:
    """Whether a process is measuring right now."""
    return held(store.root / _LOCK)


def stamp(store: Store, id: str, target: Target) -> str:
    """Names a prompt by its content, and a task that is a file by its size and age."""
    folder = saved_prompts.folder(store) / id.removeprefix(KEPT) if id.startswith(KEPT) else store.root / id
    parts = [f"{target.text}/{target.label}" if target.text or target.label else ""]
    for path, read in ((folder / "prompt.safetensors", True), (Path(target.name).expanduser(), False)):
        try:
            stat = path.stat()
        except OSError:
            parts.append("")
            continue
        changed = stat.st_mtime_ns, stat.st_size
        parts.append(_digest(path, changed) if read else "-".join(map(str, changed)))
    return " ".join(parts).strip()


@lru_cache(maxsize=512)
def _digest(path: Path, changed: tuple[int, int]) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
