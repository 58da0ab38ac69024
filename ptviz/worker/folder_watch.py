"""A blocking wait for changes in the worker's folder: an idle worker uses no processor time."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Self

from watchdog.events import (
    DirDeletedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer

from ptviz.worker.directory import WorkerDir

_FALLBACK_SECONDS = 0.25
"""Longest wait where the system cannot watch a folder, for example because its limit of watches is reached."""
_EVENTS: list[type[FileSystemEvent]] = [
    FileCreatedEvent, FileModifiedEvent, FileMovedEvent, FileDeletedEvent, DirDeletedEvent,
]  # fmt: skip


class FolderWatch(FileSystemEventHandler):
    """Wakes the worker when its wake file is written, a request arrives, or its folder is deleted."""

    def __init__(self, worker_dir: WorkerDir) -> None:
        self._worker_dir = worker_dir
        # Unlike threading.Event, put() may be called from a signal handler that interrupts get().
        self._wakes: SimpleQueue[None] = SimpleQueue()
        self._observer = Observer()
        self._is_watching = False

    def __enter__(self) -> Self:
        """Start watching; changes from now on end the next ``wait``."""
        folders = self._worker_dir.folder, self._worker_dir.requests.folder
        with suppress(OSError):
            for folder in folders:
                self._observer.schedule(self, str(folder), event_filter=_EVENTS)
            self._observer.start()
            self._is_watching = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop watching."""
        if self._is_watching:
            self._observer.stop()
            self._observer.join()

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Wake the worker if the event concerns it; called in the observer's thread."""
        name = Path(os.fsdecode(event.dest_path or event.src_path)).name
        if event.event_type == "deleted":
            concerns_worker = event.is_directory or name == self._worker_dir.lock_file.name
        else:
            concerns_worker = name == self._worker_dir.wake_file.name or name.endswith(".letter")
        if concerns_worker:
            self.wake()

    def wake(self) -> None:
        """End the current ``wait``, or the next one. Safe in a signal handler."""
        self._wakes.put(None)

    def wait(self, seconds: float) -> None:
        """Wait until something changes, at most ``seconds``."""
        with suppress(Empty):
            self._wakes.get(timeout=seconds if self._is_watching else min(seconds, _FALLBACK_SECONDS))
            while True:  # one look at the folder answers all the changes so far
                self._wakes.get_nowait()
