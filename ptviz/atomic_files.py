"""Files and folders that appear complete or not at all, and the removal of what killed processes left.

Everything is written under a temporary name ``.NAME.HOST-PID-START-RANDOM.part`` next to its target and renamed. The
name holds the id of the process that writes it: only temporary files of processes that have ended are removed.
"""

from __future__ import annotations

import ctypes
import os
import platform
import re
import secrets
import shutil
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import psutil

_TEMPORARY = re.compile(r"\.(.+)\.([0-9a-f]{8})-(\d+)-(\d+)-[0-9a-f]{8}\.part")
_WITHOUT_OWNER = re.compile(r"\.(new|old)-[0-9a-f]{8}|\..+\.part|tmp[a-z0-9_]{8}")
"""Temporary names of earlier versions, which do not name the process."""
_OWNER_UNKNOWN_SECONDS = 86400.0
"""Age from which a temporary file is removed if it is not known whether its process runs."""
_SAME_START_SECONDS = 2.0
_CURRENT_FOLDER = -100  # AT_FDCWD of Linux; not used, since both paths are absolute.
_MAX_NAME_LENGTH = 50  # A name may have 255 bytes, and a character four.


def temporary_path(target: Path) -> Path:
    """Return a new temporary name next to ``target``, which names the process that writes it."""
    pid = os.getpid()
    owner = f"{_host()}-{pid}-{round(_own_start_time(pid))}-{secrets.token_hex(4)}"
    return target.with_name(f".{target.name[:_MAX_NAME_LENGTH]}.{owner}.part")


@cache
def _host() -> str:
    """Return eight hex digits of this machine's name: a network drive has temporary files of several machines."""
    return f"{zlib.crc32(platform.node().encode()):08x}"


@cache
def _own_start_time(pid: int) -> float:
    return _start_time(pid)


def _start_time(pid: int) -> float:
    """Return when a process started, in seconds since the machine did: setting the clock does not change it."""
    return psutil.Process(pid).create_time() - psutil.boot_time()


def write_file(path: Path, data: bytes, durable: bool = True) -> None:
    """Replace the file at ``path`` by ``data``; ``durable`` also syncs it to disk.

    Raises:
        OSError: if it cannot be written; the old file is then unchanged.
    """
    draft = temporary_path(path)
    try:
        file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(file, rest) :]
            if durable:
                os.fsync(file)
        finally:
            os.close(file)
        draft.replace(path)
    except BaseException:
        with suppress(OSError):
            draft.unlink()
        raise
    if durable:
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Sync a folder, so that a rename in it survives a power cut, where the system supports it."""
    with suppress(OSError):  # Windows cannot open folders; some network drives cannot sync them.
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary file name for a library to write to; it replaces ``path`` at the end if no error is raised.

    What an earlier process left of the same file is removed. A device such as ``/dev/stdout`` is written directly.

    Raises:
        OSError: if it cannot be written; the old file is then unchanged.
    """
    path = Path(os.path.realpath(path)) if path.is_symlink() else path
    if path.exists() and not path.is_file():
        yield path
        return
    remove_leftovers(path.parent, path.name)
    draft = temporary_path(path)
    try:
        yield draft
        draft.replace(path)
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)


@contextmanager
def atomic_directory(parent: Path) -> Iterator[Path]:
    """Yield an empty hidden folder in ``parent`` to fill, then to rename to its final name within the block.

    Readers therefore see the complete folder or none: a draft that was not renamed is removed at the end.

    Raises:
        OSError: if the folder cannot be written.
    """
    draft = temporary_path(parent / "new")
    try:
        draft.mkdir(parents=True)
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)


@contextmanager
def replaced_folder(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Yield a scratch folder, and a path in it: the folder made there takes the place of ``folder`` at the end.

    If an error is raised, ``folder`` stays as it was.

    Raises:
        OSError: if it cannot be written.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder.parent, "new")
    with atomic_directory(folder.parent) as scratch:
        fresh = scratch / "fresh"
        yield scratch, fresh
        if folder.exists():
            delete_folder(folder)
        fresh.rename(folder)


