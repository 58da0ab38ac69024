"""Limits of an untrusted file, checked before it is parsed: sizes, counts, ratios, paths, depth.

Every limit is far above what a prompt needs and far below what does harm. Nothing here executes code.
"""

from __future__ import annotations

import io
import json
import re
import stat
import zipfile
from collections.abc import Callable, Container
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn, Protocol

from ptviz.checkpoints.errors import CheckpointError
from ptviz.paths import expand_user
from ptviz.safe_text import safe_text

MB = 1_000_000


@dataclass(frozen=True)
class Limits:
    """Bytes, counts and ratios.

    ``scalars`` limits the values in all tensors of a file. Beyond twice the stored values, a file may have ``repeated``
    ones (by strides or shared storages) and ``computed`` ones (by an encoder or a product). ``encoded`` limits the
    bytes of JSON with a tensor in it.
    """

    file: int = 256 * MB
    unpacked: int = 384 * MB
    entries: int = 4096
    ratio: int = 50
    header: int = 4 * MB
    json: int = MB
    encoded: int = 32 * MB
    depth: int = 32
    folders: int = 6
    tensors: int = 8192
    scalars: int = 64 * MB
    repeated: int = MB
    computed: int = 16 * MB
    prompts: int = 4096
    rows: int = 16_384
    all_rows: int = 1 << 18
    width: int = 1 << 20


LIMITS = Limits()


def check_path(path: Path | str) -> Path:
    """Return the absolute path of a checkpoint: a folder that can be listed, or a file that can be opened.

    Raises:
        CheckpointError: if there is none, or no right to read it, or it is a device, a pipe or empty.
    """
    shown = safe_text(path, 200)
    try:
        found = expand_user(path).absolute()
        if found.is_dir():
            next(found.iterdir(), None)
        else:
            checked_file_size(found)
            with found.open("rb") as file:
                file.read(1)
    except CheckpointError:
        raise
    except (OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"expected a checkpoint at {shown}; it cannot be read: {_reason(error)}") from error
    return found


def checked_file_size(path: Path, most: int = LIMITS.file) -> int:
    """Return the size of a regular file in bytes.

    Raises:
        CheckpointError: if it is missing, not a regular file, empty or larger than ``most``.
    """
    shown = safe_text(path, 200)
    try:
        found = path.stat()
    except FileNotFoundError as error:
        raise CheckpointError(f"{shown} does not exist: expected a file or folder with a trained prompt") from error
    except (OSError, ValueError) as error:
        raise CheckpointError(f"expected a checkpoint at {shown}; it cannot be read: {_reason(error)}") from error
    if not stat.S_ISREG(found.st_mode):
        raise CheckpointError(f"expected a plain file at {shown}; got a folder, device, pipe or socket. Choose a file")
    return check_size(found.st_size, safe_text(path.name), most)


def _reason(error: Exception) -> str:
    return safe_text(getattr(error, "strerror", None) or error)


def check_size(size: int, what: str, most: int) -> int:
    """Return the size, if it is between 1 and ``most`` bytes.

    Raises:
        CheckpointError: otherwise.
    """
    if size < 1:
        raise CheckpointError(f"{what} is empty: expected a trained prompt. Copy or download the file again")
    if size > most:
        raise CheckpointError(
            f"{what} has {size / MB:,.1f} MB; a prompt's file has at most {most / MB:,.0f} MB. "
            "If it is a complete model, save only its prompt"
        )
    return size


def read_file(path: Path, most: int = LIMITS.file) -> bytes:
    """Return the bytes of a regular file of at most ``most`` bytes.

    Raises:
        CheckpointError: if it is missing, too large or unreadable.
    """
    size = checked_file_size(path, most)
    try:
        with path.open("rb") as file:
            return file.read(size)
    except OSError as error:
        raise CheckpointError(f"{safe_text(path)} cannot be read: {_reason(error)}") from error


def check_scalars(what: str, claimed: int, stored: int, more: int) -> None:
    """Check how many values the tensors of a file have, against the limit and against how many are ``stored``.

    Raises:
        CheckpointError: for too many, or more than twice the stored values and ``more``.
    """
    if claimed > LIMITS.scalars:
        raise CheckpointError(f"{what}: holds more than {LIMITS.scalars / MB:,.0f} million numbers: refused")
    if claimed > 2 * stored + more:
        raise CheckpointError(
            f"{what}: stores {stored:,} numbers and claims {claimed:,}: refused. "
            "Save the prompt itself, as a contiguous tensor"
        )


