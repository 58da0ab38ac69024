"""Uploaded tables, stored on this machine for later runs."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from pathlib import Path

from ptviz import paths
from ptviz.atomic_files import write_file
from ptviz.classroom.rules import MAX_UPLOAD_MB, MAX_UPLOADS_MB
from ptviz.classroom.visitor_store import uploads_folder
from ptviz.tasks.custom.containers import COMPRESSED_ENDINGS, TABLE_ENDINGS, is_table_name, table_stem
from ptviz.ui.classroom import current_visitor

FILE_ENDINGS = tuple(ending.removeprefix(".") for ending in (*TABLE_ENDINGS, *COMPRESSED_ENDINGS))


UPLOAD_PREFIX, RECORDED_PREFIX = "upload:", "recorded:"
LINK_PREFIXES = (UPLOAD_PREFIX, RECORDED_PREFIX)
"""Beginnings of what names a file in an address without a folder of this machine: uploads, recorded checkpoints."""


def upload_dir() -> Path:
    """Return the folder of uploads; in a classroom that of the visitor."""
    visitor = current_visitor()
    if visitor is None or visitor.is_teacher:
        return paths.data_dir() / "uploads"
    return uploads_folder(visitor.id)


def check_upload_size(size: int) -> None:
    """Check that a visitor of a classroom may upload so many bytes more.

    Raises:
        ValueError: if not.
    """
    visitor = current_visitor()
    if visitor is None or visitor.is_teacher:
        return
    if size > MAX_UPLOAD_MB * 1_000_000:
        raise ValueError(f"expected at most {MAX_UPLOAD_MB} MB in a classroom; got {size / 1e6:,.1f} MB")
    used = sum(path.stat().st_size for path in upload_dir().rglob("*") if path.is_file())
    if used + size > MAX_UPLOADS_MB * 1_000_000:
        raise ValueError(f"expected at most {MAX_UPLOADS_MB} MB of uploads in all; you have {used / 1e6:,.1f} MB")


def link_of(path: Path) -> str:
    """Return what names an upload or a recorded checkpoint in an address, without a folder; else the path."""
    for prefix, folder in _linked_folders().items():
        if path.is_relative_to(folder):
            return prefix + path.relative_to(folder).as_posix()
    return str(path)


def resolve_link(text: str) -> str:
    """Return the path of the file that ``link_of`` has named; any other text as it is.

    Raises:
        ValueError: if there is no such file.
    """
    prefix = next((one for one in LINK_PREFIXES if text.startswith(one)), None)
    if prefix is None:
        return text
    folder, parts = _linked_folders()[prefix], text.removeprefix(prefix).split("/")
    path = folder.joinpath(*parts)
    if ".." in parts or not path.is_relative_to(folder) or not path.exists():
        what = "a file that was uploaded here" if prefix == UPLOAD_PREFIX else "a recorded checkpoint"
        raise ValueError(f"expected {what}; got {text}: upload the file again")
    return str(path)


def _linked_folders() -> dict[str, Path]:
    return {UPLOAD_PREFIX: upload_dir(), RECORDED_PREFIX: paths.sample_checkpoints_dir()}


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
        raise ValueError(f"{safe} is empty: expected a table of texts with labels, or with target texts")
    check_upload_size(len(content))
    # A folder for each content: another table of the same name must not replace one that a run was made from.
    path = upload_dir() / hashlib.sha256(content).hexdigest()[:8] / safe
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, content)
    return path
