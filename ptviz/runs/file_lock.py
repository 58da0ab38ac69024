"""A lock file for one writer at a time, released by the OS when the process exits, even on a crash."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ptviz.runs.run_file_io import StoreError, to_store_error

_WRITE_SECONDS = 10.0
"""How long one writer of a record waits for another."""

if sys.platform == "win32":
    import msvcrt

    _LOCK_OFFSET = 1 << 30  # Lock a byte after the process id, so that other processes can still read the id.

    def _lock_file(file: int, shared: bool) -> None:
        os.lseek(file, _LOCK_OFFSET, os.SEEK_SET)
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock_file(file: int, shared: bool) -> None:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)


class FileLock:
    """An exclusive lock on the file ``path``, which contains the owner's process id."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: int | None = None

    def acquire(self, wait: float = 0.3) -> bool:
        """Take the lock, trying for ``wait`` seconds; return False if another process holds it.

        The wait covers readers, which hold the lock for an instant to test whether it is taken.

        Raises:
            StoreError: if the lock file cannot be opened, also because its folder was deleted.
        """
        until = time.monotonic() + wait
        while True:
            try:
                file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
            except OSError as error:
                raise to_store_error(error, self.path) from error
            try:
                _lock_file(file, shared=False)
                if _is_same_file(file, self.path):
                    break
            except OSError:
                pass
            _close(file)
            if time.monotonic() > until:
                return False
            time.sleep(0.01)
        # Not buffered, so that closing writes nothing. The id is only for messages: a full disk does not matter.
        with suppress(OSError):
            os.lseek(file, 0, os.SEEK_SET)
            os.write(file, f"{os.getpid():<20}".encode())
        self._file = file
        return True

    def is_intact(self) -> bool:
        """Return whether the lock is held and its file still exists; others could take the lock if it was deleted."""
        return self._file is not None and _is_same_file(self._file, self.path)

    def release(self) -> None:
        """Release the lock; do nothing if it is not held."""
        if self._file is not None:
            _close(self._file)
            self._file = None


def _is_same_file(file: int, path: Path) -> bool:
    """Return whether an open file is the one that ``path`` now names."""
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except OSError:
        return False


def _close(file: int) -> None:
    with suppress(OSError):
        os.close(file)


def is_locked(path: Path) -> bool:
    """Return whether a running process holds the lock at ``path``."""
    try:
        file = path.open("rb")
    except OSError:
        return False
    with file:
        try:
            _lock_file(file.fileno(), shared=True)
        except OSError:
            return True
    return False


def lock_owner(path: Path) -> int | None:
    """Return the process id of the last owner, for messages; None if unknown."""
    with suppress(OSError, ValueError):
        return int(path.read_bytes().split()[0])
    return None


@contextmanager
def write_lock(path: Path) -> Iterator[None]:
    """Hold the lock of a record that several processes read, change and write; its folder is made.

    Raises:
        StoreError: if another process holds it for too long, or it cannot be taken.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path.with_suffix(".lock"))
    if not lock.acquire(_WRITE_SECONDS):
        raise StoreError(f"another process is writing {path}; wait until it is done, and repeat the command")
    try:
        yield
    finally:
        lock.release()
