"""What a stranger's file may look like before any of it is parsed: sizes, counts, ratios, paths, depth.

Every limit is far above what a prompt needs and far below what hurts. Nothing here executes or unpacks anything.
"""

from __future__ import annotations

import io
import json
import re
import stat
import zipfile
from collections.abc import Callable, Container
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn, Protocol

from ptviz.checkpoints.errors import CheckpointError, safe_text

MB = 1_000_000


@dataclass(frozen=True)
class Limits:
    """Bytes, counts and ratios.

    ``scalars`` are numbers in all tensors of a file together, ``encoded`` the bytes of JSON with a tensor in it.
    """

    file: int = 256 * MB
    unpacked: int = 384 * MB
    entries: int = 4096
    ratio: int = 200
    header: int = 4 * MB
    json: int = MB
    encoded: int = 32 * MB
    depth: int = 32
    tensors: int = 8192
    scalars: int = 64 * MB
    rows: int = 16_384
    width: int = 1 << 20


LIMITS = Limits()


def checked_file_size(path: Path, most: int = LIMITS.file) -> int:
    """The size of a regular file in bytes.

    Raises:
        CheckpointError: if it is missing, no regular file, empty or larger than ``most``.
    """
    try:
        found = path.stat()
    except (OSError, ValueError) as error:
        told = getattr(error, "strerror", None) or error
        raise CheckpointError(f"expected a checkpoint at {safe_text(path)}; it cannot be read: {told}") from error
    if not stat.S_ISREG(found.st_mode):
        raise CheckpointError(
            f"expected a plain file at {safe_text(path)}; got a device, pipe or socket. Choose a file"
        )
    return check_size(found.st_size, safe_text(path.name), most)


def check_size(size: int, what: str, most: int) -> int:
    """The size, if it is between 1 and ``most`` bytes.

    Raises:
        CheckpointError: otherwise.
    """
    if size < 1:
        raise CheckpointError(f"{what} is empty: expected a trained prompt. Copy the file again")
    if size > most:
        raise CheckpointError(
            f"{what} has {size / MB:,.1f} MB; a prompt's file has at most {most / MB:,.0f} MB. "
            "If it is a whole model, save its prompt alone"
        )
    return size


def read_file(path: Path, most: int = LIMITS.file) -> bytes:
    """All bytes of a regular file of at most ``most`` bytes.

    Raises:
        CheckpointError: if it is missing, too large or unreadable.
    """
    size = checked_file_size(path, most)
    try:
        with path.open("rb") as file:
            return file.read(size)
    except OSError as error:
        raise CheckpointError(f"{safe_text(path)} cannot be read: {error.strerror or error}") from error


class Folder(Protocol):
    """Named files that belong together: a folder on disk, or a zip."""

    name: str

    def names(self) -> list[str]:
        """Paths of all files within, with forward slashes."""
        ...

    def read(self, name: str, most: int = LIMITS.file) -> bytes:
        """The bytes of one file."""
        ...


class DiskFolder:
    """A folder on disk. Links that lead out of it are refused, but for those of the hub's own cache."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.resolve().name
        self._resolved_path = path.resolve()

    def names(self) -> list[str]:
        """Files within the folder and one level of folders below it."""
        found: list[str] = []
        for entry in [*self.path.iterdir(), *self.path.glob("*/*")]:
            if len(found) > LIMITS.entries:
                raise CheckpointError(
                    f"{safe_text(self.path)} holds more than {LIMITS.entries} files; choose one of them"
                )
            if not entry.is_dir() and not (entry.parent != self.path and entry.parent.is_symlink()):
                found.append(entry.relative_to(self.path).as_posix())
        return sorted(found)

    def read(self, name: str, most: int = LIMITS.file) -> bytes:
        """The bytes of one file.

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
        # A snapshot folder of the hub's cache links to the blobs beside it.
        hub = self._resolved_path.parent.parent / "blobs" if self._resolved_path.parent.name == "snapshots" else None
        if not real.is_relative_to(self._resolved_path) and not (hub and real.is_relative_to(hub)):
            raise CheckpointError(
                f"{safe_text(name)} is a link that leads out of {safe_text(self.path)}: refused. Copy the file itself there"
            )
        return read_file(real, most)


class ZipFolder:
    """A zip whose directory was checked; entries are read whole, with a limit, and never written anywhere."""

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
        """The files within."""
        return [info.filename for info in self._zip.infolist() if not info.is_dir()]

    def read(self, name: str, most: int = LIMITS.file, methods: Container[int] = range(100)) -> bytes:
        """The bytes of one entry.

        Raises:
            CheckpointError: if it is missing, too large, damaged, or packed by a method that is not among ``methods``.
        """
        try:
            info = self._zip.getinfo(name)
            if info.compress_type not in methods:
                _refuse(self.name, f"packs {safe_text(name)} in a way that is not looked for here")
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
    """Look over a zip's directory before anything is unpacked.

    Raises:
        CheckpointError: for too many or too large entries, a bomb's ratio, paths out of the archive, links, two
            entries of one name, or encryption.
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
    """Why a path within an archive is refused; "" for a good one."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if not parts or "\0" in name:
        return "which is no file name"
    if ".." in parts or name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", name):
        return "which leads out of the archive"
    return ""


def _refuse(name: str, why: str) -> NoReturn:
    raise CheckpointError(f"{safe_text(name)} {why}: refused. Use a file that holds a prompt and nothing else")


def parse_json_object(
    data: bytes, what: str, most: int = LIMITS.json, constant: Callable[[str], object] | None = None
) -> dict[str, Any]:
    """A JSON object, of bounded size and depth; NaN and Infinity are refused, or become what ``constant`` returns.

    Raises:
        CheckpointError: if it is too large, too deep, damaged or no object.
    """
    check_size(len(data), what, most)
    try:
        text = data.decode("utf-8")
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
"""A text, whole, or a bracket. Possessive: a text of many megabytes is passed in one go, with nothing to go back to."""


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