class Folder(Protocol):
    """Named files that belong together: a folder on disk, or a zip."""

    name: str

    def names(self) -> list[str]:
        """Return the paths of all files, with forward slashes."""
        ...

    def read(self, name: str, most: int = LIMITS.file) -> bytes:
        """Return the bytes of one file."""
        ...


def hub_blobs(folder: Path) -> Path | None:
    """Return the folder that a snapshot folder of the Hub's cache links to; None for any other folder."""
    snapshot = next((path for path in (folder, *folder.parents) if path.parent.name == "snapshots"), None)
    return None if snapshot is None else snapshot.parent.parent / "blobs"


def hub_name(folder: Path) -> str:
    """Return the id that a snapshot in the Hub's cache is a copy of, as in "user/name"; "" for any other folder."""
    repository = folder.parent.parent.name
    is_snapshot = folder.parent.name == "snapshots" and repository.startswith("models--")
    return repository.removeprefix("models--").replace("--", "/", 1) if is_snapshot else ""


def _list_folder(folder: Path, most: int) -> list[Path]:
    """Return the entries of a folder, one more than ``most`` if there are more."""
    try:
        return list(islice(folder.iterdir(), most + 1))
    except OSError as error:
        raise CheckpointError(f"the folder {safe_text(folder)} cannot be read: {_reason(error)}") from error


class DiskFolder:
    """A folder on disk. Links that lead out of it are refused, except those of the Hub's cache."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = hub_name(path.resolve()) or path.resolve().name
        self._resolved_path = path.resolve()

    def names(self) -> list[str]:
        """Return the files in the folder, and in subfolders that are neither hidden nor links, down to a depth.

        Deep folders are left out where there are too many files.

        Raises:
            CheckpointError: if there are too many files in the folder and its own subfolders.
        """
        found: list[str] = []
        level = [self.path]
        for depth in range(LIMITS.folders):
            entries = sorted(entry for folder in level for entry in _list_folder(folder, LIMITS.entries - len(found)))
            if len(found) + len(entries) > LIMITS.entries:
                if depth > 1:
                    break
                raise CheckpointError(
                    f"{safe_text(self.path)} holds more than {LIMITS.entries} files; choose one of them"
                )
            level = [entry for entry in entries if entry.is_dir() and not entry.is_symlink() and entry.name[0] != "."]
            found += [entry.relative_to(self.path).as_posix() for entry in entries if not entry.is_dir()]
        return sorted(found)

    def read(self, name: str, most: int = LIMITS.file) -> bytes:
        """Return the bytes of one file.

        Raises:
            CheckpointError: if it is missing, too large, or a link out of the folder.
        """
        path = self.path / name
        try:
            real = path.resolve(strict=True)
        except (OSError, RuntimeError) as error:
            raise CheckpointError(
                f"expected a file {safe_text(name)} in {safe_text(self.path)}; there is none"
            ) from error
        hub = hub_blobs(self._resolved_path)
        if not real.is_relative_to(self._resolved_path) and not (hub and real.is_relative_to(hub)):
            raise CheckpointError(
                f"{safe_text(name)} is a link that leads out of {safe_text(self.path)}: refused. "
                "Copy the file itself there"
            )
        return read_file(real, most)


class ZipFolder:
    """A zip with a checked directory; entries are read into memory, with a limit, and never written to disk."""

    def __init__(self, data: bytes, name: str) -> None:
        self.name = name
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(data))
        except (zipfile.BadZipFile, ValueError, NotImplementedError, OverflowError, OSError) as error:
            raise CheckpointError(
                f"{safe_text(name)} begins like a zip but is damaged or cut short ({safe_text(error)}). Copy it again"
            ) from error
        check_zip_entries(self._zip.infolist(), len(data), name)

    def names(self) -> list[str]:
        """Return the files in the zip."""
        return [info.filename for info in self._zip.infolist() if not info.is_dir()]

    def read(self, name: str, most: int = LIMITS.file, methods: Container[int] = range(100)) -> bytes:
        """Return the bytes of one entry.

        Raises:
            CheckpointError: if it is missing, too large, damaged, or compressed with a method not in ``methods``.
        """
        try:
            info = self._zip.getinfo(name)
            if info.compress_type not in methods:
                _refuse(self.name, f"compresses {safe_text(name)} with an unsupported method")
            check_size(info.file_size, f"{safe_text(name)} in {safe_text(self.name)}", most)
            with self._zip.open(info) as file:
                data = file.read(info.file_size + 1)
        except CheckpointError:
            raise
        except KeyError:
            raise CheckpointError(f"expected {safe_text(name)} in {safe_text(self.name)}; there is none") from None
        except Exception as error:  # zlib, lzma and zipfile each have errors of their own
            raise CheckpointError(
                f"{safe_text(name)} in {safe_text(self.name)} is damaged ({safe_text(error)}). Copy the file again"
            ) from error
        if len(data) != info.file_size:
            raise CheckpointError(
                f"{safe_text(name)} in {safe_text(self.name)} unpacks to more than it declares: refused"
            )
        return data


def check_zip_entries(infos: list[zipfile.ZipInfo], packed: int, name: str) -> None:
    """Check a zip's directory before anything is decompressed.

    Raises:
        CheckpointError: for too many or too large entries, a zip bomb's ratio, paths out of the archive, links,
            duplicate names, or encryption.
    """
    if len(infos) > LIMITS.entries:
        _refuse(name, f"holds {len(infos):,} entries; a prompt's archive has at most {LIMITS.entries:,}")
    unpacked = sum(info.file_size for info in infos)
    if unpacked > LIMITS.unpacked:
        _refuse(name, f"unpacks to {unpacked / MB:,.0f} MB; at most {LIMITS.unpacked / MB:,.0f} MB are unpacked")
    if unpacked > MB and unpacked > LIMITS.ratio * packed:
        _refuse(name, f"unpacks to {unpacked / packed:,.0f} times its size, as a zip bomb does")
    if sum(info.compress_size for info in infos) > packed:
        _refuse(name, "has entries that overlap, as a zip bomb has")
    if len({info.filename for info in infos}) != len(infos):
        _refuse(name, "has two entries of one name")
    for info in infos:
        unsafe = unsafe_path_reason(info.filename) or unsafe_path_reason(info.orig_filename)
        if unsafe:
            _refuse(name, f"has an entry {safe_text(info.filename)!r}, {unsafe}")
        if stat.S_ISLNK(info.external_attr >> 16):
            _refuse(name, f"has a link {safe_text(info.filename)!r}; links are not followed")
        if info.flag_bits & 0x1:
            _refuse(name, "is encrypted")


def unsafe_path_reason(name: str) -> str:
    """Return why a path in an archive is refused; "" if it is safe."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if not parts or "\0" in name:
        return "which is no file name"
    if ".." in parts or name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", name):
        return "which leads out of the archive"
    return ""


