"""The one writer of a run: events are appended as complete lines, other files are replaced atomically."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, Literal

from ptviz.atomic_files import remove_leftovers
from ptviz.runs import prediction_files, snapshots
from ptviz.runs.failure_messages import oom_kill_count
from ptviz.runs.file_lock import FileLock, lock_owner
from ptviz.runs.history import resume_marker
from ptviz.runs.run import Run, best_state, check_writable, read_status_file
from ptviz.runs.run_file_io import AppendOnlyFile, DiskFullError, StoreError, atomic_write, to_store_error
from ptviz.runs.snapshots import AxesByTensor, ResumeState
from ptviz.runs.status import Status
from ptviz.runs.stop_request import remove_stop_request
from ptviz.training import Baselines, Evaluated, Event, Failed, Finished, Snapshot, StageStarted, StepCompleted
from ptviz.training.events import event_to_json

if TYPE_CHECKING:
    from torch import Tensor

_STATUS_INTERVAL = 0.5
"""Seconds between two writes of status.json while only steps are written."""
_MAX_REASON_LENGTH = 1500  # Keeps status.json within one disk block, so that it can be rewritten on a full disk.


RESULT_FILES = ("prompt.safetensors", prediction_files.PREDICTIONS_FILE, prediction_files.ERROR_FILE, "error.txt")
"""Files of a run that has ended, deleted when it is trained further."""


class RunDeletedError(StoreError):
    """The run's folder was deleted while it was written."""


@contextmanager
def exclusive(run: Run) -> Iterator[Status]:
    """Hold a run's lock while changing it; yield the status on disk.

    Raises:
        StoreError: if another process is writing the run, it is a recorded one, or the folder cannot be written.
    """
    lock = _acquire_lock(run)
    try:
        yield read_status_file(run.path)
    finally:
        lock.release()


def _acquire_lock(run: Run) -> FileLock:
    check_writable(run.path)
    lock = FileLock(run.path / "lock")
    try:
        is_free = lock.acquire()
    except StoreError as error:
        raise error if run.path.is_dir() else RunDeletedError(f"run {run.id} was deleted") from None
    if not is_free:
        raise StoreError(
            f"run {run.id} is being written by process {lock_owner(lock.path)}: a run has one writer. "
            "Stop it first, or wait until it is finished"
        )
    return lock


def write_status(folder: Path, status: Status, durable: bool = True) -> None:
    """Write status.json atomically; on a full disk, overwrite the old file in place.

    Raises:
        StoreError: if both fail.
    """
    path, data = folder / "status.json", status.to_bytes()
    try:
        atomic_write(path, data, durable)
    except DiskFullError:
        try:
            with path.open("r+b") as file:
                file.write(data)
                file.truncate()
        except OSError:
            raise DiskFullError(f"the disk is full: {path} could not be written. Free some space") from None


