"""Where ptviz keeps things on disk, and how a folder appears there complete or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs


def data_dir() -> Path:
    """Return the folder of runs and of the worker: ``$PTVIZ_HOME``, or the user's data folder."""
    return Path(os.environ.get("PTVIZ_HOME") or platformdirs.user_data_dir("ptviz", appauthor=False))


def cache_dir() -> Path:
    """Return the folder of converted backbones and prepared data: ``$PTVIZ_CACHE``, or the user's cache folder."""
    return Path(os.environ.get("PTVIZ_CACHE") or platformdirs.user_cache_dir("ptviz", appauthor=False))


@contextmanager
def atomic_directory(parent: Path) -> Iterator[Path]:
    """Yield an empty hidden folder in ``parent`` to fill, then to rename to its final name within the block.

    Readers therefore see the complete folder or none: a draft that was not renamed is removed at the end.

    Raises:
        OSError: if the folder cannot be written.
    """
    draft = parent / f".new-{secrets.token_hex(4)}"
    try:
        draft.mkdir(parents=True)
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)
