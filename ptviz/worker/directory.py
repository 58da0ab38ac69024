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
from ptviz.runs.atomic_io import explained
from ptviz.runs.file_lock import held, holder
from ptviz.worker.rpc import Mailbox

BUSY = 3
"""Exit status of a worker that found another one serving the same folder."""


class Office(NamedTuple):
    """Where a store's worker lives: a hidden folder among the runs."""

    folder: Path

    @classmethod
    def of(cls, root: Path) -> Office:
        """The office of the store at ``root``."""
        return cls(root / ".worker")

    @property
    def lock(self) -> Path:
        """Held by the worker as long as it lives."""
        return self.folder / "lock"

    @property
    def bell(self) -> Path:
        """Rung when something was put in the queue."""
        return self.folder / "bell"

    @property
    def card(self) -> Path:
        """What the worker says about itself, once a second."""
        return self.folder / "worker.json"

    @property
    def log(self) -> Path:
        """What the worker and its libraries print."""
        return self.folder / "log.txt"

    @property
    def mail(self) -> Mailbox:
        """Letters to the worker."""
        return Mailbox(self.folder / "mail")

    def open(self) -> Office:
        """Make the folder.

        Raises:
            StoreError: if it cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise explained(error, self.folder) from error
        return self

    def ring(self) -> None:
        """Say that the queue has something new."""
        with suppress(OSError):
            self.bell.touch()
            os.utime(self.bell, ns=(time.time_ns(), time.time_ns()))

    def rung(self) -> int:
        """When the bell was last rung."""
        try:
            return self.bell.stat().st_mtime_ns
        except OSError:
            return 0


class WorkerInfo(NamedTuple):
    """A living worker: its process, the run it is busy with, the backbone it used last, and its last sign of life.

    ``built`` is when the newest file of the code it runs was written.
    """

    pid: int
    run: str | None
    backbone: str | None
    version: str
    built: float
    updated: float

    @classmethod
    def of(cls, office: Office) -> WorkerInfo | None:
        """The worker of an office; None if none lives."""
        if not held(office.lock):
            return None
        with suppress(OSError, ValueError, KeyError, TypeError):
            data = json.loads(office.card.read_bytes())
            if data["pid"] == holder(office.lock):
                return cls(**{name: data[name] for name in cls._fields})
        return cls(holder(office.lock) or 0, None, None, "", built(), 0.0)


@cache
def built() -> float:
    """When the newest file of the code that this process runs was written, in seconds since 1970."""
    return max(path.stat().st_mtime for path in Path(ptviz.__file__).parent.rglob("*.py"))
