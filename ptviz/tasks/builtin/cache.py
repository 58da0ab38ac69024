"""Prepared rows kept on disk, so that a built-in task opens at once.

A kept file is a line of JSON that says what it was made from and the SHA-256 of what follows: the names of the data's
classes and the splits. Anything else that is found there is made again, and a folder that cannot be written only costs
time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ptviz import paths
from ptviz.atomic_files import write_file
from ptviz.tasks.example import Example, TaskSplits


class PreparedSplits(NamedTuple):
    """The rows of a task, and the data's own names of its classes, in the order of the labels."""

    class_names: tuple[str, ...]
    splits: TaskSplits


def fingerprint_files(folder: Path, pattern: str, *settings: object) -> str:
    """A hash that changes with the files of ``folder / pattern``, with ``settings``, and with this package's code."""
    digest = hashlib.sha256(repr(settings).encode())
    for path in sorted(folder.glob(pattern)):
        status = path.stat()
        digest.update(f"{path.relative_to(folder)} {status.st_size} {status.st_mtime_ns}\n".encode())
    for path in sorted(Path(__file__).parents[1].rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def load_or_prepare(name: str, made_from: str, build: Callable[[], PreparedSplits]) -> PreparedSplits:
    """What is kept under ``name`` if it was made from the same and is whole; else what ``build`` makes, now kept."""
    path = paths.cache_dir() / "tasks" / f"{name}.json"
    with suppress(OSError, ValueError, KeyError, TypeError):
        return _read_prepared(path, made_from)
    prepared = build()
    with suppress(OSError):
        _write_prepared(path, made_from, prepared)
    return prepared


def _read_prepared(path: Path, made_from: str) -> PreparedSplits:
    head, _, body = path.read_bytes().partition(b"\n")
    said = json.loads(head)
    if said["made_from"] != made_from or said["sha256"] != hashlib.sha256(body).hexdigest():
        raise ValueError("made from something else, or damaged")
    names, splits = json.loads(body)
    return PreparedSplits(tuple(names), TaskSplits(*(tuple(map(Example.from_json, rows)) for rows in splits)))


def _write_prepared(path: Path, made_from: str, prepared: PreparedSplits) -> None:
    splits = [[row.to_json() for row in rows] for rows in prepared.splits]
    body = json.dumps([prepared.class_names, splits], ensure_ascii=False).encode()
    head = json.dumps({"made_from": made_from, "sha256": hashlib.sha256(body).hexdigest()}).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, head + b"\n" + body, durable=False)
