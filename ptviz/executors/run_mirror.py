"""A run's folder on a node, mirrored to the store as plain bytes: what changed since the last time.

The node trains with the ordinary writer of runs into a folder of its own. ``FolderMirror`` finds what that writer
appended, replaced and deleted; ``apply_changes`` does the same to the run in the store, in the writer's order, so that
the store is readable at every moment and the resume state never belongs to events that are missing.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ptviz.runs.prediction_files import ERROR_FILE, PREDICTIONS_FILE
from ptviz.runs.run_file_io import FileSignature, StoreError, atomic_write, file_signature, to_store_error

EVENTS = "events.jsonl"
_SNAPSHOT = re.compile(r"snapshots/\d{1,4}-\d{6,9}\.safetensors")
_BEFORE_STATUS = (
    "environment.json",
    "resume.safetensors",
    ERROR_FILE,
    PREDICTIONS_FILE,
    "prompt.safetensors",
    "error.txt",
)
_REPLACED = (*_BEFORE_STATUS, "status.json")
"""Files that a writer replaces, in the order in which they are mirrored: what a status promises is there before it."""
_SENT_TO_NODE = ("config.json", "start.safetensors", "resume.safetensors", "environment.json", "status.json")
_DURABLE = ("resume.safetensors", "prompt.safetensors", PREDICTIONS_FILE)


class Change(NamedTuple):
    """One change of a file: ``data`` appended at byte ``offset``, or the whole new content, or None if deleted."""

    name: str
    data: bytes | None
    offset: int | None = None


class FolderMirror:
    """Finds the changes of a run's folder since it was last asked. The present content counts as known."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._known = self._signatures()
        self._offset = _complete_size(folder / EVENTS)

    def changes(self) -> list[Change]:
        """Return what changed: events first, then snapshots, deleted files, results, and the status last."""
        found = self._new_events()
        now = self._signatures()
        changed = [name for name, signature in now.items() if self._known.get(name) != signature]
        read = {name: data for name in changed if (data := self._read(name)) is not None}
        found += [Change(name, read[name]) for name in sorted(read) if name not in _REPLACED]
        found += [Change(name, None) for name in sorted(set(self._known) - set(now))]
        found += [Change(name, read[name]) for name in _REPLACED if name in read]
        self._known = now
        return found

    def _new_events(self) -> list[Change]:
        path = self.folder / EVENTS
        try:
            with path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return []
        data = data[: data.rfind(b"\n") + 1]
        if not data:
            return []
        start, self._offset = self._offset, self._offset + len(data)
        return [Change(EVENTS, data, start)]

    def _signatures(self) -> dict[str, FileSignature]:
        names = [*_REPLACED]
        with suppress(FileNotFoundError):
            names += [f"snapshots/{entry.name}" for entry in os.scandir(self.folder / "snapshots")]
        names = [name for name in names if is_mirrored(name) and (self.folder / name).exists()]
        return {name: file_signature(self.folder / name) for name in names}

    def _read(self, name: str) -> bytes | None:
        with suppress(FileNotFoundError):
            return (self.folder / name).read_bytes()
        return None


def is_mirrored(name: str) -> bool:
    """Return whether a file of a run is mirrored: not its config, its locks, or a request to stop."""
    return name == EVENTS or name in _REPLACED or _SNAPSHOT.fullmatch(name) is not None


def apply_changes(folder: Path, changes: Iterable[Change]) -> None:
    """Change a run in the store as its folder on the node changed. The caller holds the run's lock.

    Raises:
        StoreError: if a file is none of a run, events do not continue those that are there, or the disk is full.
    """
    for change in changes:
        path = folder / change.name
        if not is_mirrored(change.name):
            raise StoreError(f"{folder.name}: a node sent the file {change.name!r}, which is none that training writes")
        try:
            if change.data is None:
                path.unlink(missing_ok=True)
            elif change.offset is not None:
                _append(path, change.data, change.offset)
            elif change.name == "status.json":
                atomic_write(path, _own_status(change.data), durable=False)
            else:
                path.parent.mkdir(exist_ok=True)
                atomic_write(path, change.data, durable=change.name in _DURABLE)
        except OSError as error:
            raise to_store_error(error, path) from error


def _append(path: Path, data: bytes, offset: int) -> None:
    """Append events where they belong; the torn last line of a killed collector gives way."""
    complete = _complete_size(path)
    if offset != complete:
        raise StoreError(f"{path}: expected events that continue at byte {complete}; got some from byte {offset}")
    with path.open("ab") as file:
        file.truncate(complete)
        file.seek(0, os.SEEK_END)
        file.write(data)


def _complete_size(path: Path) -> int:
    """Return the size up to the end of the last complete line; 0 without the file."""
    try:
        with path.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            # A line is short, so its beginning is in the last kilobytes; an empty or torn file is read whole.
            file.seek(max(0, end - 65536))
            tail = file.read()
            found = tail.rfind(b"\n") + 1
            if found or end <= 65536:
                return end - len(tail) + found
            file.seek(0)
            return file.read().rfind(b"\n") + 1
    except FileNotFoundError:
        return 0


def _own_status(data: bytes) -> bytes:
    """Return a status with the process of the collector, which holds the run's lock, and the memory kills here."""
    from ptviz.runs.failure_messages import oom_kill_count

    status = json.loads(data)
    if status.get("pid") is not None:
        status |= {"pid": os.getpid(), "kills": oom_kill_count()}
    return json.dumps(status).encode()


def pack_for_node(folder: Path) -> dict[str, bytes]:
    """Return the files of a run that a node needs to train it on, by name.

    Snapshots and results are empty: the node does not need them, but the writer there deletes those that the training
    repeats, and what it deletes is deleted in the store.

    Raises:
        StoreError: if a file cannot be read.
    """
    found: dict[str, bytes] = {}
    try:
        for name in _SENT_TO_NODE:
            if (folder / name).exists():
                found[name] = (folder / name).read_bytes()
        found[EVENTS] = (
            (folder / EVENTS).read_bytes()[: _complete_size(folder / EVENTS)] if (folder / EVENTS).exists() else b""
        )
        others = [*_REPLACED, *(f"snapshots/{path.name}" for path in (folder / "snapshots").glob("*.safetensors"))]
        found |= {name: b"" for name in others if name not in found and is_mirrored(name) and (folder / name).exists()}
    except OSError as error:
        raise to_store_error(error, folder) from error
    return found


def pack_finished_run(folder: Path) -> dict[str, bytes]:
    """Return all files of a finished run that another run reads, such as that of a source prompt.

    Raises:
        StoreError: if a file cannot be read.
    """
    names = ["config.json", "status.json", "environment.json", EVENTS, "prompt.safetensors", "resume.safetensors"]
    try:
        names += [f"snapshots/{path.name}" for path in (folder / "snapshots").glob("*.safetensors")]
        return {name: (folder / name).read_bytes() for name in names if (folder / name).exists()}
    except OSError as error:
        raise to_store_error(error, folder) from error


def unpack_on_node(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write the files of a run into a new folder on a node."""
    (folder / "snapshots").mkdir(parents=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)


def size_of(changes: Sequence[Change]) -> int:
    """Return the bytes of changes."""
    return sum(len(change.data or b"") for change in changes)
