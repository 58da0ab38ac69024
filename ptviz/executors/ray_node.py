"""A run on a node of a Ray cluster: the same training as everywhere, streamed to the collector beside the store."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Before ray is imported, which reads it.

import psutil
import ray

import ptviz
from ptviz import paths
from ptviz.executors.run_collector import PackedRun
from ptviz.executors.run_mirror import Change, FolderMirror, unpack_on_node
from ptviz.executors.run_stream import Reply, RunStream
from ptviz.runs.config import RunConfig
from ptviz.runs.file_lock import FileLock
from ptviz.runs.run import Run, read_config
from ptviz.runs.run_file_io import FileSignature, StoreError, file_signature
from ptviz.runs.store import encode_config

if TYPE_CHECKING:
    from ptviz.engine.model_cache import ModelCache

_CHUNK_BYTES = 64_000_000
"""Largest object in which a part of a model's file travels."""
_SCRATCH = "ptviz-node-"


class Content(NamedTuple):
    """A file or folder of the store's machine on its way to the nodes: its files, each in parts, by content hash."""

    path: str
    name: str
    digest: str
    files: tuple[tuple[str, tuple[Any, ...]], ...]


class Departure(NamedTuple):
    """What a node gets of a run: the packed run, and the local models and tables that it uses."""

    packed: PackedRun
    contents: tuple[Content, ...]


def local_paths(config: RunConfig) -> list[Path]:
    """Return the files and folders of this machine that a run uses: its backbone and tables, not names or Hub ids."""
    named = [config.backbone, *config.targets, *(config.sources or ())]
    return [Path(name) for name in dict.fromkeys(named) if Path(name).is_absolute() and Path(name).exists()]


def content_digest(path: Path) -> str:
    """Return the hash of the name and content of a file, or of a folder and its files.

    The name counts, because that of a table becomes that of its task.
    """
    digest = hashlib.sha256(path.name.encode())
    for relative, file in _files_of(path):
        digest.update(f"{relative}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as opened:
            while block := opened.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()[:32]


def content_signature(path: Path) -> tuple[tuple[str, FileSignature], ...]:
    """Return what changes with a file, or with one of a folder's files, without reading them."""
    return tuple((relative, file_signature(file)) for relative, file in _files_of(path))


def pack_content(path: Path, digest: str) -> Content:
    """Put a file or a folder into the object store, in parts."""
    files = []
    for relative, file in _files_of(path):
        parts = []
        with file.open("rb") as opened:
            while block := opened.read(_CHUNK_BYTES):
                parts.append(ray.put(block))
        files.append((relative, tuple(parts)))
    return Content(str(path), path.name, digest, tuple(files))


def _files_of(path: Path) -> list[tuple[str, Path]]:
    if path.is_file():
        return [("", path)]
    return [(file.relative_to(path).as_posix(), file) for file in sorted(path.rglob("*")) if file.is_file()]


def unpack_content(content: Content) -> Path:
    """Return the copy of a file or folder on this node, fetched once.

    Raises:
        StoreError: if the node's cache cannot be written.
    """
    folder = paths.cache_dir() / "cluster" / content.digest
    path = folder / content.name
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / "lock")
    while not lock.acquire(wait=60.0):  # Another run on this node is fetching it.
        continue
    try:
        if not (folder / "complete").exists():
            for relative, parts in content.files:
                target = path / relative if relative else path
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("wb") as file:
                    for part in parts:  # One at a time: a model need not fit into memory twice.
                        file.write(ray.get(part))
            (folder / "complete").touch()
    finally:
        lock.release()
    return path


def with_paths_of_node(config: RunConfig, places: Mapping[str, str]) -> RunConfig:
    """Return a config in which local models and tables are the copies on this node."""

    def place(name: str) -> str:
        return places.get(name, name)

    sources = None if config.sources is None else tuple(map(place, config.sources))
    more = tuple(map(place, config.more_tasks))
    return replace(config, backbone=place(config.backbone), task=place(config.task), sources=sources, more_tasks=more)


@cache
def node_models() -> ModelCache:
    """Return the models of this process, which Ray uses for further runs."""
    from ptviz.engine.model_cache import ModelCache

    return ModelCache()


def prepare_node(version: str, cpus: float) -> None:
    """Check that this node has the ``version`` of ptviz of the store's machine; use as many threads as processors.

    Raises:
        StoreError: if it has another one.
    """
    if ptviz.__version__ != version:
        raise StoreError(
            f"node {socket.gethostname()} has ptviz {ptviz.__version__}, the machine of the store has {version}: "
            "install the same version on both"
        )
    import torch

    torch.set_num_threads(threads_of(cpus))


def threads_of(cpus: float) -> int:
    """Return how many threads a run uses on its processors."""
    return max(1, int(cpus))


@ray.remote(max_retries=0)  # type: ignore[untyped-decorator,unused-ignore]
def train_on_node(collector: Any, id: str, shared_root: str | None, version: str, cpus: float) -> dict[str, Any]:
    """Train a run on this node, from its newest state in the store.

    Ray does not repeat the task by itself: the collector does, so that a run that died with its node says so, and one
    that needs more memory than a node has is not tried for ever.

    Returns:
        ``{"bytes": sent, "messages": count, "node": host}``.
    """
    prepare_node(version, cpus)
    from ptviz.engine.train_job import train_run

    if shared_root is not None:
        folder = Path(shared_root) / id
        if not folder.is_dir():
            raise StoreError(
                f"{folder} is not on node {socket.gethostname()}: --shared-storage needs one folder of runs under the "
                "same path on all nodes"
            )
        ray.get(collector.begin_shared.remote(id, ray.get_runtime_context().get_node_id()))
        train_run(Run(folder), node_models(), if_queued=True)
        return {"bytes": 0, "messages": 0, "node": socket.gethostname()}
    departure: Departure | None = ray.get(collector.begin.remote(id, ray.get_runtime_context().get_node_id()))
    if departure is None:
        return {"bytes": 0, "messages": 0, "node": socket.gethostname()}
    with scratch_folder() as scratch:
        folder = _unpack(scratch, id, departure)
        stream = _open_stream(collector, id, departure.packed.attempt, folder)
        train_run(Run(folder), node_models(), stream.on_event, stream.stop_reason)
        stream.finish()
        return {"bytes": stream.sent_bytes, "messages": stream.messages, "node": socket.gethostname()}


def _unpack(scratch: Path, id: str, departure: Departure) -> Path:
    places = {content.path: str(unpack_content(content)) for content in departure.contents}
    for name, files in {**departure.packed.sources, id: departure.packed.files}.items():
        unpack_on_node(scratch / name, files)
        config = with_paths_of_node(read_config(scratch / name), places)
        (scratch / name / "config.json").write_bytes(encode_config(config))
    return scratch / id


def _open_stream(collector: Any, id: str, attempt: str, folder: Path) -> RunStream:
    def send(changes: Sequence[Change]) -> Any:
        return collector.receive.remote(id, attempt, changes)

    def wait(handle: Any, block: bool) -> Reply | None:
        if not block and not ray.wait([handle], timeout=0)[0]:
            return None
        reply: Reply = ray.get(handle)
        return reply

    return RunStream(FolderMirror(folder), send, wait)


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Yield a folder for the runs of this process; delete it, and those of killed processes."""
    for left in Path(tempfile.gettempdir()).glob(f"{_SCRATCH}*"):
        pid = left.name.removeprefix(_SCRATCH).partition("-")[0]
        if pid.isdigit() and not psutil.pid_exists(int(pid)):
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f"{_SCRATCH}{os.getpid()}-") as folder:
        yield Path(folder)
