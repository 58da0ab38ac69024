"""Result files of benchmarks: found in folders and read with size limits; parsing them is left to the caller."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ptviz.checkpoints.errors import CheckpointError
from ptviz.checkpoints.limits import MB, read_file
from ptviz.safe_text import safe_text

MAX_FILE_BYTES = 2 * MB
"""Largest size in bytes of a result file; those of PEFT have about 15 kB."""
MAX_FILES = 1000
"""Largest number of result files read at once."""


def read_benchmark_files(paths: Iterable[Path | str]) -> tuple[list[tuple[str, bytes]], list[str]]:
    """Return (name, content) of the files at ``paths``, and of the JSON files directly in folders among them.

    The second list has a message for each file that could not be read.

    Raises:
        CheckpointError: if a path does not exist, or there are too many files.
    """
    files: list[Path] = []
    for path in map(Path, paths):
        files += _list_files(path)
        if len(files) > MAX_FILES:
            raise CheckpointError(f"expected at most {MAX_FILES} result files; got more. Choose fewer")
    found, problems = [], []
    for file in dict.fromkeys(files):
        try:
            found.append((file.name, read_file(file, MAX_FILE_BYTES)))
        except CheckpointError as error:
            problems.append(f"{safe_text(file.name)}: {error}")
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
