"""The worker's folder inside the folder of runs: its lock, wake file, info file, log and request queue."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

from msgspec import Struct

import ptviz
from ptviz.runs.file_lock import is_locked, lock_owner
from ptviz.runs.run_file_io import to_store_error
from ptviz.validation import Count, InvalidData, Name, PathText, Timestamp, decode_json
from ptviz.worker.request_queue import RequestQueue

EXIT_BUSY = 3
"""Exit status of a worker that found another one serving the same folder."""


class WorkerDir(NamedTuple):
    """Paths of a store's worker: a hidden folder next to the runs."""

    folder: Path

    @classmethod
    def of_store(cls, root: Path) -> WorkerDir:
        """Return the worker folder of the store at ``root``."""
        return cls(root / ".worker")

    @property
    def lock_file(self) -> Path:
        """Locked by the worker as long as it lives."""
        return self.folder / "lock"

    @property
    def wake_file(self) -> Path:
        """Written when something was put in the queue."""
        return self.folder / "bell"

    @property
    def info_file(self) -> Path:
        """A ``WorkerInfo`` as JSON, written by the worker when it changes."""
        return self.folder / "worker.json"

    @property
    def log_file(self) -> Path:
        """The output of the worker and its libraries."""
        return self.folder / "log.txt"

    @property
    def requests(self) -> RequestQueue:
        """Requests to the worker."""
        return RequestQueue(self.folder / "mail")

    def create(self) -> WorkerDir:
        """Create the folder and that of its requests.

        Raises:
            StoreError: if it cannot be written.
        """
        try:
            self.requests.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise to_store_error(error, self.folder) from error
        return self

    def wake(self) -> None:
        """Wake an idle worker: the queue has something new."""
        with suppress(OSError):
            # Content, not only a new time: every system reports a write to those who watch the folder.
            self.wake_file.write_text(str(time.time_ns()))

    def last_wake(self) -> int:
        """Return when the wake file was last written, in nanoseconds since 1970; 0 if never."""
        try:
            return self.wake_file.stat().st_mtime_ns
        except OSError:
            return 0


class _InfoFile(Struct):
    pid: Count
    run: Name | None
    backbone: PathText | None
    version: Name
    built: Timestamp
    updated: Timestamp


class WorkerInfo(NamedTuple):
    """A living worker: its process, the run it trains, and the backbone it has in memory.

    ``built`` is when the newest file of the code it runs was modified, ``updated`` when this information was written;
    both in seconds since 1970.
    """

    pid: int
    run: str | None
    backbone: str | None
    version: str
    built: float
    updated: float

    @classmethod
    def of_worker_dir(cls, worker_dir: WorkerDir) -> WorkerInfo | None:
        """Return the living worker of a folder, or None."""
        if not is_locked(worker_dir.lock_file):
            return None
        with suppress(OSError, InvalidData):
            found = decode_json(worker_dir.info_file.read_bytes(), _InfoFile)
            if found.pid == lock_owner(worker_dir.lock_file):
                return cls(found.pid, found.run, found.backbone, found.version, found.built, found.updated)
        return cls(lock_owner(worker_dir.lock_file) or 0, None, None, "", code_modified_at(), 0.0)


def process_command(root: Path) -> list[str]:
    """Return the command that starts a worker on the runs under ``root``."""
    return [sys.executable, "-m", "ptviz.worker.process", str(root)]


@cache
def code_modified_at() -> float:
    """Return when the newest file of this process's code was modified, in seconds since 1970."""
    return max(path.stat().st_mtime for path in Path(ptviz.__file__).parent.rglob("*.py"))
