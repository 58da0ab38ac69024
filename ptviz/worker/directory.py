"""Where the worker of a folder of runs is found: its lock, its bell, its card and its mail."""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

import ptviz
from ptviz.runs.atomic_io import to_store_error
from ptviz.runs.file_lock import is_locked, lock_owner
from ptviz.worker.rpc import RequestQueue

EXIT_BUSY = 3
"""Exit status of a worker that found another one serving the same folder."""


class WorkerDir(NamedTuple):
    """Where a store's worker lives: a hidden folder among the runs."""

    folder: Path

    @classmethod
    def of_store(cls, root: Path) -> WorkerDir:
        """The office of the store at ``root``."""
        return cls(root / ".worker")

    @property
    def lock_file(self) -> Path:
        """Held by the worker as long as it lives."""
        return self.folder / "lock"

    @property
    def wake_file(self) -> Path:
        """Rung when something was put in the queue."""
        return self.folder / "bell"

    @property
    def heartbeat(self) -> Path:
        """What the worker says about itself, once a second."""
        return self.folder / "worker.json"

    @property
    def log_file(self) -> Path:
        """What the worker and its libraries print."""
        return self.folder / "log.txt"

    @property
    def requests(self) -> RequestQueue:
        """Letters to the worker."""
        return RequestQueue(self.folder / "mail")

    def create(self) -> WorkerDir:
        """Make the folder.

        Raises:
            StoreError: if it cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise to_store_error(error, self.folder) from error
        return self

    def wake(self) -> None:
        """Say that the queue has something new."""
        with suppress(OSError):
            self.wake_file.touch()
            os.utime(self.wake_file, ns=(time.time_ns(), time.time_ns()))

    def last_wake(self) -> int:
        """When the bell was last rung."""
        try:
            return self.wake_file.stat().st_mtime_ns
        except OSError:
            return 0


class WorkerInfo(NamedTuple):
    """A living worker: its process, the run it is busy with, the backbone it used last, and its last sign of life.

    ``code_modified_at`` is when the newest file of the code it runs was written.
    """

    pid: int
    run: str | None
    backbone: str | None
    version: str
    built: float
    updated: float

    @classmethod
    def of_worker_dir(cls, office: WorkerDir) -> WorkerInfo | None:
        """The worker of an office; None if none lives."""
        if not is_locked(office.lock_file):
            return None
        with suppress(OSError, ValueError, KeyError, TypeError):
            data = json.loads(office.heartbeat.read_bytes())
            if data["pid"] == lock_owner(office.lock_file):
                return cls(**{name: data[name] for name in cls._fields})
        return cls(lock_owner(office.lock_file) or 0, None, None, "", code_modified_at(), 0.0)


@cache
def code_modified_at() -> float:
    """When the newest file of the code that this process runs was written, in seconds since 1970."""
    return max(path.stat().st_mtime for path in Path(ptviz.__file__).parent.rglob("*.py"))
