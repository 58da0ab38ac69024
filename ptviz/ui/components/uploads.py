"""Uploaded tables, stored on this machine for later runs."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from pathlib import Path

from ptviz import paths
from ptviz.atomic_files import write_file
from ptviz.tasks.custom.containers import COMPRESSED_ENDINGS, TABLE_ENDINGS, is_table_name, table_stem

FILE_ENDINGS = tuple(ending.removeprefix(".") for ending in (*TABLE_ENDINGS, *COMPRESSED_ENDINGS))


def upload_dir() -> Path:
    """Return the folder of uploads."""
    return paths.data_dir() / "uploads"


def safe_name(name: str) -> str:
    """Return a file name of alphanumeric characters, dots, dashes and underscores; the first one is alphanumeric.

    Raises:
        ValueError: if its ending is none of ``FILE_ENDINGS``.
    """
    last = re.split(r"[/\\]", name)[-1]
    if not is_table_name(last):
        raise ValueError(f"expected a file that ends in {', '.join('.' + e for e in FILE_ENDINGS)}; got {last[:80]!r}")
    stem = table_stem(last)
    ending = last[len(stem) :].lower()
    ascii_stem = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode()
    cleaned = re.sub(r"[^A-Za-z0-9_-]+", "-", ascii_stem).strip("-_")[:60]
    return f"{cleaned or 'table'}{ending}"


def save_upload(name: str, content: bytes) -> Path:
    """Write an upload to its folder and return its path; the same content under the same name is stored once.

    Raises:
        ValueError: for an ending that is not a table's, or an empty file.
        OSError: if the folder cannot be written.
    """
    safe = safe_name(name)
    if not content:
        raise ValueError(f"{safe} is empty: expected a table of texts with labels, or with texts to write")
    stem = table_stem(safe)
    # The content is part of the name: another table of the same name must not replace one that a run was made from.
    path = upload_dir() / f"{stem}-{hashlib.sha256(content).hexdigest()[:8]}{safe[len(stem) :]}"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, content)
    return path
