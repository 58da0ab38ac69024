"""Measurements of transfer and trainings of references that a page requests and an idle worker makes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ptviz.engine.model_cache import ModelCache
from ptviz.experiments import lora_and_full_tuning, transfer_gain, transfer_prompts, zero_shot_transfer
from ptviz.experiments.transfer_gain import TransferGainSettings
from ptviz.experiments.transfer_results import TransferRun, TransferScore
from ptviz.runs.failure_messages import failure_reason
from ptviz.runs.store import RunSummary, Store
from ptviz.worker.background_jobs import JOB_FILES, Job, ReferenceJob, cancel_job, read_job, submit_job


class BackgroundExperiments:
    """Runs the current jobs in the worker, one small piece at a time."""

    def __init__(self, store: Store, model_cache: ModelCache) -> None:
        self.model_cache = model_cache
        self._lanes = [_Lane(self, store, kind) for kind in JOB_FILES]

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
        job = read_job(self.store, self.kind)
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
            try:
                self._pieces = _run_job(self.store, job, self.owner.model_cache)
            except (ValueError, OSError) as error:  # The job has no pieces, so it ends with this problem.
                self._error = failure_reason(error, None)

    def _finish_job(self, problem: str) -> None:
        if read_job(self.store, self.kind) != self._job or self._job is None:
            return  # replaced or cancelled in the meantime
        if problem:
            submit_job(self.store, replace(self._job, problem=problem))
        else:
            cancel_job(self.store, self.kind)


def _run_job(store: Store, job: Job, model_cache: ModelCache) -> Iterator[TransferScore | TransferRun | None]:
    if isinstance(job, ReferenceJob):
        return _train_references(job)
    known = {source.id: source for source in transfer_prompts.source_prompts(store)}
    chosen: list[RunSummary] = [known[id] for id in job.sources if id in known]
    tasks = transfer_prompts.target_tasks(chosen)
    if job.what == "gain":
        return transfer_gain.train_missing_pairs(
            store, chosen, tasks, TransferGainSettings(job.steps, job.seeds, job.rows), model_cache
        )
    return zero_shot_transfer.measure_missing(store, chosen, tasks, job.rows, model_cache)


def _train_references(job: ReferenceJob) -> Iterator[None]:
    yield from lora_and_full_tuning.train_missing(job.kinds, job.configs())


def _summarise_failures(refused: list[TransferScore | TransferRun]) -> str:
    if not refused:
        return ""
    first = refused[0]
    return f"{len(refused)} could not be measured; the first, on {first.task}: {first.reason}"
