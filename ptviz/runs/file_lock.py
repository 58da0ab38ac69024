"""A lock file for one writer at a time, released by the OS when the process exits, even on a crash."""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import IO

from ptviz.runs.atomic_io import to_store_error

if sys.platform == "win32":
    import msvcrt

    _LOCK_OFFSET = 1 << 30  # Lock a byte after the process id, so that other processes can still read the id.

    def _lock_file(file: IO[bytes], shared: bool) -> None:
        file.seek(_LOCK_OFFSET)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock_file(file: IO[bytes], shared: bool) -> None:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)


class FileLock:
    """An exclusive lock on the file ``path``, which contains the owner's process id."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[bytes] | None = None

    def acquire(self, wait: float = 0.3) -> bool:
        """Take the lock, trying for ``wait`` seconds; return False if another process holds it.

        The wait covers readers, which hold the lock for an instant to test whether it is taken.

        Raises:
            StoreError: if the lock file cannot be written.
        """
        until = time.monotonic() + wait
        try:
            file = os.fdopen(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644), "r+b")
        except OSError as error:
            raise to_store_error(error, self.path) from error
        while True:
            try:
                _lock_file(file, shared=False)
                break
            except OSError:
                if time.monotonic() > until:
                    file.close()
                    return False
                time.sleep(0.01)
        with suppress(OSError):  # The id is only for messages: a full disk must not prevent the lock.
            file.seek(0)
            file.write(f"{os.getpid():<20}".encode())
            file.flush()
        self._file = file
        return True

    def release(self) -> None:
        """Release the lock; do nothing if it is not held."""
        if self._file is not None:
            self._file.close()
            self._file = None


def is_locked(path: Path) -> bool:
    """Return whether a running process holds the lock at ``path``."""
    try:
        file = path.open("rb")
    except OSError:
        return False
    with file:
        try:
            _lock_file(file, shared=True)
        except OSError:
            return True
    return False


def lock_owner(path: Path) -> int | None:
    """Return the process id of the last owner, for messages; None if unknown."""
    with suppress(OSError, ValueError):
        return int(path.read_bytes().split()[0])
    return None
