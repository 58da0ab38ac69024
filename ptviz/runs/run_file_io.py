"""Append-only files, and readable messages for failed writes."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from ptviz.atomic_files import write_file

_DISK_FULL_CODES = (errno.ENOSPC, errno.EDQUOT) if hasattr(errno, "EDQUOT") else (errno.ENOSPC,)
_NO_PERMISSION_CODES = (errno.EACCES, errno.EPERM, errno.EROFS)


class StoreError(ValueError):
    """A run or the folder of runs cannot be used; the message says what to do."""


FileSignature = tuple[int, int, int]


def file_signature(path: Path | str) -> FileSignature:
    """Return (inode, modification time in ns, size in bytes) of a file, to detect changes; zeros if missing."""
    with suppress(OSError):
        stat = os.stat(path)  # noqa: PTH116  # Lists of runs ask for thousands: half the time of ``Path.stat``.
        return stat.st_ino, stat.st_mtime_ns, stat.st_size
    return 0, 0, 0


def file_digest(path: Path) -> str:
    """Return 16 hex digits of the SHA-256 of a file's content, "" if it is missing; read again only if it changed."""
    return _digest_of(path, file_signature(path)) if path.is_file() else ""


@lru_cache(maxsize=512)
def _digest_of(path: Path, signature: FileSignature) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


class DiskFullError(StoreError):
    """The disk is full; the files written before are intact."""


def to_store_error(error: OSError, path: Path) -> StoreError:
    """Return the error as a message for the user: what could not be written, why, and what to do."""
    if error.errno in _DISK_FULL_CODES:
        return DiskFullError(f"the disk is full: {path} could not be written. Free some space, then resume the run")
    if error.errno in _NO_PERMISSION_CODES:
        return StoreError(
            f"{path} is not writable ({error.strerror}). Change its permissions, "
            "or set PTVIZ_HOME to a folder that you can write to"
        )
    return StoreError(f"{path} could not be written: {error.strerror or error}")


def atomic_write(path: Path, data: bytes, durable: bool = True) -> None:
    """Replace the file at ``path`` by ``data`` atomically; ``durable`` also syncs it to disk.

    Raises:
        StoreError: if the disk is full or the folder cannot be written; the old file is then unchanged.
    """
    try:
        write_file(path, data, durable)
    except OSError as error:
        raise to_store_error(error, path) from error


def check_room(folder: Path) -> None:
    """Check that some tens of kilobytes can be written to a folder.

    Raises:
        StoreError: if the disk is full or the folder cannot be written.
    """
    probe = folder / "room"
    atomic_write(probe, secrets.token_bytes(1 << 16), durable=False)
    with suppress(OSError):
        probe.unlink()


class AppendOnlyFile:
    """An append-only file of complete lines, for its one writer."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o644)
            self._truncate(_complete_lines_size(path))
        except OSError as error:
            raise to_store_error(error, path) from error

    def _truncate(self, size: int) -> None:
        os.ftruncate(self._file, size)

    def append(self, line: bytes) -> None:
        """Append one line, or nothing if it fails.

        Raises:
            StoreError: if the line cannot be written; the file then ends with the previous line.
        """
        data = line + b"\n"
        start = os.fstat(self._file).st_size
        try:
            written = 0
            while written < len(data):
                written += os.write(self._file, data[written:])
        except OSError as error:
            with suppress(OSError):
                self._truncate(start)
            raise to_store_error(error, self.path) from error

    def sync(self) -> None:
        """Sync the appended lines to disk."""
        try:
            os.fsync(self._file)
        except OSError as error:
            raise to_store_error(error, self.path) from error

    def close(self) -> None:
        """Close the file. What matters is synced before, so that an error here loses nothing."""
        with suppress(OSError):
            os.close(self._file)


def _complete_lines_size(path: Path) -> int:
    """Return the size in bytes up to the end of the last complete line: a killed writer may leave a partial one."""
    return path.read_bytes().rfind(b"\n") + 1
