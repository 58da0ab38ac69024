"""Where ptviz keeps things on disk."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import platformdirs

NUL = "\0"


def data_dir() -> Path:
    """Return the folder of runs and of the worker: ``$PTVIZ_HOME``, or the user's data folder."""
    return Path(os.environ.get("PTVIZ_HOME") or platformdirs.user_data_dir("ptviz", appauthor=False))


def cache_dir() -> Path:
    """Return the folder of converted backbones and prepared data: ``$PTVIZ_CACHE``, or the user's cache folder."""
    return Path(os.environ.get("PTVIZ_CACHE") or platformdirs.user_cache_dir("ptviz", appauthor=False))


def gallery_dir() -> Path:
    """Return the folder of the recorded runs and checkpoints that come with the app; it may not exist.

    That is ``$PTVIZ_GALLERY``, or ``assets/gallery``: inside the package in a wheel, next to it in a checkout.
    """
    if given := os.environ.get("PTVIZ_GALLERY"):
        return Path(given)
    return _packaged_gallery()


def sample_checkpoints_dir() -> Path:
    """Return the folder of the gallery's checkpoints."""
    return gallery_dir() / "checkpoints"


@cache  # A page asks for it thousands of times.
def _packaged_gallery() -> Path:
    package = Path(__file__).resolve().parent
    installed = package / "_app" / "assets" / "gallery"
    return installed if installed.is_dir() else package.parent / "assets" / "gallery"


def expand_user(path: str | Path) -> Path:
    """Return a path with the user's home for a leading "~", unchanged for a user who does not exist.

    Raises:
        ValueError: if there is a NUL character in it; Python's own message names neither the path nor the character.
    """
    if NUL in str(path):
        raise ValueError(f"expected a path or name without a NUL character (\\x00); got {str(path)[:200]!r}")
    return Path(os.path.expanduser(path))  # noqa: PTH111  # Path.expanduser raises for an unknown user
