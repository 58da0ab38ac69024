"""What a page asks an idle worker to measure or to train: small files next to the runs, read without torch.

``ptviz.worker.background_experiments`` does it; the next worker continues a job when this one ends.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from msgspec import Meta

from ptviz.experiments.reference_record import Kind
from ptviz.experiments.transfer_results import DEFAULT_ROWS, DEFAULT_STEPS
from ptviz.runs.config import RunConfig
from ptviz.runs.run_file_io import atomic_write, to_store_error
from ptviz.runs.store import Store
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

    kinds: Annotated[tuple[Kind, ...], Meta(max_length=10)]
    config: Annotated[Mapping[Name, Any], Meta(max_length=100)]
    seeds: Annotated[tuple[int, ...], Meta(max_length=1000)]
    problem: Sentence = ""

    @classmethod
    def of_configs(cls, kinds: Sequence[Kind], configs: Sequence[RunConfig]) -> ReferenceJob:
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
JOB_FILES: Mapping[type[Any], str] = {TransferJob: ".transfer-order.json", ReferenceJob: ".reference-order.json"}


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
    return read_job(store, TransferJob)


def current_reference_job(store: Store) -> ReferenceJob | None:
    """Return the current job of references, or the last one if it failed, or None."""
    return read_job(store, ReferenceJob)


def read_job(store: Store, kind: type[J]) -> J | None:
    """Return the current job of a type, or the last one if it failed, or None."""
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


def _job_path(store: Store, kind: type[Any]) -> Path:
    return store.root / JOB_FILES[kind]
