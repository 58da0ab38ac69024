"""Measured transfer: what every trained prompt scores on every task, without any further training.

The accuracies lie in the record of ``ptviz.experiments.transfer_results``, keyed by prompt, task and number of rows.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Float

from ptviz.backbones.shape import Sizes
from ptviz.engine.model_cache import Warm
from ptviz.experiments.transfer_results import Cell, Key, Target, bare, filling, keep, locked, measured, stamp
from ptviz.methods import REGISTRY
from ptviz.methods.base import PromptMethod
from ptviz.runs import saved_prompts
from ptviz.runs.atomic_io import StoreError
from ptviz.runs.config import RunConfig
from ptviz.runs.embedding_table import known_sizes
from ptviz.runs.load_state import load
from ptviz.runs.method_tensors import used_of
from ptviz.runs.run import Run
from ptviz.runs.saved_prompts import KEPT
from ptviz.runs.status import Status
from ptviz.runs.store import Store, Summary
from ptviz.tasks import Task
from ptviz.training import evaluate
from ptviz.training.batches import Rows, readout_of
from ptviz.training.source_prompts import METHOD, source_knobs

__all__ = [
    "ROWS", "Cell", "Target", "accuracies", "bare", "candidates", "fill", "filling", "homeless", "input_prompt", "kept",
    "known", "measured", "missing", "sources", "targets", "vectors",
]  # fmt: skip

ROWS = 200
"""Validation rows a cell is measured on, unless told otherwise: its standard error is then at most 3.6 points."""


def candidates(store: Store, backbone: str | None = None) -> list[Summary]:
    """The finished runs, of one backbone if it is named, newest first."""
    return [
        summary
        for summary in store.list()
        if summary.status.state == "finished"
        and summary.config.method in REGISTRY
        and backbone in (None, summary.config.backbone)
    ]


def kept(store: Store, backbone: str | None = None) -> list[Summary]:
    """The kept prompts that stand in front of an input, as if each were a run that had just been finished."""
    return [
        Summary(
            KEPT + one.id,
            RunConfig(
                one.backbone, one.task or "", METHOD, source_knobs(one.m), name=one.title, start=one.id
            ),
            Status("finished", created=one.made),
        )
        for one in saved_prompts.kept(store)
        if set(one.shapes) == {"embeddings"} and backbone in (None, one.backbone)
    ]  # fmt: skip


def homeless(store: Store) -> dict[str, Float[np.ndarray, "m d"]]:
    """The kept prompts of which nobody said the backbone, by title; of those with one title, with their id behind."""
    ones = kept(store, "")
    counts = Counter(one.name for one in ones)
    named = {one.name if counts[one.name] == 1 else f"{one.name} {one.id.removeprefix(KEPT)}": one for one in ones}
    found = {name: vectors(store, one) for name, one in named.items()}
    return {name: array for name, array in found.items() if array is not None}


def sources(store: Store, backbone: str | None = None) -> list[Summary]:
    """Every prompt that can be tried on other tasks: those of finished runs, then the kept ones."""
    return [*candidates(store, backbone), *(one for one in kept(store, backbone) if one.config.backbone)]


def targets(runs: Iterable[Summary], more: Iterable[str] = ()) -> tuple[Target, ...]:
    """The tasks that these runs were trained on, in the order of their names, and further ones behind."""
    trained = [run.config for run in runs if run.config.task and not run.id.startswith(KEPT)]
    found = {config.task: Target(config.task, config.text, config.label) for config in trained}
    own = [found[name] for name in sorted(found)]
    return (*own, *(Target(name) for name in dict.fromkeys(more) if name not in found))


def input_prompt(run: Run, sizes: Sizes) -> Float[np.ndarray, "m d"] | None:
    """The run's best prompt as vectors in front of the input.

    None for a method that gives keys and values, or every input a prompt of its own.

    Raises:
        StoreError: if the run's prompt is damaged, or does not fit the method any more.
    """
    used = used_of(run.config, run.prompt(), sizes)
    return used.array if used is not None and used.axes == ("m", "d") else None


def vectors(store: Store, source: Summary) -> Float[np.ndarray, "m d"] | None:
    """The prompt of a run or of a kept prompt as vectors in front of the input.

    None for a method that has no single such prompt, a prompt that cannot be read, and a backbone that nobody has
    looked at yet.
    """
    sizes = known_sizes(source.config.backbone)
    if sizes is None and not source.id.startswith(KEPT):
        return None
    return _vectors(store.root, source.id, stamp(store, source.id, Target("")), sizes)


@lru_cache(maxsize=1024)  # a page over many runs asks for all of them, every time
def _vectors(root: Path, id: str, stamped: str, sizes: Sizes | None) -> Float[np.ndarray, "m d"] | None:
    store = Store(root)
    try:
        if sizes is None or id.startswith(KEPT):
            return saved_prompts.tensors(store, id.removeprefix(KEPT))["embeddings"].numpy()
        return input_prompt(store.get(id), sizes)
    except (StoreError, ValueError):
        return None


def known(store: Store, runs: Sequence[Summary], tasks: Sequence[Target], rows: int = ROWS) -> dict[Key, Cell]:
    """The cells of a grid of these runs and tasks that are there and still hold, those without a prompt included."""
    have = measured(store)
    return {key: have[key] for key, _, _ in _grid(store, runs, tasks, rows, have) if key in have}


def accuracies(
    runs: Sequence[Summary], tasks: Sequence[Target], found: Mapping[Key, Cell], rows: int = ROWS
) -> Float[np.ndarray, "t n"]:
    """The accuracies (0 to 1) of these cells of runs in front of one backbone, NaN where there is none.

    Rows are tasks; columns are the backbone without a prompt, and then every run.
    """
    backbone = runs[0].config.backbone if runs else ""
    ids = [bare(backbone), *(run.id for run in runs)]
    unknown = Cell("", "", rows, math.nan, math.nan)
    told = [[found.get((id, task.name, rows), unknown).accuracy for id in ids] for task in tasks]
    return np.array(told, dtype=np.float64).reshape(len(tasks), len(ids))


def missing(store: Store, runs: Sequence[Summary], tasks: Sequence[Target], rows: int = ROWS) -> int:
    """How many cells of that grid are still to measure."""
    have = measured(store)
    return sum(key not in have for key, _, _ in _grid(store, runs, tasks, rows, have))


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
    lock = locked(store)
    try:
        have = measured(store)
        lacking = [place for place in _grid(store, runs, tasks, rows, have) if place[0] not in have]
        bench = _Bench(store, warm or Warm(), rows)
        for key, summary, target in lacking:
            stamped = stamp(store, key[0], target)
            try:
                accuracy, loss = bench.score(key[0], summary.config, target)
            except (ValueError, OSError) as error:
                yield Cell(*key, math.nan, math.nan, stamped, " ".join(str(error).split()))
                continue
            cell = Cell(*key, accuracy, loss, stamped)
            keep(store, cell)
            yield cell
    finally:
        lock.release()


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
                if key in have and have[key].stamp != stamp(store, id, target):
                    del have[key]
                found.append((key, summary, target))
    return found


class _Bench:
    """Prompts and encoded rows, made once for all cells that share them."""

    def __init__(self, store: Store, warm: Warm, rows: int) -> None:
        self.store, self.warm, self.rows = store, warm, rows
        self._methods: dict[str, PromptMethod] = {}
        self._task: tuple[Target, Task] | None = None
        self._encoded: dict[tuple[object, ...], Rows] = {}

    def score(self, run: str, config: RunConfig, target: Target) -> tuple[float, float]:
        """Accuracy and loss of a run's prompt, or of none, on the target's validation rows."""
        method = self._method(run, config, target) if run != bare(config.backbone) else None
        scores = evaluate(method, self._rows(config, target, 0 if method is None else method.slots))
        return scores.accuracy, scores.loss

    def _method(self, run: str, config: RunConfig, target: Target) -> PromptMethod:
        if run not in self._methods:
            config = (_aimed(config, target) if run.startswith(KEPT) else config).checked()
            method = self.warm.engine.build(config, self.warm.backbone(config), self.warm.task(config))
            if run.startswith(KEPT):
                method.begin_with(saved_prompts.whole(saved_prompts.tensors(self.store, run.removeprefix(KEPT))))
            else:
                load(method, self.store.get(run).prompt())
            self._methods[run] = method.to(self.warm.backbone(config).device).eval()
        return self._methods[run]

    def _rows(self, config: RunConfig, target: Target, slots: int) -> Rows:
        if self._task is None or self._task[0] != target:
            task = self.warm.task(_aimed(config, target))
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


def _aimed(config: RunConfig, target: Target) -> RunConfig:
    return replace(config, task=target.name, text=target.text, label=target.label)