@contextmanager
def atomic_export(folder: Path, marker: str) -> Iterator[Path]:
    """Yield an empty folder for an export that appears as ``folder`` at the end, unless an error is raised.

    An earlier export, which the file ``marker`` in it shows, is replaced as a whole; what else is in it stays.

    Raises:
        OSError: if it cannot be written, or ``folder`` has files but no ``marker``; ``folder`` is then unchanged.
    """
    folder = Path(os.path.realpath(folder))
    _check_replaceable(folder, marker)
    folder.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder.parent, "new")
    with atomic_directory(folder.parent) as draft:
        yield draft
        if not folder.exists():
            draft.rename(folder)
            return
        exported = {file.name for file in draft.iterdir()}
        shutil.copytree(
            folder,
            draft,
            symlinks=True,
            ignore=lambda path, _: exported if Path(path) == folder else set(),
            copy_function=_link_or_copy,
            dirs_exist_ok=True,
        )
        _exchange_folders(draft, folder)


def _check_replaceable(folder: Path, marker: str) -> None:
    if not folder.exists():
        return
    if not folder.is_dir():
        raise FileExistsError(f"{folder} is a file: choose a new folder")
    if not (folder / marker).exists() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} has files but no {marker}, so it is no earlier export: choose a new folder")
    if Path.cwd().is_relative_to(folder):
        raise FileExistsError(f"{folder} is replaced as a whole: run the command from a folder outside it")


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:  # Some file systems have no hard links.
        shutil.copy2(source, target, follow_symlinks=False)


def _exchange_folders(one: Path, other: Path) -> None:
    """Exchange two folders of a parent: in one step on Linux and macOS, where the file system supports it.

    Otherwise there is a moment without ``other``; its old content is then in ``.old.HOST-PID-START-RANDOM.part``.
    """
    if _exchange_in_one_step(one, other):
        return
    aside = temporary_path(other.with_name("old"))
    other.rename(aside)
    try:
        one.rename(other)
    except BaseException:
        aside.rename(other)
        raise
    aside.rename(one)


def _exchange_in_one_step(one: Path, other: Path) -> bool:
    """Return whether the system call that exchanges two names succeeded; Python has no function for it."""
    system = ctypes.CDLL(None) if os.name == "posix" else None
    paths = os.fsencode(one), os.fsencode(other)
    if renameat2 := getattr(system, "renameat2", None):
        return bool(renameat2(_CURRENT_FOLDER, paths[0], _CURRENT_FOLDER, paths[1], ctypes.c_uint(2)) == 0)
    if renamex := getattr(system, "renamex_np", None):
        return bool(renamex(*paths, ctypes.c_uint(2)) == 0)
    return False


def delete_folder(folder: Path) -> None:
    """Delete a folder, or a link to one; under its name there is all of it or nothing.

    Raises:
        OSError: if it cannot be renamed; it is then unchanged.
    """
    trash = temporary_path(folder.with_name("old"))
    folder.rename(trash)
    _remove(trash)


def remove_leftovers(folder: Path, target: str = "", *, everywhere: bool = False) -> None:
    """Delete the temporary files in ``folder`` whose process has ended; those of a living process stay.

    Args:
        folder: Where to look.
        target: Only temporary files of this name.
        everywhere: Also in all folders below, and what versions left that named no process, once it is a day old.
    """
    for path, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            left = Path(path, name)
            if match := _TEMPORARY.fullmatch(name):
                if (not target or match[1] == target[:_MAX_NAME_LENGTH]) and _is_dead(left, match):
                    _remove(left)
            elif everywhere and _WITHOUT_OWNER.fullmatch(name) and _is_old(left):
                _remove(left)
        folders[:] = [name for name in folders if everywhere and not _TEMPORARY.fullmatch(name)]


def _is_dead(path: Path, match: re.Match[str]) -> bool:
    """Return whether the process of a temporary name has ended; for another machine's, only its age is known."""
    if match[2] != _host():
        return _is_old(path)
    try:  # An id is used again after its process has ended.
        return abs(_start_time(int(match[3])) - int(match[4])) > _SAME_START_SECONDS
    except psutil.NoSuchProcess:
        return True
    except psutil.Error:
        return False


def _is_old(path: Path) -> bool:
    with suppress(OSError):
        return time.time() - path.lstat().st_mtime > _OWNER_UNKNOWN_SECONDS
    return False


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()
