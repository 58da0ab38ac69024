"""Measurements of transfer and trainings of references that a page requests and an idle worker makes.

A job is one small file next to the runs, so that the next worker continues it when this one ends.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from msgspec import Meta

from ptviz.engine.model_cache import ModelCache
from ptviz.experiments import references, transfer, transfer_gain
from ptviz.experiments.transfer import DEFAULT_ROWS
from ptviz.experiments.transfer_gain import DEFAULT_STEPS, TransferGainSettings
from ptviz.experiments.transfer_results import TransferRun, TransferScore
from ptviz.runs.atomic_io import atomic_write, to_store_error
from ptviz.runs.config import RunConfig
from ptviz.runs.failure_messages import failure_reason
from ptviz.runs.store import RunSummary, Store
from ptviz.validation import InvalidData, Name, Sentence, decode_json
from ptviz.worker.directory import WorkerDir

TransferKind = Literal["zero-shot", "gain"]


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


@dataclass(frozen=True)
class ReferenceJob:
    """The references to train on the seeds of a comparison; ``config`` is the JSON object of one of its runs.

    ``problem`` gives the reason if the worker ended without all results.
    """

    kinds: Annotated[tuple[references.Kind, ...], Meta(max_length=10)]
    config: Annotated[Mapping[Name, Any], Meta(max_length=100)]
    seeds: Annotated[tuple[int, ...], Meta(max_length=1000)]
    problem: Sentence = ""

    @classmethod
    def of_configs(cls, kinds: Sequence[references.Kind], configs: Sequence[RunConfig]) -> ReferenceJob:
        """Return the job for the seeds of configs that differ in nothing else."""
        seeds = tuple(dict.fromkeys(config.training.seed for config in configs))
        return cls(tuple(kinds), configs[0].to_json(), seeds)

    def configs(self) -> tuple[RunConfig, ...]:
        """Return one config for each seed.

        Raises:
            ValueError: if the config is damaged.
        """
        base = RunConfig.from_json(self.config)
        return tuple(replace(base, training=replace(base.training, seed=seed)) for seed in self.seeds)


Job = TransferJob | ReferenceJob
J = TypeVar("J", bound=TransferJob | ReferenceJob)
_JOB_FILES: Mapping[type[Job], str] = {TransferJob: ".transfer-order.json", ReferenceJob: ".reference-order.json"}


def submit_job(store: Store, job: Job) -> None:
    """Request measurements. The job replaces an earlier one of its type, whose results so far stay.

    Raises:
        StoreError: if the folder cannot be written, or the store is that of a visitor of a classroom.
    """
    store.check_unrestricted("measuring transfer" if isinstance(job, TransferJob) else "training references")
    try:
        store.root.mkdir(parents=True, exist_ok=True)  # A first visit: no run has made it yet.
    except OSError as error:
        raise to_store_error(error, store.root) from error
    atomic_write(_job_path(store, type(job)), json.dumps(asdict(job)).encode(), durable=False)
    WorkerDir.of_store(store.root).wake()


def current_job(store: Store) -> TransferJob | None:
    """Return the current transfer job, or the last one if it failed, or None."""
    return _read_job(store, TransferJob)


def current_reference_job(store: Store) -> ReferenceJob | None:
    """Return the current job of references, or the last one if it failed, or None."""
    return _read_job(store, ReferenceJob)


def _read_job(store: Store, kind: type[J]) -> J | None:
    with suppress(OSError, InvalidData):
        return decode_json(_job_path(store, kind).read_bytes(), kind)
    return None


def cancel_job(store: Store, kind: type[Job] = TransferJob) -> None:
    """Stop the current job of a type at the next training step; what was measured stays.

    Raises:
        StoreError: if the store is that of a visitor of a classroom.
    """
    store.check_unrestricted("stopping a measurement")
    _job_path(store, kind).unlink(missing_ok=True)


def _job_path(store: Store, kind: type[Job]) -> Path:
    return store.root / _JOB_FILES[kind]


class BackgroundExperiments:
    """Runs the current jobs in the worker, one small piece at a time."""

    def __init__(self, store: Store, model_cache: ModelCache) -> None:
        self.model_cache = model_cache
        self._lanes = [_Lane(self, store, kind) for kind in _JOB_FILES]

    def run_piece(self) -> bool:
        """Do one piece (a training step, or a cell) of the first job; False if there is none."""
        return any(lane.run_piece() for lane in self._lanes)


class _Lane:
    """The jobs of one type, one after another."""

    def __init__(self, owner: BackgroundExperiments, store: Store, kind: type[Job]) -> None:
        self.owner, self.store, self.kind = owner, store, kind
        self._job: Job | None = None
        self._pieces: Iterator[TransferScore | TransferRun | None] = iter(())
        self._failed: list[TransferScore | TransferRun] = []
        self._error = ""

    def run_piece(self) -> bool:
        """Do one piece of the current job; False if there is none."""
        job = _read_job(self.store, self.kind)
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

    def _start_job(self, job: Job | None) -> None:
        self._pieces = iter(())  # releases the lock at once
        self._job, self._failed, self._error = job, [], ""
        if job is not None and not job.problem:
            self._pieces = _run_job(self.store, job, self.owner.model_cache)

    def _finish_job(self, problem: str) -> None:
        if _read_job(self.store, self.kind) != self._job or self._job is None:
            return  # replaced or cancelled in the meantime
        if problem:
            submit_job(self.store, replace(self._job, problem=problem))
        else:
            cancel_job(self.store, self.kind)


def _run_job(store: Store, job: Job, model_cache: ModelCache) -> Iterator[TransferScore | TransferRun | None]:
    if isinstance(job, ReferenceJob):
        return _train_references(job)
    known = {source.id: source for source in transfer.source_prompts(store)}
    chosen: list[RunSummary] = [known[id] for id in job.sources if id in known]
    tasks = transfer.target_tasks(chosen)
    if job.what == "gain":
        return transfer_gain.train_missing_pairs(
            store, chosen, tasks, TransferGainSettings(job.steps, job.seeds, job.rows), model_cache
        )
    return transfer.measure_missing(store, chosen, tasks, job.rows, model_cache)


def _train_references(job: ReferenceJob) -> Iterator[None]:
    yield from references.train_missing(job.kinds, job.configs())


def _summarise_failures(refused: list[TransferScore | TransferRun]) -> str:
    if not refused:
        return ""
    first = refused[0]
    return f"{len(refused)} could not be measured; the first, on {first.task}: {first.reason}"
