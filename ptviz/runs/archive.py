"""A run as one file that opens and replays anywhere: a zip of its config, events, snapshots and environment.

What is unpacked is a stranger's: names, sizes, JSON and tensors are checked, and a backbone or hub task that is not
built in must be named by the person again, since looking at the run would fetch it.
"""

from __future__ import annotations

import io
import json
import re
import secrets
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import ptviz
from ptviz.checkpoints.containers.arrays import read_safetensors
from ptviz.checkpoints.errors import CheckpointError, shown
from ptviz.checkpoints.formats.ptviz import MARK
from ptviz.checkpoints.limits import LIMITS, MB, ZipFolder, bounded, content_of, plain_json
from ptviz.runs.atomic_io import StoreError, explained, write_whole
from ptviz.runs.config import RunConfig
from ptviz.runs.run import Run
from ptviz.runs.status import ALIVE, Status
from ptviz.runs.store import Store, encoded, new_id

_JSON = ("config.json", "status.json", "environment.json", MARK)
_TENSORS = re.compile(r"(prompt|resume|start|snapshots/\d{1,4}-\d{6,9})\.safetensors")
_EVENTS = "events.jsonl"
_LONGEST, _LINE = 64 * MB, MB // 4
"""Bytes of a run's events, and of one of them."""
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""How the files of a bundle may be packed: others may want gigabytes to be unpacked."""
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,150}")


def pack(run: Run, path: Path) -> list[str]:
    """Write a run to one zip; the names of what is in it.

    Raises:
        StoreError: if the run is being trained, has learned nothing yet, or the file cannot be written.
    """
    if (state := run.status().state) in ALIVE:
        raise StoreError(f"run {run.id} is {state}: stop it first, or wait until it is done")
    files = [name for name in (*_JSON[:3], _EVENTS) if (run.path / name).exists()]
    names = ("prompt.safetensors", "resume.safetensors", "start.safetensors")
    files += [name for name in names if (run.path / name).exists()]
    if not any(name.endswith("s") for name in files if name.startswith(("prompt", "resume"))):
        raise StoreError(f"run {run.id} has no prompt yet: resume it first")
    files += [f"snapshots/{info.path.name}" for info in run.snapshots()]
    if (size := sum((run.path / name).stat().st_size for name in files)) > LIMITS.unpacked:
        raise StoreError(f"run {run.id} has {size / MB:,.0f} MB; a bundle has at most {LIMITS.unpacked / MB:,.0f} MB")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.part")
        with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(MARK, json.dumps({"bundle": 1, "id": run.id, "ptviz": ptviz.__version__}))
            for name in files:
                archive.write(run.path / name, name)
        part.replace(path)
    except OSError as error:
        raise explained(error, path) from error
    return [MARK, *files]


def unpack(store: Store, path: Path, backbone: str | None = None, task: str | None = None) -> Run:
    """A new run in the store from a bundle; ``backbone`` and ``task`` replace the names that the bundle gives.

    Raises:
        CheckpointError: if it is no bundle, is damaged, breaks a limit, or names what would have to be fetched.
        StoreError: if the store cannot be written.
    """
    archive = ZipFolder(content_of(path), path.name)
    files = _files(archive)
    config = _config(files, backbone, task)
    draft = store.root / f".new-{secrets.token_hex(4)}"
    try:
        (draft / "snapshots").mkdir(parents=True)
        for name, data in files.items():
            if name != MARK:
                write_whole(draft / name, data, durable=False)
        write_whole(draft / "config.json", encoded(config))
        write_whole(draft / "status.json", _status(files).to_bytes())
        return Run(_settled(store, draft, config, plain_json(files[MARK], MARK).get("id")))
    except OSError as error:
        raise explained(error, store.root) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _files(archive: ZipFolder) -> dict[str, bytes]:
    """Every file of the bundle, checked."""
    names = archive.names()
    missing = [name for name in (MARK, "config.json", _EVENTS) if name not in names]
    if missing:
        raise CheckpointError(f"{shown(archive.name)}: expected a bundle of ptviz; it lacks {', '.join(missing)}")
    files = {}
    for name in names:
        if name not in (*_JSON, _EVENTS) and not _TENSORS.fullmatch(name):
            raise CheckpointError(f"{shown(archive.name)}: a bundle of ptviz has no file {shown(name)!r}: refused")
        data = files[name] = archive.read(name, methods=_METHODS)
        if name in _JSON:
            plain_json(data, name)
        elif name == _EVENTS:
            bounded(len(data), _EVENTS, _LONGEST)
            for line in io.BytesIO(data):
                plain_json(line, f"a line of {_EVENTS}", _LINE)
        else:
            read_safetensors(data, name)
    return files


def _config(files: dict[str, bytes], backbone: str | None, task: str | None) -> RunConfig:
    from ptviz import backbones

    try:
        config = RunConfig.from_json(plain_json(files["config.json"], "config.json")).checked()
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"config.json of the bundle: {error}") from error
    known = {info.name for info in backbones.catalogue()}
    if backbone is None and config.backbone not in known:
        raise CheckpointError(
            f"the run was made with the backbone {shown(config.backbone)}, which is not built in and might be fetched "
            "when you look at it. If you trust it, or have a copy, name it: --backbone NAME"
        )
    if task is None and config.task.startswith("hub:"):
        raise CheckpointError(
            f"the run was made on the task {shown(config.task)}, which might be fetched when you look at it. If you "
            "trust it, name it: --task NAME"
        )
    return replace(config, backbone=backbone or config.backbone, task=task or config.task, device=None).checked()


def _status(files: dict[str, bytes]) -> Status:
    """Where the run stood; nobody is working on it here."""
    try:
        status = Status.from_json(plain_json(files["status.json"], "status.json"))
    except (KeyError, ValueError, TypeError):
        return Status("stopped", "imported without its status")
    return status.now(state="stopped", reason="imported", pid=None) if status.state in ALIVE else status.now(pid=None)


def _settled(store: Store, draft: Path, config: RunConfig, id: object) -> Path:
    names = [id] if isinstance(id, str) and _ID.fullmatch(id) else []
    for name in [*names, *(new_id(config) for _ in range(100))]:
        path = store.root / name
        if not path.exists():
            draft.rename(path)
            return path
    raise StoreError(f"no free name was found in {store.root}; delete some runs, or use another folder")
