"""Transfer measurements that a page requests and an idle worker makes.

A job is one small file next to the runs, so that the next worker continues it when this one ends.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from ptviz.engine.model_cache import ModelCache
from ptviz.experiments import transfer, transfer_gain
from ptviz.experiments.transfer import DEFAULT_ROWS
from ptviz.experiments.transfer_gain import DEFAULT_STEPS, TransferGainSettings
from ptviz.experiments.transfer_results import TransferRun, TransferScore
from ptviz.runs.atomic_io import atomic_write
from ptviz.runs.failure_messages import failure_reason
from ptviz.runs.store import RunSummary, Store
from ptviz.validation import InvalidData, Name, Sentence, decode_json
from ptviz.worker.directory import WorkerDir

TransferKind = Literal["zero-shot", "gain"]
_JOB_FILE = ".transfer-order.json"


@dataclass(frozen=True)
class TransferJob:
    """The grid to measure, accuracies without training or gains, of these prompts on their tasks.

    ``problem`` gives the reason if the worker ended with cells missing.
    """

    what: TransferKind
    sources: Annotated[tuple[Name, ...], Meta(max_length=1000)]
    steps: Annotated[int, Meta(ge=1, le=1_000_000)] = DEFAULT_STEPS
    seeds: Annotated[int, Meta(ge=1, le=1000)] = 1
    rows: Annotated[int, Meta(ge=1, le=1_000_000)] = DEFAULT_ROWS
    problem: Sentence = ""


def submit_job(store: Store, job: TransferJob) -> None:
    """Request a grid. It replaces an earlier job, whose measurements so far stay.

    Raises:
        StoreError: if the folder cannot be written, or the store is that of a visitor of a classroom.
    """
    store.check_unrestricted("measuring transfer")
    atomic_write(_job_path(store), json.dumps(asdict(job)).encode(), durable=False)
    WorkerDir.of_store(store.root).wake()


def current_job(store: Store) -> TransferJob | None:
    """Return the current job, or the last one if it failed, or None."""
    with suppress(OSError, InvalidData):
        return decode_json(_job_path(store).read_bytes(), TransferJob)
    return None


def cancel_job(store: Store) -> None:
    """Stop the current job at the next training step; what was measured stays.

    Raises:
        StoreError: if the store is that of a visitor of a classroom.
    """
    store.check_unrestricted("stopping a measurement")
    _job_path(store).unlink(missing_ok=True)


def _job_path(store: Store) -> Path:
    return store.root / _JOB_FILE


class BackgroundExperiments:
    """Runs the current job in the worker, one small piece at a time."""

    def __init__(self, store: Store, model_cache: ModelCache) -> None:
        self.store, self.model_cache = store, model_cache
        self._job: TransferJob | None = None
        self._pieces: Iterator[TransferScore | TransferRun | None] = iter(())
        self._failed: list[TransferScore | TransferRun] = []
        self._error = ""

    def run_piece(self) -> bool:
        """Do one piece (a training step, or a cell); False if there is no job."""
        job = current_job(self.store)
        if job != self._job:
            self._start_job(job)
        if job is None or job.problem:
            return False
        try:
            done = next(self._pieces)
        except StopIteration:
            self._finish_job(self._error or _summarise_failures(self._failed))
        except Exception as error:
            self._error = failure_reason(error, None)  # The job file may not be writable: then the next piece ends it.
            self._finish_job(self._error)
        else:
            if done is not None and done.reason:
                self._failed.append(done)
        return True

    def _start_job(self, job: TransferJob | None) -> None:
        self._pieces = iter(())  # releases the lock at once
        self._job, self._failed, self._error = job, [], ""
        if job is not None and not job.problem:
            self._pieces = _run_job(self.store, job, self.model_cache)

    def _finish_job(self, problem: str) -> None:
        if current_job(self.store) != self._job or self._job is None:
            return  # replaced or cancelled in the meantime
        if problem:
            submit_job(self.store, replace(self._job, problem=problem))
        else:
            cancel_job(self.store)


def _run_job(store: Store, job: TransferJob, model_cache: ModelCache) -> Iterator[TransferScore | TransferRun | None]:
    known = {source.id: source for source in transfer.source_prompts(store)}
    chosen: list[RunSummary] = [known[id] for id in job.sources if id in known]
    tasks = transfer.target_tasks(chosen)
    if job.what == "gain":
        return transfer_gain.train_missing_pairs(
            store, chosen, tasks, TransferGainSettings(job.steps, job.seeds, job.rows), model_cache
        )
    return transfer.measure_missing(store, chosen, tasks, job.rows, model_cache)


def _summarise_failures(refused: list[TransferScore | TransferRun]) -> str:
    if not refused:
        return ""
    first = refused[0]
    return f"{len(refused)} could not be measured; the first, on {first.task}: {first.reason}"
