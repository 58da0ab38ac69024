"""Texts that the worker is writing, for a page to show while they grow: one small file a request."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ptviz.runs.atomic_io import StoreError, atomic_write
from ptviz.runs.store import Store
from ptviz.validation import InvalidData, decode_json
from ptviz.worker.directory import WorkerDir

_NAME = re.compile(r"[0-9a-f]{16}")
OnText = Callable[[str, str], None]
"""Takes "with" or "without" (a prompt) and the text so far."""


def new_stream_name() -> str:
    """Return a name for the partial texts of one request."""
    return secrets.token_hex(8)


def read_partial_texts(store: Store, name: str) -> dict[str, str]:
    """Return the texts so far, by "with" and "without"; empty before the first token and after the end."""
    with suppress(OSError, InvalidData):
        return decode_json(_path(store, name).read_bytes(), dict[str, str])
    return {}


@contextmanager
def partial_texts(store: Store, name: str) -> Iterator[OnText | None]:
    """Yield what stores partial texts under ``name`` while they grow, and remove them at the end; None without a name.

    Raises:
        StoreError: for a name that ``new_stream_name`` does not make.
    """
    if not name:
        yield None
        return
    path, texts = _path(store, name), dict[str, str]()

    def store_text(side: str, text: str) -> None:
        texts[side] = text
        with suppress(StoreError):  # A full disk delays the text until the answer comes.
            atomic_write(path, json.dumps(texts).encode(), durable=False)

    try:
        yield store_text
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _path(store: Store, name: str) -> Path:
    if not _NAME.fullmatch(name):
        raise StoreError(f"expected 16 hexadecimal digits as the name of partial texts; got {name[:40]!r}")
    return WorkerDir.of_store(store.root).requests.folder / f"{name}.partial"
