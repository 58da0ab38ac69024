"""Result files of benchmarks as they lie on disk: found in folders, bounded, read; what they say is for others."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ptviz.checkpoints.errors import CheckpointError, safe_text
from ptviz.checkpoints.limits import MB, read_file

MAX_FILE_BYTES = 2 * MB
"""Bytes of one result file; those of PEFT have some 15 kB."""
MAX_FILES = 1000
"""Result files opened at once."""


def read_benchmark_files(paths: Iterable[Path | str]) -> tuple[list[tuple[str, bytes]], list[str]]:
    """The files at some paths, and the JSON files right within the folders among them, as (name, content).

    Returns also a sentence for each file that cannot be read.

    Raises:
        CheckpointError: if a path leads nowhere, or there are too many files.
    """
    places: list[Path] = []
    for path in map(Path, paths):
        places += _list_files(path)
        if len(places) > MAX_FILES:
            raise CheckpointError(f"expected at most {MAX_FILES} result files; there are more. Choose fewer")
    found, problems = [], []
    for place in dict.fromkeys(places):
        try:
            found.append((place.name, read_file(place, MAX_FILE_BYTES)))
        except CheckpointError as error:
            problems.append(f"{safe_text(place.name)}: {error}")
    return found, problems


def _list_files(path: Path) -> list[Path]:
    try:
        if path.is_dir():
            return sorted(entry for entry in path.iterdir() if entry.suffix == ".json" and not entry.is_dir())
        if path.exists():
            return [path]
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{safe_text(path)} cannot be read: {getattr(error, 'strerror', None) or error}"
        ) from error
    raise CheckpointError(f"expected a result file, or a folder of them, at {safe_text(path)}; there is nothing")
