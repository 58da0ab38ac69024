"""Measured transfer: what every trained prompt scores on every task, without any further training.

The accuracies lie in one JSON file beside the runs, keyed by run, task and number of rows. A cell is measured once; it
is measured anew only if the run's prompt or the task's file changed since.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Float

from ptviz.methods import REGISTRY
from ptviz.methods.base import PromptMethod
from ptviz.runs.config import RunConfig
from ptviz.runs.disk import StoreError, write_whole
from ptviz.runs.lock import Lock, held
from ptviz.runs.parts import Sizes, parts_of
from ptviz.runs.run import Run, read_json
from ptviz.runs.store import Store, Summary
from ptviz.runs.warm import Warm
from ptviz.runs.work import load
from ptviz.tasks import Task
from ptviz.training import evaluate
from ptviz.training.rows import Rows, readout_of

ROWS = 200
"""Validation rows a cell is measured on, unless told otherwise: its standard error is then at most 3.6 points."""
_RECORD, _LOCK = ".transfer.json", ".transfer.lock"
Key = tuple[str, str, int]


@dataclass(frozen=True)
class Target:
    """A task to measure on, with the columns of a person's own table."""

    name: str
    text: str | None = None
    label: str | None = None


@dataclass(frozen=True)
class Cell:
    """One prompt on one task: ``accuracy`` (0 to 1) and ``loss`` (nats) on at most ``rows`` validation rows.

    ``run`` is a run's id, or ``bare(backbone)`` for the backbone without a prompt. ``stamp`` names the prompt and the
    task's file it was measured with. ``reason`` says why nothing was measured; such a cell is not kept.
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


def bare(backbone: str) -> str:
    """The name under which the record keeps what a backbone scores without any prompt."""
    return f"bare:{backbone}"


def candidates(store: Store, backbone: str | None = None) -> list[Summary]:
    """The finished runs, of one backbone if it is named, newest first."""
    return [
        summary
        for summary in store.list()
        if summary.status.state == "finished"
        and summary.config.method in REGISTRY
        and backbone in (None, summary.config.backbone)
    ]


def targets(runs: Iterable[Summary], more: Iterable[str] = ()) -> tuple[Target, ...]:
    """The tasks that these runs were trained on, in the order of their names, and further ones behind."""
    found = {run.config.task: Target(run.config.task, run.config.text, run.config.label) for run in runs}
    own = [found[name] for name in sorted(found)]
    return (*own, *(Target(name) for name in dict.fromkeys(more) if name not in found))


def input_prompt(run: Run, sizes: Sizes) -> Float[np.ndarray, "m d"] | None:
    """The run's best prompt as vectors in front of the input; None for a method that has none of one such prompt.

    Raises:
        StoreError: if the run's prompt is damaged, or does not fit the method any more.
    """
    first = next(iter(parts_of(run.config, run.prompt(), sizes).values()), None)
    return first.array if first is not None and first.axes == ("m", "d") else None


def measured(store: Store) -> dict[Key, Cell]:
    """Every cell that was measured so far, whether or not its run is still there.

    Raises:
        StoreError: if the record is damaged.
    """
    path = store.root / _RECORD
    if not path.exists():
        return {}
    names = {field.name for field in fields(Cell)}
    try:
        told = [{name: value for name, value in cell.items() if name in names} for cell in read_json(path)["cells"]]
        cells = [Cell(**cell) for cell in told]
    except (KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{path} is damaged ({error}); delete it, and measure again with `ptviz transfer`") from error
    return {cell.key: cell for cell in cells}


def known(store: Store, runs: Sequence[Summary], tasks: Sequence[Target], rows: int = ROWS) -> dict[Key, Cell]:
    """The cells of a grid of these runs and tasks that are there and still hold, those without a prompt included."""
    have = measured(store)
    return {key: have[key] for key, _, _ in _grid(store, runs, tasks, rows, have) if key in have}


def missing(store: Store, runs: Sequence[Summary], tasks: Sequence[Target], rows: int = ROWS) -> int:
    """How many cells of that grid are still to measure."""
    have = measured(store)
    return sum(key not in have for key, _, _ in _grid(store, runs, tasks, rows, have))


def filling(store: Store) -> bool:
    """Whether a process is measuring right now."""
    return held(store.root / _LOCK)


def fill(
    store: Store, runs: Sequence[Summary], tasks: Sequence[Target], rows: int = ROWS, warm: Warm | None = None
) -> Iterator[Cell]:
    """Measure what the grid lacks, cell by cell, each kept at once: whoever stops here goes on from there.

    A cell that cannot be measured comes with its reason, and the others go on.

    Raises:
        StoreError: if another process is measuring, or the record is damaged or cannot be written.
    """
    if rows < 1:
        raise ValueError(f"rows: expected at least 1; got {rows}")
    if not runs:
        return
    lock = Lock(store.root / _LOCK)
    if not lock.acquire():
        raise StoreError("another `ptviz transfer` is measuring in this folder of runs; wait until it is done")
    try:
        have = measured(store)
        lacking = [place for place in _grid(store, runs, tasks, rows, have) if place[0] not in have]
        bench = _Bench(store, warm or Warm(), rows)
        for key, summary, target in lacking:
            stamp = _stamp(store, key[0], target)
            try:
                accuracy, loss = bench.score(key[0], summary.config, target)
            except (ValueError, OSError) as error:
                yield Cell(*key, math.nan, math.nan, stamp, " ".join(str(error).split()))
                continue
            cell = Cell(*key, accuracy, loss, stamp)
            have[cell.key] = cell
            _write(store, have)
            yield cell
    finally:
        lock.release()


def _write(store: Store, cells: Mapping[Key, Cell]) -> None:
    kept = [{name: value for name, value in asdict(cell).items() if name != "reason"} for cell in cells.values()]
    write_whole(store.root / _RECORD, json.dumps({"cells": kept}, indent=0).encode(), durable=False)


def _grid(
    store: Store, runs: Sequence[Summary], tasks: Sequence[Target], rows: int, have: dict[Key, Cell]
) -> list[tuple[Key, Summary, Target]]:
    """Every cell of the grid with a run that tells its settings; takes out of ``have`` what holds no more.

    Backbones outermost, then tasks: each is loaded once.
    """
    found = []
    for backbone in dict.fromkeys(run.config.backbone for run in runs):
        own = [run for run in runs if run.config.backbone == backbone]
        for target in tasks:
            for id, summary in ((bare(backbone), own[0]), *((run.id, run) for run in own)):
                key = id, target.name, rows
                if key in have and have[key].stamp != _stamp(store, id, target):
                    del have[key]
                found.append((key, summary, target))
    return found


def _stamp(store: Store, run: str, target: Target) -> str:
    """Names the prompt by its content, and a task that is a file by its size and age."""
    parts = [f"{target.text}/{target.label}" if target.text or target.label else ""]
    for path, read in ((store.root / run / "prompt.safetensors", True), (Path(target.name).expanduser(), False)):
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


class _Bench:
    """Prompts and encoded rows, made once for all cells that share them."""

    def __init__(self, store: Store, warm: Warm, rows: int) -> None:
        self.store, self.warm, self.rows = store, warm, rows
        self._methods: dict[str, PromptMethod] = {}
        self._task: tuple[Target, Task] | None = None
        self._encoded: dict[tuple[object, ...], Rows] = {}

    def score(self, run: str, config: RunConfig, target: Target) -> tuple[float, float]:
        """Accuracy and loss of a run's prompt, or of none, on the target's validation rows."""
        method = self._method(run, config) if run != bare(config.backbone) else None
        scores = evaluate(method, self._rows(config, target, 0 if method is None else method.slots))
        return scores.accuracy, scores.loss

    def _method(self, run: str, config: RunConfig) -> PromptMethod:
        if run not in self._methods:
            config, state = config.checked(), self.store.get(run).prompt()
            method = self.warm.engine.build(config, self.warm.backbone(config), self.warm.task(config))
            load(method, state)
            self._methods[run] = method.to(self.warm.backbone(config).device).eval()
        return self._methods[run]

    def _rows(self, config: RunConfig, target: Target, slots: int) -> Rows:
        if self._task is None or self._task[0] != target:
            asked = replace(config, task=target.name, text=target.text, label=target.label)
            task = self.warm.task(asked)
            if not task.validation:
                raise StoreError(f"task {target.name} has no validation rows to measure on")
            self._task = target, task.limited(len(task.train), self.rows, len(task.test))
            self._encoded.clear()
        task = self._task[1]
        key = config.backbone, config.device, config.training.dtype, slots, config.training.length
        if key not in self._encoded:
            backbone = self.warm.backbone(config)
            length = config.training.length
            self._encoded[key] = Rows(backbone, task, task.validation, slots, length, readout_of(backbone, task))
        return self._encoded[key]