def _refuse(name: str, why: str) -> NoReturn:
    raise CheckpointError(f"{safe_text(name)} {why}: refused. Use a file with only a prompt")


def parse_json_object(
    data: bytes, what: str, most: int = LIMITS.json, constant: Callable[[str], object] | None = None
) -> dict[str, Any]:
    """Return a JSON object of limited size and depth; NaN and Infinity are refused, or replaced by ``constant``.

    Raises:
        CheckpointError: if it is too large, too deep, damaged or not an object.
    """
    check_size(len(data), what, most)
    try:
        text = data.decode(json.detect_encoding(data))  # editors save UTF-8 with a mark, and UTF-16
        _check_depth(text, what)
        found = json.loads(text, parse_constant=constant or _reject_constant)
    except (ValueError, RecursionError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{what}: expected JSON; it is damaged or cut short ({safe_text(error)})") from error
    if not isinstance(found, dict):
        raise CheckpointError(f"{what}: expected a JSON object; got {type(found).__name__}")
    return found


_STRINGS_AND_BRACKETS = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[{\]}]', re.DOTALL)
"""A complete string, or a bracket. Possessive, so that strings of many megabytes need no backtracking."""


def _check_depth(text: str, what: str) -> None:
    depth = 0
    for found in _STRINGS_AND_BRACKETS.finditer(text):
        mark = text[found.start()]
        if mark == '"':
            continue
        depth += 1 if mark in "[{" else -1
        if depth > LIMITS.depth:
            raise CheckpointError(f"{what}: nested deeper than {LIMITS.depth} levels: refused")


def _reject_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
