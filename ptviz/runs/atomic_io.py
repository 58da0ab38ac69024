"""Writing so that a reader never sees half a file, and saying in plain words why a write failed."""

from __future__ import annotations

import errno
import os
import re
import secrets
from contextlib import suppress
from pathlib import Path

_DISK_FULL_CODES = (errno.ENOSPC, errno.EDQUOT) if hasattr(errno, "EDQUOT") else (errno.ENOSPC,)
_NO_PERMISSION_CODES = (errno.EACCES, errno.EPERM, errno.EROFS)


class StoreError(ValueError):
    """A run, or the folder of runs, cannot be used as asked; the message says what to do."""


FileSignature = tuple[int, int, int]


def file_signature(path: Path) -> FileSignature:
    """What changes whenever a file does: its place on disk, time and size; zeros where there is none."""
    with suppress(OSError):
        stat = path.stat()
        return stat.st_ino, stat.st_mtime_ns, stat.st_size
    return 0, 0, 0


class DiskFullError(StoreError):
    """No room is left for a write; what was on disk before is whole."""


def to_store_error(error: OSError, path: Path) -> StoreError:
    """The error in words for a person: what could not be written, why, and what to do."""
    if error.errno in _DISK_FULL_CODES:
        return DiskFullError(f"the disk is full: {path} could not be written. Free some space, then resume the run")
    if error.errno in _NO_PERMISSION_CODES:
        return StoreError(
            f"{path} is not writable ({error.strerror}). Give yourself the right to write there, "
            "or set PTVIZ_HOME to a folder of your own"
        )
    return StoreError(f"{path} could not be written: {error.strerror or error}")


def atomic_write(path: Path, data: bytes, durable: bool = True) -> None:
    """Put ``data`` at ``path``, all or nothing; ``durable`` waits until it would survive a power cut.

    Raises:
        StoreError: if the disk is full or the folder cannot be written; the old file is then untouched.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise to_store_error(error, path) from error
    if durable:
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Make a rename in ``folder`` survive a power cut, where the system can."""
    with suppress(OSError):  # Windows cannot open folders; some network drives cannot sync them.
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def remove_partial_files(folder: Path) -> None:
    """Remove the half-written files that a killed writer left in ``folder``. Only for the folder's one writer."""
    for part in folder.glob(".*.part"):
        with suppress(OSError):
            part.unlink()


class AppendOnlyFile:
    """An append-only file of whole lines, for its one writer."""

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
        """Add one line, all or nothing.

        Raises:
            StoreError: if it cannot be written; the file then ends with the line before.
        """
        whole = line + b"\n"
        start = os.fstat(self._file).st_size
        try:
            done = 0
            while done < len(whole):
                done += os.write(self._file, whole[done:])
        except OSError as error:
            with suppress(OSError):
                self._truncate(start)
            raise to_store_error(error, self.path) from error

    def sync(self) -> None:
        """Wait until the lines would survive a power cut."""
        try:
            os.fsync(self._file)
        except OSError as error:
            raise to_store_error(error, self.path) from error

    def close(self) -> None:
        """Let the file go."""
        os.close(self._file)


def _complete_lines_size(path: Path) -> int:
    """Bytes up to the end of the last whole line: what lies behind is a torn line of a killed writer."""
    return path.read_bytes().rfind(b"\n") + 1


def slug(text: str, longest: int = 40) -> str:
    """A piece of a folder name, safe on every system: small letters, digits and single dashes."""
    plain = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    return plain[:longest].strip("-") or "run"
