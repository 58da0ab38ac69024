"""Downloads of backbones and data that a page starts: one at a time, in a process of their own.

The process writes its progress to a small file in the cache, so that any page finds it: a reload, a second tab or a
restarted server loses nothing.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from ptviz import paths
from ptviz.backbones.packaged import FETCHED_BACKBONES
from ptviz.package_index import Progress
from ptviz.runs.file_lock import is_locked
from ptviz.runs.run_file_io import StoreError, atomic_write, to_store_error
from ptviz.tasks import FETCHED_PACKAGES
from ptviz.validation import InvalidData, Name, Sentence, Share, Timestamp, decode_json

PROCESS_COMMAND = (sys.executable, "-m", "ptviz.worker.download_process")
_PROCESSES: dict[Path, subprocess.Popen[bytes]] = {}
"""Processes started by this one, by their folder of downloads; they may outlive it."""


class Download(Protocol):
    """Something that can be fetched into the cache; ``terms`` are to be shown before."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def megabytes(self) -> int: ...  # noqa: D102
    @property
    def terms(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def must_accept(self) -> bool: ...  # noqa: D102
    @property
    def is_installed(self) -> bool: ...  # noqa: D102

    def fetch(self, progress: Progress = ..., force: bool = ...) -> Path:
        """Fetch it unless it is here, and return its folder."""


def list_downloads() -> dict[str, Download]:
    """Return what can be downloaded, by name: backbones, then data of tasks."""
    return {**FETCHED_BACKBONES, **FETCHED_PACKAGES}


@dataclass(frozen=True)
class DownloadStatus:
    """A running download, or the last one if it failed: ``error`` is its reason.

    ``share`` of the bytes is done, None while that is unknown; ``started`` is in seconds since 1970.
    """

    name: Name
    message: Sentence
    share: Share | None = None
    started: Timestamp = 0.0
    error: Sentence = ""

    @property
    def is_running(self) -> bool:
        """Whether it has not failed."""
        return not self.error


@dataclass(frozen=True)
class DownloadFolder:
    """The files of the download process: its lock, status, stop request and log."""

    folder: Path

    @property
    def lock_file(self) -> Path:
        """Locked by the process as long as it lives."""
        return self.folder / "lock"

    @property
    def stop_file(self) -> Path:
        """Exists while the process is asked to stop."""
        return self.folder / "stop"

    @property
    def log_file(self) -> Path:
        """The output of the process and its libraries."""
        return self.folder / "log.txt"

    def write_status(self, status: DownloadStatus) -> None:
        """Write the status.

        Raises:
            StoreError: if the disk is full or the folder cannot be written.
        """
        atomic_write(self._status_file, json.dumps(asdict(status)).encode(), durable=False)

    def remove_status(self) -> None:
        """Forget the last download."""
        self._status_file.unlink(missing_ok=True)

    def read_status(self) -> DownloadStatus | None:
        """Return the last status that was written, or None."""
        with suppress(OSError, InvalidData):
            return decode_json(self._status_file.read_bytes(), DownloadStatus)
        return None

    @property
    def _status_file(self) -> Path:
        return self.folder / "status.json"


def download_folder() -> DownloadFolder:
    """Return the folder of the download process."""
    return DownloadFolder(paths.cache_dir() / "downloads")


def start_download(name: str) -> None:
    """Start a download in a process of its own; do nothing while one is running.

    Raises:
        StoreError: if there is no such download, or the process cannot be started.
    """
    if name not in (known := list_downloads()):
        raise StoreError(f"expected one of {', '.join(known)}; got {name!r}")
    files = download_folder()
    if _is_alive(files):
        return
    try:
        files.folder.mkdir(parents=True, exist_ok=True)
        files.stop_file.unlink(missing_ok=True)
        files.write_status(DownloadStatus(name, "starting", started=time.time()))
        with files.log_file.open("wb") as log:
            _PROCESSES[files.folder] = subprocess.Popen(
                [*PROCESS_COMMAND, name], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
    except OSError as error:
        raise to_store_error(error, files.folder) from error


def cancel_download() -> None:
    """Ask the running download to stop; what was there before stays."""
    with suppress(OSError):
        download_folder().stop_file.touch()


def download_status() -> DownloadStatus | None:
    """Return the running download, or the last one if it failed, or None."""
    files = download_folder()
    alive = _is_alive(files)  # Before the status is read: a process writes it before it ends.
    status = files.read_status()
    if status is None or status.error or alive:
        return status
    return DownloadStatus(status.name, "", error="the download was interrupted")


def _is_alive(files: DownloadFolder) -> bool:
    process = _PROCESSES.get(files.folder)
    return is_locked(files.lock_file) or (process is not None and process.poll() is None)


def find_download(install_command: str) -> Download | None:
    """Return the download that a command such as "ptviz get smollm2-135m" fetches, or None for another command."""
    commands: Mapping[str, Download] = {
        **{one.install_command: one for one in FETCHED_BACKBONES.values()},
        **{one.install_command: one for one in FETCHED_PACKAGES.values()},
    }
    return commands.get(install_command)
