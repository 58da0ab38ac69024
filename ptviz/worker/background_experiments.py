"""Measurements of transfer that a page orders and the worker makes whenever it has nothing better to do.

An order is one small file beside the runs: a worker that dies, or makes room for a newer one, leaves it to the next.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from ptviz.engine.model_cache import Warm
from ptviz.experiments import transfer, transfer_gain
from ptviz.experiments.transfer import ROWS
from ptviz.experiments.transfer_gain import STEPS, Setting
from ptviz.experiments.transfer_results import Cell, Trial
from ptviz.runs.atomic_io import write_whole
from ptviz.runs.failure_messages import of_exception
from ptviz.runs.store import Store, Summary

What = Literal["zero-shot", "gain"]
_ORDER = ".transfer-order.json"


@dataclass(frozen=True)
class Order:
    """Which grid to fill: that of accuracies without training, or that of gains, of these prompts on their tasks.

    ``problem`` says why something of it is still missing though the worker is done with it.
    """

    what: What
    sources: tuple[str, ...]
    steps: int = STEPS
    seeds: int = 1
    rows: int = ROWS
    problem: str = ""


def place(store: Store, order: Order) -> None:
    """Order a grid; an earlier order is forgotten, what it has brought so far is kept.

    Raises:
        StoreError: if the folder cannot be written.
    """
    write_whole(store.root / _ORDER, json.dumps(asdict(order)).encode(), durable=False)


def ordered(store: Store) -> Order | None:
    """The order under way, or the last one if something went wrong with it."""
    with suppress(OSError, ValueError, TypeError):
        data = json.loads((store.root / _ORDER).read_bytes())
        return Order(**{**data, "sources": tuple(data["sources"])})
    return None


def cancel(store: Store) -> None:
    """Stop the order under way, at the next training step; what was measured stays."""
    _path(store).unlink(missing_ok=True)


def _path(store: Store) -> Path:
    return store.root / _ORDER


class Filling:
    """The worker's side of it: one small piece at a time."""

    def __init__(self, store: Store, warm: Warm) -> None:
        self.store, self.warm = store, warm
        self._order: Order | None = None
        self._work: Iterator[Cell | Trial | None] = iter(())
        self._refused: list[Cell | Trial] = []

    def step(self) -> bool:
        """Do one piece (a training step, or a cell); False if nothing is ordered."""
        order = ordered(self.store)
        if order != self._order:
            self._begin(order)
        if order is None or order.problem:
            return False
        try:
            done = next(self._work)
        except StopIteration:
            self._end(_told(self._refused))
        except Exception as error:
            self._end(of_exception(error, None))
        else:
            if done is not None and done.reason:
                self._refused.append(done)
        return True

    def _begin(self, order: Order | None) -> None:
        self._work = iter(())  # lets go of the lock at once
        self._order, self._refused = order, []
        if order is not None and not order.problem:
            self._work = _work(self.store, order, self.warm)

    def _end(self, problem: str) -> None:
        if ordered(self.store) != self._order or self._order is None:
            return  # replaced or taken back meanwhile
        if problem:
            place(self.store, replace(self._order, problem=problem))
        else:
            cancel(self.store)


def _work(store: Store, order: Order, warm: Warm) -> Iterator[Cell | Trial | None]:
    known = {source.id: source for source in transfer.sources(store)}
    chosen: list[Summary] = [known[id] for id in order.sources if id in known]
    tasks = transfer.targets(chosen)
    if order.what == "gain":
        return transfer_gain.train_missing(store, chosen, tasks, Setting(order.steps, order.seeds, order.rows), warm)
    return transfer.fill(store, chosen, tasks, order.rows, warm)


def _told(refused: list[Cell | Trial]) -> str:
    if not refused:
        return ""
    first = refused[0]
    return f"{len(refused)} could not be measured; the first, on {first.task}: {first.reason}"
