"""The process of a download: ``python -m ptviz.worker.download_process NAME``; see ``ptviz.worker.downloads``."""

from __future__ import annotations

import errno
import sys
import time
from collections.abc import Callable
from contextlib import suppress

from ptviz import paths
from ptviz.runs.file_lock import FileLock
from ptviz.runs.run_file_io import StoreError
from ptviz.worker.downloads import Download, DownloadFolder, DownloadStatus, download_folder, list_downloads

_WRITE_SECONDS = 0.2


class DownloadCancelled(Exception):
    """The user cancelled the download."""


def run_download(download: Download, files: DownloadFolder, clock: Callable[[], float] = time.time) -> None:
    """Fetch a download and write its progress; do nothing if another process is fetching.

    Raises:
        StoreError: if the lock cannot be opened.
    """
    lock = FileLock(files.lock_file)
    if not lock.acquire():
        return
    try:
        _run_with_status(download, files, clock)
    finally:
        lock.release()


def _run_with_status(download: Download, files: DownloadFolder, clock: Callable[[], float]) -> None:
    started, written = clock(), 0.0

    def show(message: str, share: float | None) -> None:
        nonlocal written
        if files.stop_file.exists():
            raise DownloadCancelled
        if share is None or clock() - written > _WRITE_SECONDS:
            with suppress(StoreError):  # Only progress: the download itself reports a full disk.
                files.write_status(DownloadStatus(download.name, message, share, started))
            written = clock()

    try:
        download.fetch(show)
    except DownloadCancelled:
        files.remove_status()
    except Exception as error:
        failed = DownloadStatus(download.name, "", None, started, describe_failure(error, download))
        with suppress(StoreError):  # The page then says that the download was interrupted.
            files.write_status(failed)
        if not isinstance(error, ValueError | OSError):
            raise
    else:
        files.remove_status()
    finally:
        files.stop_file.unlink(missing_ok=True)


def describe_failure(error: Exception, download: Download) -> str:
    """Return why a download failed, and what to do, in one line."""
    text = " ".join(str(error).split())
    if getattr(error, "errno", None) == errno.ENOSPC or "No space left" in text:
        return f"the disk is full: {download.name} does not fit in {paths.cache_dir()}. Free some space and try again"
    if isinstance(error, ValueError | OSError) and text:
        return text
    return f"an unexpected {type(error).__name__}: {text or 'no message'}. Details: {download_folder().log_file}"


if __name__ == "__main__":
    run_download(list_downloads()[sys.argv[1]], download_folder())
