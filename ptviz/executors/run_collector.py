"""The collector beside the store: the only writer of the folders of runs that nodes train.

It holds the lock of each run that a node trains, and gives each attempt a token: what a node sends after another has
taken its run over is refused, so that nothing is written twice.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from ptviz.executors.run_mirror import Change, apply_changes, pack_finished_run, pack_for_node
from ptviz.executors.run_stream import Reply
from ptviz.runs.failure_messages import resume_hint
from ptviz.runs.file_lock import FileLock
from ptviz.runs.placement import cluster_resources
from ptviz.runs.run import Run, read_status_file
from ptviz.runs.run_file_io import StoreError
from ptviz.runs.status import ACTIVE_STATES, CLUSTER_LOCK
from ptviz.runs.stop_request import remove_stop_request, request_stop, stop_request
from ptviz.runs.store import Store
from ptviz.runs.writer import RunWriter, exclusive, write_status


class PackedRun(NamedTuple):
    """A run on its way to a node: the attempt's token, its files, and those of the source prompts that it uses."""

    attempt: str
    files: Mapping[str, bytes]
    sources: Mapping[str, Mapping[str, bytes]]


class _OpenRun(NamedTuple):
    run: Run
    lock: FileLock
    attempt: str


class RunCollector:
    """Writes what nodes send into the runs of a store. One process, one thread."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._open: dict[str, _OpenRun] = {}

    def unfinished_runs(self) -> list[str]:
        """Return the runs of the cluster that are queued, or whose collector died, the oldest first."""
        found = []
        for summary in self.store.list():
            folder = self.store.root / summary.id
            with suppress(StoreError):
                if cluster_resources(folder) is not None and read_status_file(folder).state in ACTIVE_STATES:
                    found.append(summary)
        return [one.id for one in sorted(found, key=lambda one: (one.status.queued, one.id))]

    def queue(self, id: str) -> bool:
        """Put an idle run into the queue; False if it is active, finished or gone.

        Raises:
            StoreError: if another process writes the run.
        """
        if self.state_of(id) not in ("stopped", "failed"):
            return False
        run = self.store.get(id)
        with exclusive(run) as status:
            remove_stop_request(run)
            write_status(run.path, status.with_changes(state="queued", reason="", pid=None, queued=time.time()))
        return True

    def hold(self, id: str) -> FileLock:
        """Have a run that its node writes itself count as active, also after its node died; return the lock to release.

        Raises:
            StoreError: if it was deleted, or another collector holds it.
        """
        lock = FileLock(self.store.get(id).path / CLUSTER_LOCK)
        if not lock.acquire():
            raise StoreError(f"run {id} is trained through another collector: stop it there first, or wait for it")
        return lock

    def begin(self, id: str, sources: Sequence[str] = ()) -> PackedRun | None:
        """Open a run for a node; None if it is no longer wanted: stopped while it was queued, or deleted.

        Raises:
            StoreError: if another process writes the run, or it cannot be read.
        """
        self._release(id)
        try:
            run = self.store.get(id)
        except StoreError:
            return None
        lock = FileLock(run.path / "lock")
        if not lock.acquire():
            raise StoreError(f"run {id} is being written by another process")
        try:
            status = read_status_file(run.path)
            stopping = stop_request(run.path)
            if stopping or status.state not in ACTIVE_STATES:
                if status.state in ACTIVE_STATES:
                    reason = f"{stopping or 'stopped'} while it was queued; {resume_hint(status.saved_step)}"
                    write_status(run.path, status.with_changes(state="stopped", reason=reason, pid=None))
                remove_stop_request(run)
                lock.release()
                return None
            packed = {source: pack_finished_run(self.store.get(source).path) for source in sources}
            opened = _OpenRun(run, lock, secrets.token_hex(8))
            found = PackedRun(opened.attempt, pack_for_node(run.path), packed)
        except BaseException:
            lock.release()
            raise
        self._open[id] = opened
        return found

    def receive(self, id: str, attempt: str, changes: Sequence[Change]) -> Reply:
        """Write the changes of a run; they are refused (``stale``) if another node has taken it over or it was deleted.

        Raises:
            StoreError: if the disk is full, or the changes do not fit what is there.
        """
        opened = self._open.get(id)
        if opened is None or opened.attempt != attempt or not opened.lock.is_intact():
            return Reply(stale=True)
        apply_changes(opened.run.path, changes)
        return Reply(stop_request(opened.run.path) or "")

    def stop_early(self, id: str, reason: str) -> None:
        """Have an active run stop for a reason of its own.

        Raises:
            StoreError: if its folder cannot be written.
        """
        if self.state_of(id) in ACTIVE_STATES:
            request_stop(self.store.get(id), reason)

    def close(self, id: str) -> None:
        """Close a run whose node has sent its end. A run that still says that it trains has failed.

        Raises:
            StoreError: if the run cannot be written.
        """
        opened = self._open.get(id)
        self._release(id)
        if opened is not None and opened.run.path.is_dir():
            with suppress(StoreError):
                remove_stop_request(opened.run)
            if read_status_file(opened.run.path).state in ACTIVE_STATES:
                self.fail(id, "its node ended the training without reporting a final status; resume the run")

    def adopt(self, id: str) -> bool:
        """Take over a run of a collector that died; False if it is to stop, and is stopped now.

        Raises:
            StoreError: if the run cannot be written.
        """
        if read_status_file(self.store.get(id).path).state == "queued":
            return True
        return self.requeue(id, "its collector was started again")

    def requeue(self, id: str, reason: str) -> bool:
        """Put a run whose node died back into the queue; False if it is to stop, and is stopped now.

        Raises:
            StoreError: if the run cannot be written.
        """
        self._release(id)
        run = self.store.get(id)
        with exclusive(run) as status:
            if status.state not in ACTIVE_STATES:
                return False
            stopping = stop_request(run.path)
            state = "queued" if stopping is None else "stopped"
            step = "the beginning" if status.saved_step is None else f"step {status.saved_step}"
            said = f"{reason}; it continues from {step}" if state == "queued" else f"{stopping}; {reason} meanwhile"
            write_status(
                run.path, status.with_changes(state=state, reason=said, pid=None, queued=status.queued or time.time())
            )
            if state == "stopped":
                remove_stop_request(run)
        return state == "queued"

    def fail(self, id: str, reason: str, details: str = "") -> None:
        """Mark a run as failed. A run that was deleted, or has ended, is left alone.

        Raises:
            StoreError: if the run is written by another process.
        """
        self._release(id)
        try:
            run = self.store.get(id)
        except StoreError:
            return
        with RunWriter(run) as writer:
            if writer.status.state in ACTIVE_STATES:
                writer.end("failed", reason, details)

    def state_of(self, id: str) -> str:
        """Return the state of a run, "missing" if there is none."""
        try:
            return self.store.get(id).status().state
        except StoreError:
            return "missing"

    def open_runs(self) -> list[str]:
        """Return the runs that nodes train now."""
        return [*self._open]

    def _release(self, id: str) -> None:
        if (opened := self._open.pop(id, None)) is not None:
            opened.lock.release()
