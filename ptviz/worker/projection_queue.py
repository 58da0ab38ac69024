"""The queue of projection jobs: one after another in a process of their own, so that training continues.

A job and its result are files in a folder that ``ptviz.worker.projection_process`` describes. That module is started
as a process and not imported: the worker stays free of its libraries.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections import deque
from contextlib import suppress
from pathlib import Path

from ptviz import paths
from ptviz.atomic_files import write_file
from ptviz.runs.run_file_io import StoreError

_PROCESS_COMMAND = (sys.executable, "-m", "ptviz.worker.projection_process")
_JOB_NAME = re.compile(r"[0-9a-f]{8,64}")
_ADOPTED_SECONDS = 3600.0
"""Age up to which the job of a killed worker is done by the next one."""
_MAX_CACHED = 200
"""Projections that stay in the cache on disk, the newest ones."""


def projection_folder(name: str) -> Path:
    """Return the folder of a projection job, whether or not it exists.

    Raises:
        StoreError: if ``name`` is not the digest of a job.
    """
    if not _JOB_NAME.fullmatch(name):
        raise StoreError(f"expected the name of a projection job; got {name!r}")
    return paths.cache_dir() / "maps" / name


class ProjectionQueue:
    """Projection jobs, oldest first; ``poll`` is called often and never waits."""

    def __init__(self, command: tuple[str, ...] = _PROCESS_COMMAND) -> None:
        self.command = command
        self._waiting: deque[Path] = deque()
        self._current: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def busy(self) -> bool:
        """Whether a projection is being computed."""
        return self._current is not None

    def add_job(self, name: str) -> None:
        """Queue the job in its folder, unless it is queued or done already.

        Raises:
            StoreError: if there is no such job.
        """
        folder = projection_folder(name)
        if folder == self._current or folder in self._waiting or (folder / "map.npz").exists():
            return
        if not (folder / "order.npz").exists():
            raise StoreError("there is no such projection job; request the projection again")
        self._waiting.append(folder)

    def poll(self) -> None:
        """Check the current projection, and start the next one when it has ended."""
        if self._current is not None:
            self._check_job(self._current)
        while self._current is None and self._waiting:
            folder = self._waiting.popleft()
            if (folder / "order.npz").exists():
                try:
                    self._start_job(folder)
                except OSError as error:
                    _fail_job(folder, f"its process could not be started: {error.strerror or error}")

    def adopt_jobs(self) -> None:
        """Queue the recent jobs that a worker which was killed left."""
        with suppress(OSError):
            for job in sorted((paths.cache_dir() / "maps").glob("*/order.npz"), key=lambda job: job.stat().st_mtime):
                if _JOB_NAME.fullmatch(job.parent.name) and time.time() - job.stat().st_mtime < _ADOPTED_SECONDS:
                    self.add_job(job.parent.name)

    def _check_job(self, folder: Path) -> None:
        over = self._process is None or self._process.poll() is not None
        if (folder / "order.npz").exists():
            if over:
                _fail_job(folder, "its process crashed, perhaps out of memory; draw fewer words")
                self._current = None
        elif (folder / "progress.json").exists() and not (folder / "map.npz").exists() and not over:
            self.shut_down()  # It was cancelled: a process that computes can only be killed.
            with suppress(OSError):
                (folder / "progress.json").unlink()
        else:
            self._current = None

    def _start_job(self, folder: Path) -> None:
        _remove_oldest(folder.parent)
        if self._process is None or self._process.poll() is not None:
            self.shut_down()
            self._process = subprocess.Popen(self.command, stdin=subprocess.PIPE, start_new_session=True)
        assert self._process.stdin is not None
        self._current = folder
        with suppress(OSError):  # It has just died: the next poll finds out.
            self._process.stdin.write(f"{folder}\n".encode())
            self._process.stdin.flush()

    def shut_down(self) -> None:
        """Kill the process, and with it the current projection."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            if self._process.stdin is not None:
                with suppress(OSError):
                    self._process.stdin.close()
        self._process = self._current = None


def _fail_job(folder: Path, reason: str) -> None:
    with suppress(OSError):
        write_file(folder / "failed.txt", reason.encode(), durable=False)
    with suppress(OSError):
        (folder / "order.npz").unlink()


def _remove_oldest(folder: Path) -> None:
    """Delete the oldest projections."""
    with suppress(OSError):
        known = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
        for old in known[_MAX_CACHED:]:
            for file in old.iterdir():
                file.unlink()
            old.rmdir()
