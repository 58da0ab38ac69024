"""Tables as bytes: files as they are, gzip, bzip2, and ZIP archives that hold one table."""

from __future__ import annotations

import bz2
import gzip
import io
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO, cast

from ptviz.tasks.custom.errors import table_error
from ptviz.tasks.custom.table_options import MB, TableLimits
from ptviz.tasks.example import TaskError

TABLE_ENDINGS = (".csv", ".tsv", ".tab", ".txt", ".jsonl", ".ndjson", ".json", ".parquet", ".pq")
COMPRESSED_ENDINGS = (".gz", ".bz2", ".zip")
_ZIP_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_DAMAGED = (EOFError, OSError, zlib.error, zipfile.BadZipFile, NotImplementedError, RuntimeError)


def is_table_name(name: str) -> bool:
    """Return whether a file's name ends like a table's, compressed or not."""
    return table_ending(name) is not None or name.lower().endswith(".zip")


def table_ending(name: str) -> str | None:
    """Return the ending that says what kind of table a file is: ".csv" of "reviews.csv.gz"; None if there is none."""
    lowered = name.lower()
    for packed in COMPRESSED_ENDINGS:
        lowered = lowered.removesuffix(packed)
    return next((ending for ending in TABLE_ENDINGS if lowered.endswith(ending)), None)


def table_stem(name: str) -> str:
    """Return a file's name without the endings of a table."""
    for ending in (*COMPRESSED_ENDINGS, *TABLE_ENDINGS):
        if name.lower().endswith(ending):
            name = name[: -len(ending)]
    return name


class _BoundedReader(io.RawIOBase):
    """The bytes of an unpacked file, up to a limit; damage is an error that names the file."""

    def __init__(self, source: IO[bytes], path: Path, limit: int) -> None:
        self._source, self._path, self._limit, self._count = source, path, limit, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        try:
            data = self._source.read(len(buffer))
        except _DAMAGED as error:
            raise table_error(self._path, f"damaged or cut short ({error}); save it again") from error
        self._count += len(data)
        if self._count > self._limit:
            raise table_error(self._path, f"expected at most {self._limit / MB:,.0f} MB unpacked; split the table")
        buffer[: len(data)] = data
        return len(data)


@contextmanager
def open_unpacked(path: Path, limits: TableLimits) -> Iterator[tuple[io.BufferedReader[_BoundedReader], str]]:
    """Open a table's bytes, unpacked by what the file begins with; also gives the name of the table inside.

    Raises:
        TaskError: if the file exceeds a limit, is damaged, or is an archive without exactly one table.
    """
    size = path.stat().st_size
    if size > limits.file:
        raise table_error(path, f"expected at most {limits.file / MB:,.0f} MB; got {size / MB:,.0f}: split the table")
    with path.open("rb") as file:
        magic = file.read(4)
        file.seek(0)
        source: IO[bytes]
        name = path.name
        if magic.startswith(b"\x1f\x8b"):
            source = cast(IO[bytes], gzip.GzipFile(fileobj=file))
        elif magic.startswith(b"BZh"):
            source = bz2.BZ2File(file)
        elif magic.startswith((b"PK\x03\x04", b"PK\x05\x06")):
            source, name = _open_member(path, file)
        else:
            source = file
        with source, io.BufferedReader(_BoundedReader(source, path, limits.unpacked), 1 << 16) as reader:
            yield reader, name


def _open_member(path: Path, file: BinaryIO) -> tuple[IO[bytes], str]:
    try:
        archive = zipfile.ZipFile(file)
        names = archive.namelist()
        found = [info for info in archive.infolist() if _is_table_member(info.filename)]
        if "[Content_Types].xml" in names:
            raise table_error(path, "this is a spreadsheet; save its sheet as CSV (UTF-8) and use that file")
        if len(found) != 1:
            listed = ", ".join(repr(info.filename[:60]) for info in found[:5]) or "none"
            raise table_error(path, f"expected one table ({', '.join(TABLE_ENDINGS)}) in the archive; got {listed}")
        if found[0].flag_bits & 1 or found[0].compress_type not in _ZIP_METHODS:
            raise table_error(path, "expected an archive without a password, stored or deflated; pack it again")
        return archive.open(found[0]), found[0].filename
    except TaskError:
        raise
    except (*_DAMAGED, ValueError) as error:
        raise table_error(path, f"damaged or cut short ({error}); save it again") from error


def _is_table_member(name: str) -> bool:
    """Return whether an archive's entry is a table; macOS adds a hidden companion to each file."""
    last = name.rsplit("/", 1)[-1]
    return table_ending(last) is not None and not last.startswith(".") and not last.lower().endswith(COMPRESSED_ENDINGS)