class RunWriter:
    """Writes one run while it is trained. Use it as a context manager, which releases the run's lock at the end.

    Raises:
        StoreError: if another process is writing the run, it is a recorded one, or its folder cannot be written.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.folder = run.path
        self.axes: AxesByTensor = MappingProxyType({})
        self._resume_state: ResumeState | None = None
        self._last_status_write = 0.0
        self._extensions = 0
        self._lock = _acquire_lock(run)
        try:
            self._make_folders()
            self.status = read_status_file(self.folder)
            self._events = AppendOnlyFile(self.folder / "events.jsonl")
        except BaseException:
            self._lock.release()
            raise

    def __enter__(self) -> RunWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._events.close()
        if self._is_deleted() and not (self.folder / "config.json").exists():
            # What was written while the folder was being deleted may have kept it: it must not come back as half a run.
            shutil.rmtree(self.folder, ignore_errors=True)
        self._lock.release()

    def _make_folders(self) -> None:
        try:
            (self.folder / "snapshots").mkdir(exist_ok=True)
        except OSError as error:
            raise to_store_error(error, self.folder) from error
        remove_leftovers(self.folder)
        remove_leftovers(self.folder / "snapshots")

    def _is_deleted(self) -> bool:
        """Return whether the run was deleted, or is being deleted: its lock is no longer where others look for it."""
        return not self._lock.is_intact()

    def _check_not_deleted(self) -> None:
        if self._is_deleted():
            raise RunDeletedError(f"run {self.run.id} was deleted while it was trained")

    def begin(self, resumed: ResumeState | None) -> None:
        """Mark the run as running in this process, from the state ``resumed`` or from the first step.

        Events and snapshots after that state are dropped, since the run repeats them.

        Raises:
            StoreError: if the disk is full or the folder cannot be written.
        """
        stage, step = (resumed.stage, resumed.step) if resumed else (0, 0)
        self._resume_state, config = resumed, self.run.config
        self._extensions = len(config.planned)
        if (self.folder / "events.jsonl").stat().st_size:
            self._events.append(resume_marker(stage, step, config.training.steps))
        best = self.run.history().best_evaluation
        self.status = self.status.with_changes(
            state="running",
            reason="",
            pid=os.getpid(),
            oom_kills=oom_kill_count(),
            extensions=self._extensions,
            stage=stage,
            step=step,
            saved_step=step if resumed else None,
            accuracy=best.accuracy if best else None,
            best_stage=best.stage if best else None,
            best_step=best.step if best else None,
            test=None,
        )
        write_status(self.folder, self.status)
        self._remove_later_files(resumed)  # last, so that a run that says "finished" has all its files

    def _remove_later_files(self, resumed: ResumeState | None) -> None:
        """Delete the results of an earlier attempt, and snapshots after the state to resume from."""
        outdated = [self.folder / name for name in RESULT_FILES]
        outdated += [
            info.path
            for info in self.run.snapshots()
            if resumed is None or (info.stage, info.step) > (resumed.stage, resumed.step)
        ]
        for path in outdated:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise to_store_error(error, path) from error

    def write_environment(self, facts: Mapping[str, Any]) -> None:
        """Write the environment of the run.

        Raises:
            StoreError: if the disk is full or the folder cannot be written.
        """
        self._check_not_deleted()
        atomic_write(self.folder / "environment.json", json.dumps(dict(facts), indent=1).encode())

    def best_state(self) -> dict[str, Tensor]:
        """Return the method's state dict with the best validation accuracy so far.

        Raises:
            StoreError: if there is no snapshot yet.
        """
        return best_state(self._resume_state) if self._resume_state is not None else self.run.prompt()

    def write_predictions(self, table: bytes) -> None:
        """Write the test predictions, a Parquet file.

        Raises:
            StoreError: if the disk is full or the folder cannot be written.
        """
        self._check_not_deleted()
        prediction_files.write_predictions(self.folder, table)

    def write_predictions_error(self, reason: str) -> None:
        """Record why the predictions could not be made; a worker attempts them again.

        Raises:
            StoreError: if the disk is full or the folder cannot be written.
        """
        self._check_not_deleted()
        prediction_files.write_predictions_error(self.folder, 1, reason)

    def write_event(self, event: Event) -> None:
        """Write one event.

        Raises:
            RunDeletedError: if the run has been deleted.
            StoreError: if the disk is full or the folder cannot be written; earlier files stay intact.
        """
        self._check_not_deleted()
        if isinstance(event, Snapshot):
            self._write_snapshot(event)
        self._events.append(json.dumps(event_to_json(event)).encode())
        match event:
            case StageStarted():
                same = event.index == self.status.stage  # A resumed stage starts again, in the middle.
                step = self.status.step if same else 0
                self.status = self.status.with_changes(stage=event.index, steps=event.steps, step=step)
            case StepCompleted():
                self.status = self.status.with_changes(step=event.step, stage=event.stage, seconds=event.seconds)
            case Evaluated() if event.best:
                self.status = self.status.with_changes(
                    accuracy=event.accuracy, best_stage=event.stage, best_step=event.step
                )
            case Baselines():
                self.status = self.status.with_changes(majority=event.majority, zero_shot=event.zero_shot)
            case Snapshot():
                self.status = self.status.with_changes(step=event.step, stage=event.stage, saved_step=event.step)
            case Finished():
                self._finish(event)
                return
        # There are many steps a second, so only they wait for the next write.
        self._write_status(at_once=not isinstance(event, StepCompleted), durable=isinstance(event, Snapshot))

    def _write_snapshot(self, event: Snapshot) -> None:
        """Write the snapshot, then the resume state: if killed in between, the older resume state is intact."""
        self._events.sync()
        state = dict(event.method), dict(event.resume), dict(event.progress)
        self._resume_state = ResumeState(event.stage, event.step, *state, axes=self.axes, extensions=self._extensions)
        path = self.folder / "snapshots" / snapshots.snapshot_name(event.stage, event.step)
        merged = {snapshots.MERGED_PREFIX + name: tensor for name, tensor in event.merged.items()}
        axes = {name: snapshots.MERGED_AXES[tensor.ndim] for name, tensor in merged.items()} or self.axes
        header = snapshots.snapshot_header(event.stage, event.step, axes)
        snapshots.write_tensors(path, merged or event.method, header)
        snapshots.write_resume_state(self.folder / "resume.safetensors", self._resume_state)

    def _finish(self, event: Finished) -> None:
        self._events.sync()
        stage = self.status.stage if event.best_stage is None else event.best_stage
        self._write_best_prompt(stage, event.best_step)
        self.status = self.status.with_changes(
            state="finished",
            reason=event.reason,
            pid=None,
            accuracy=event.validation,
            best_stage=stage,
            best_step=event.best_step,
            test=event.test,
            seconds=event.seconds,
            steps_per_second=event.steps_per_second,
        )
        self._write_status(at_once=True, durable=True)
        with suppress(StoreError):  # The worker removes it from runs that have ended.
            remove_stop_request(self.run)

    def _write_best_prompt(self, stage: int, step: int) -> None:
        """Write the best prompt so far to its own file."""
        saved = self._resume_state or self.run.resume_state()
        if saved is not None:
            header = snapshots.snapshot_header(stage, step, saved.axes)
            snapshots.write_tensors(self.folder / "prompt.safetensors", best_state(saved), header)

    def _write_status(self, at_once: bool, durable: bool = False) -> None:
        now = time.monotonic()
        if at_once or now - self._last_status_write > _STATUS_INTERVAL:
            write_status(self.folder, self.status, durable)
            self._last_status_write = now

    def end(self, state: Literal["stopped", "failed"], reason: str, details: str = "") -> None:
        """Mark the run as stopped or failed; ``details`` go to error.txt. A full disk raises no error here.

        Nothing is written to a run that was deleted.
        """
        if self._is_deleted():
            return
        with suppress(StoreError):
            if state == "failed":
                self._events.append(json.dumps(event_to_json(Failed(reason, self.status.step))).encode())
            self._events.sync()
        with suppress(StoreError):
            # Step 0 is a step, too: the prompt before training may be the best.
            self._write_best_prompt(*(self.status.best_place or (self.status.stage, self.status.step)))
        self.status = self.status.with_changes(state=state, reason=reason[:_MAX_REASON_LENGTH], pid=None)
        with suppress(StoreError):
            write_status(self.folder, self.status)
        with suppress(StoreError):
            remove_stop_request(self.run)
        if details:
            with suppress(StoreError):
                atomic_write(self.folder / "error.txt", details.encode())


def mark_if_dead(run: Run) -> bool:
    """Write the status of a run whose writer died; return False if it is alive or another process does it."""
    written, actual = read_status_file(run.path), run.status()
    if written.state not in ("running", "stopping") or (actual.state != "stopped" and actual.state != "failed"):
        return False
    try:
        with RunWriter(run) as writer:
            if writer.status.state in ("running", "stopping"):
                writer.end(actual.state, actual.reason)
    except StoreError:
        return False
    return True
