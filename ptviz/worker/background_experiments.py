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

from ptviz.engine.model_cache import ModelCache
from ptviz.experiments import transfer, transfer_gain
from ptviz.experiments.transfer import DEFAULT_ROWS
from ptviz.experiments.transfer_gain import DEFAULT_STEPS, TransferGainSettings
from ptviz.experiments.transfer_results import TransferRun, TransferScore
from ptviz.runs.atomic_io import atomic_write
from ptviz.runs.failure_messages import failure_reason
from ptviz.runs.store import RunSummary, Store
from ptviz.worker.directory import WorkerDir

TransferKind = Literal["zero-shot", "gain"]
_JOB_FILE = ".transfer-order.json"


@dataclass(frozen=True)
class TransferJob:
    """Which grid to fill: that of accuracies without training, or that of gains, of these prompts on their tasks.

    ``problem`` says why something of it is still missing though the worker is done with it.
    """

    what: TransferKind
    sources: tuple[str, ...]
    steps: int = DEFAULT_STEPS
    seeds: int = 1
    rows: int = DEFAULT_ROWS
    problem: str = ""


def submit_job(store: Store, order: TransferJob) -> None:
    """Order a grid; an earlier order is forgotten, what it has brought so far is kept.

    Raises:
        StoreError: if the folder cannot be written.
    """
    atomic_write(_job_path(store), json.dumps(asdict(order)).encode(), durable=False)
    WorkerDir.of_store(store.root).wake()


def current_job(store: Store) -> TransferJob | None:
    """The order under way, or the last one if something went wrong with it."""
    with suppress(OSError, ValueError, TypeError):
        data = json.loads(_job_path(store).read_bytes())
        return TransferJob(**{**data, "sources": tuple(data["sources"])})
    return None


def cancel_job(store: Store) -> None:
    """Stop the order under way, at the next training step; what was measured stays."""
    _job_path(store).unlink(missing_ok=True)


def _job_path(store: Store) -> Path:
    return store.root / _JOB_FILE


class BackgroundExperiments:
    """The worker's side of it: one small piece at a time."""

    def __init__(self, store: Store, warm: ModelCache) -> None:
        self.store, self.model_cache = store, warm
        self._job: TransferJob | None = None
        self._pieces: Iterator[TransferScore | TransferRun | None] = iter(())
        self._failed: list[TransferScore | TransferRun] = []

    def run_piece(self) -> bool:
        """Do one piece (a training step, or a cell); False if nothing is ordered."""
        order = current_job(self.store)
        if order != self._job:
            self._start_job(order)
        if order is None or order.problem:
            return False
        try:
            done = next(self._pieces)
        except StopIteration:
            self._finish_job(_summarise_failures(self._failed))
        except Exception as error:
            self._finish_job(failure_reason(error, None))
        else:
            if done is not None and done.reason:
                self._failed.append(done)
        return True

    def _start_job(self, order: TransferJob | None) -> None:
        self._pieces = iter(())  # lets go of the lock at once
        self._job, self._failed = order, []
        if order is not None and not order.problem:
            self._pieces = _run_job(self.store, order, self.model_cache)

    def _finish_job(self, problem: str) -> None:
        if current_job(self.store) != self._job or self._job is None:
            return  # replaced or taken back meanwhile
        if problem:
            submit_job(self.store, replace(self._job, problem=problem))
        else:
            cancel_job(self.store)


def _run_job(store: Store, order: TransferJob, warm: ModelCache) -> Iterator[TransferScore | TransferRun | None]:
    known = {source.id: source for source in transfer.source_prompts(store)}
    chosen: list[RunSummary] = [known[id] for id in order.sources if id in known]
    tasks = transfer.target_tasks(chosen)
    if order.what == "gain":
        return transfer_gain.train_missing_pairs(
            store, chosen, tasks, TransferGainSettings(order.steps, order.seeds, order.rows), warm
        )
    return transfer.measure_missing(store, chosen, tasks, order.rows, warm)


def _summarise_failures(refused: list[TransferScore | TransferRun]) -> str:
    if not refused:
        return ""
    first = refused[0]
    return f"{len(refused)} could not be measured; the first, on {first.task}: {first.reason}"
