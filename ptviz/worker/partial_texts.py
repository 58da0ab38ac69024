"""Texts that the worker is writing, for a page to show while they grow: one small file a request.

The page creates the file and removes it when it needs the text no more; the worker writes only while the file exists.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ptviz.runs.run_file_io import StoreError, atomic_write
from ptviz.runs.store import Store
from ptviz.validation import InvalidData, decode_json
from ptviz.worker.directory import WorkerDir

_NAME = re.compile(r"[0-9a-f]{16}")
OnText = Callable[[str, str], None]
"""Takes "with" or "without" (a prompt) and the text so far."""


def create_partial_texts(store: Store) -> str:
    """Create the file for the partial texts of one request, and return its name.

    Raises:
        StoreError: if it cannot be written.
    """
    WorkerDir.of_store(store.root).create()
    name = secrets.token_hex(8)
    atomic_write(_path(store, name), b"{}", durable=False)
    return name


def read_partial_texts(store: Store, name: str) -> dict[str, str]:
    """Return the texts so far, by "with" and "without"; empty before the first token and after the end."""
    with suppress(OSError, InvalidData):
        return decode_json(_path(store, name).read_bytes(), dict[str, str])
    return {}


def remove_partial_texts(store: Store, name: str) -> None:
    """Remove the file: a worker that is writing the texts stops at its next token."""
    with suppress(OSError):
        _path(store, name).unlink(missing_ok=True)


@contextmanager
def partial_texts(store: Store, name: str) -> Iterator[OnText | None]:
    """Yield what stores partial texts under ``name`` while they grow; None without a name.

    The file is removed at the end.

    Raises:
        StoreError: if the file is gone, at the beginning or at a token; or for a name of another form.
    """
    if not name:
        yield None
        return
    path, texts = _path(store, name), dict[str, str]()

    def check_wanted() -> None:
        if not path.exists():
            raise StoreError("the text is not needed any more")

    def store_text(side: str, text: str) -> None:
        check_wanted()
        texts[side] = text
        with suppress(StoreError):  # A full disk delays the text until the answer comes.
            atomic_write(path, json.dumps(texts).encode(), durable=False)

    try:
        check_wanted()
        yield store_text
    finally:
        remove_partial_texts(store, name)


def _path(store: Store, name: str) -> Path:
    if not _NAME.fullmatch(name):
        raise StoreError(f"expected 16 hexadecimal digits as the name of partial texts; got {name[:40]!r}")
    return WorkerDir.of_store(store.root).requests.folder / f"{name}.partial"
