"""The one writer of a run: events are appended as complete lines, other files are replaced atomically."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Literal

from ptviz.runs import snapshots
from ptviz.runs.atomic_io import AppendOnlyFile, DiskFullError, StoreError, atomic_write, remove_partial_files
from ptviz.runs.failure_messages import oom_kill_count
from ptviz.runs.file_lock import FileLock, lock_owner
from ptviz.runs.history import resume_marker
from ptviz.runs.run import Run, best_state, read_status_file
from ptviz.runs.snapshots import AxesByTensor, ResumeState
from ptviz.runs.status import Status
from ptviz.training import Baselines, Evaluated, Event, Failed, Finished, Snapshot, StageStarted, StepCompleted
from ptviz.training.events import event_to_json

_STATUS_INTERVAL = 0.5
"""Seconds between two writes of status.json while only steps are written."""
_MAX_REASON_LENGTH = 1500  # Keeps status.json within one disk block, so that it can be rewritten on a full disk.


@contextmanager
def exclusive(run: Run) -> Iterator[Status]:
    """Hold a run's lock while changing it; yield the status on disk.

    Raises:
        StoreError: if another process is writing the run, or the folder cannot be written.
    """
    lock = _acquire_lock(run)
    try:
        yield read_status_file(run.path)
    finally:
        lock.release()


def _acquire_lock(run: Run) -> FileLock:
    lock = FileLock(run.path / "lock")
    if not lock.acquire():
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


class Writer:
    """Writes one run while it is trained. Use it as a context manager, which releases the run's lock at the end.

    Raises:
        StoreError: if another process is writing the run, or its folder cannot be written.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.folder = run.path
        self.axes: AxesByTensor = MappingProxyType({})
        self._resume_state: ResumeState | None = None
        self._last_status_write = 0.0
        self._lock = _acquire_lock(run)
        try:
            (self.folder / "snapshots").mkdir(exist_ok=True)
            remove_partial_files(self.folder)
            remove_partial_files(self.folder / "snapshots")
            self._events = AppendOnlyFile(self.folder / "events.jsonl")
            self.status = read_status_file(self.folder)
        except BaseException:
            self._lock.release()
            raise

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._events.close()
        self._lock.release()

    def begin(self, resumed: ResumeState | None) -> None:
        """Mark the run as running in this process, from the state ``resumed`` or from the first step.

        Events and snapshots after that state are dropped, since the run repeats them.

        Raises:
            StoreError: if the disk is full or the folder cannot be written.
        """
        stage, step = (resumed.stage, resumed.step) if resumed else (0, 0)
        self._resume_state = resumed
        for old in ("prompt.safetensors", "predictions.parquet", "error.txt"):
            (self.folder / old).unlink(missing_ok=True)
        for info in self.run.snapshots():
            if resumed is None or (info.stage, info.step) > (stage, step):
                info.path.unlink(missing_ok=True)
        if (self.folder / "events.jsonl").stat().st_size:
            self._events.append(resume_marker(stage, step, self.run.config.training.steps))
        best = self.run.history().best_evaluation
        self.status = self.status.with_changes(
            state="running",
            reason="",
            pid=os.getpid(),
            kills=oom_kill_count(),
            stage=stage,
            step=step,
            kept=step if resumed else None,
            accuracy=best.accuracy if best else None,
            best_step=best.step if best else None,
            test=None,
        )
        write_status(self.folder, self.status)

    def write_environment(self, facts: Mapping[str, Any]) -> None:
        """Write the environment of the run.

        Raises:
            StoreError: if the disk is full or the folder cannot be written.
        """
        atomic_write(self.folder / "environment.json", json.dumps(dict(facts), indent=1).encode())

    def write_event(self, event: Event) -> None:
        """Write one event.

        Raises:
            StoreError: if the disk is full or the folder cannot be written; earlier files stay intact.
        """
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
                self.status = self.status.with_changes(accuracy=event.accuracy, best_step=event.step)
            case Baselines():
                self.status = self.status.with_changes(majority=event.majority, zero_shot=event.zero_shot)
            case Snapshot():
                self.status = self.status.with_changes(step=event.step, stage=event.stage, kept=event.step)
            case Finished():
                self._finish(event)
                return
        # There are many steps a second, so only they wait for the next write.
        self._write_status(at_once=not isinstance(event, StepCompleted), durable=isinstance(event, Snapshot))

    def _write_snapshot(self, event: Snapshot) -> None:
        """Write the snapshot, then the resume state: if killed in between, the older resume state is intact."""
        self._events.sync()
        state = dict(event.method), dict(event.resume), dict(event.progress)
        self._resume_state = ResumeState(event.stage, event.step, *state, axes=self.axes)
        path = self.folder / "snapshots" / snapshots.snapshot_name(event.stage, event.step)
        snapshots.write_tensors(path, event.method, snapshots.snapshot_header(event.stage, event.step, self.axes))
        snapshots.write_resume_state(self.folder / "resume.safetensors", self._resume_state)

    def _finish(self, event: Finished) -> None:
        self._events.sync()
        self._write_best_prompt(event.best_step)
        self.status = self.status.with_changes(
            state="finished",
            reason=event.reason,
            pid=None,
            accuracy=event.validation,
            best_step=event.best_step,
            test=event.test,
            seconds=event.seconds,
            steps_per_second=event.steps_per_second,
        )
        self._write_status(at_once=True, durable=True)
        (self.folder / "stop").unlink(missing_ok=True)

    def _write_best_prompt(self, step: int) -> None:
        """Write the best prompt so far to its own file."""
        saved = self._resume_state or self.run.resume_state()
        if saved is not None:
            header = snapshots.snapshot_header(saved.stage, step, saved.axes)
            snapshots.write_tensors(self.folder / "prompt.safetensors", best_state(saved), header)

    def _write_status(self, at_once: bool, durable: bool = False) -> None:
        now = time.monotonic()
        if at_once or now - self._last_status_write > _STATUS_INTERVAL:
            write_status(self.folder, self.status, durable)
            self._last_status_write = now

    def end(self, state: Literal["stopped", "failed"], reason: str) -> None:
        """Mark the run as stopped or failed. Its snapshots stay; a full disk raises no error here."""
        with suppress(StoreError):
            if state == "failed":
                self._events.append(json.dumps(event_to_json(Failed(reason, self.status.step))).encode())
            self._events.sync()
        with suppress(StoreError):
            self._write_best_prompt(self.status.best_step or self.status.step)
        self.status = self.status.with_changes(state=state, reason=reason[:_MAX_REASON_LENGTH], pid=None)
        with suppress(StoreError):
            write_status(self.folder, self.status)
        with suppress(OSError):
            (self.folder / "stop").unlink(missing_ok=True)


def mark_if_dead(run: Run) -> bool:
    """Write the status of a run whose writer died; return False if it is alive or another process does it."""
    written, actual = read_status_file(run.path), run.status()
    if written.state not in ("running", "stopping") or (actual.state != "stopped" and actual.state != "failed"):
        return False
    try:
        with Writer(run) as writer:
            if writer.status.state in ("running", "stopping"):
                writer.end(actual.state, actual.reason)
    except StoreError:
        return False
    return True
