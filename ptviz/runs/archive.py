"""Export a run to one zip file (config, events, snapshots, environment), and import it again.

An imported file is untrusted: names, sizes, types, values and tensors are checked before anything is written. A
backbone or Hub task that is not built in must be named again by the user, because inspecting the run would download it.
The path of a task is that of a file on another machine: it is kept to be shown, and never opened.
"""

from __future__ import annotations

import io
import json
import math
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import ptviz
from ptviz.atomic_files import atomic_directory, atomic_file
from ptviz.checkpoints import BackboneReference
from ptviz.checkpoints.containers.arrays import read_safetensors
from ptviz.checkpoints.diagnostics import incompatibilities
from ptviz.checkpoints.errors import CheckpointError
from ptviz.checkpoints.formats.ptviz import BUNDLE_MARKER, read_run
from ptviz.checkpoints.limits import LIMITS, MB, ZipFolder, check_size, parse_json_object, read_file
from ptviz.runs.annotations import ANNOTATIONS_FILE, decode_annotations
from ptviz.runs.config import RunConfig
from ptviz.runs.embedding_table import require_backbone_shape
from ptviz.runs.environment import TABLES_FIELD, decode_environment, table_digest
from ptviz.runs.prediction_files import MAX_ATTEMPTS, write_predictions_error
from ptviz.runs.run import Run
from ptviz.runs.run_file_io import StoreError, atomic_write, to_store_error
from ptviz.runs.snapshots import decode_resume_header
from ptviz.runs.status import ACTIVE_STATES, Status
from ptviz.runs.store import RUN_ID_PATTERN, Store, encode_config, rename_draft
from ptviz.safe_text import safe_text
from ptviz.tasks import ELSEWHERE_PREFIX, list_benchmark_tasks, list_tasks, named_task
from ptviz.training.events import decode_event

_JSON_FILES = ("config.json", "status.json", "environment.json", ANNOTATIONS_FILE, BUNDLE_MARKER)
_TENSOR_FILE = re.compile(r"(prompt|resume|start|snapshots/\d{1,4}-\d{6,9})\.safetensors")
_EVENTS_FILE = "events.jsonl"
_MAX_EVENTS_BYTES, _MAX_LINE_BYTES = 64 * MB, MB // 4
"""Largest size in bytes of a run's events.jsonl, and of one line of it."""
_ZIP_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Allowed compression methods: others may need gigabytes of memory to decompress."""


def pack_run(run: Run, path: Path) -> list[str]:
    """Write a run to one zip file that ``unpack_run`` can read, and return the names of its entries.

    Raises:
        StoreError: if the run is active, has no prompt yet, exceeds a limit of a bundle, or the file cannot be written.
    """
    if (state := run.status().state) in ACTIVE_STATES:
        raise StoreError(f"run {run.id} is {state}: stop it first, or wait until it is finished")
    files = [name for name in (*_JSON_FILES[:-1], _EVENTS_FILE) if (run.path / name).exists()]
    names = ("prompt.safetensors", "resume.safetensors", "start.safetensors")
    files += [name for name in names if (run.path / name).exists()]
    if not any(name.endswith("s") for name in files if name.startswith(("prompt", "resume"))):
        raise StoreError(f"run {run.id} has no prompt yet: resume it first")
    files += [f"snapshots/{info.path.name}" for info in run.snapshots()]
    _check_files(run, files)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as draft:
            with zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr(BUNDLE_MARKER, json.dumps({"bundle": 1, "id": run.id, "ptviz": ptviz.__version__}))
                for name in files:
                    archive.write(run.path / name, name)
            if draft.is_file():  # A device holds no file to measure.
                _check_zip(run, draft.stat().st_size, archive.infolist())
    except OSError as error:
        raise to_store_error(error, path) from error
    return [BUNDLE_MARKER, *files]


def _check_files(run: Run, files: list[str]) -> None:
    """Check the files of a run against the limits that ``unpack_run`` sets, before they are compressed.

    Raises:
        StoreError: naming the limit, and what to do.
    """
    _check_limit(run, "files", len(files) + 1, LIMITS.entries)  # One more marks it as a bundle.
    sizes = {name: (run.path / name).stat().st_size for name in files}
    for name, size in sizes.items():
        most = LIMITS.json if name in _JSON_FILES else _MAX_EVENTS_BYTES if name == _EVENTS_FILE else LIMITS.file
        _check_limit(run, f"MB in {name}", size / MB, most / MB)
    _check_limit(run, "MB in all", sum(sizes.values()) / MB, LIMITS.unpacked / MB)
    if _EVENTS_FILE in sizes:
        with (run.path / _EVENTS_FILE).open("rb") as lines:
            longest = max(map(len, lines), default=0)
        _check_limit(run, f"bytes in one line of {_EVENTS_FILE}", longest, _MAX_LINE_BYTES)


def _check_zip(run: Run, packed: int, infos: list[zipfile.ZipInfo]) -> None:
    """Check the size of a zip, and that it does not look like a zip bomb.

    Raises:
        StoreError: naming the limit, and what to do.
    """
    _check_limit(run, "MB in its zip file", packed / MB, LIMITS.file / MB)
    unpacked = sum(info.file_size for info in infos)
    _check_limit(run, "MB in all", unpacked / MB, LIMITS.unpacked / MB)
    if unpacked > MB:
        _check_limit(run, "times the size of its zip file", unpacked / packed, LIMITS.ratio)


def _check_limit(run: Run, what: str, found: float, most: float) -> None:
    if found > most:
        raise StoreError(
            f"run {run.id} does not fit into a bundle: expected at most {most:,g} {what}; got {math.ceil(found):,}. "
            f"Export its best prompt alone (ptviz export {run.id} --to safetensors), or copy its folder {run.path}"
        )


def unpack_run(store: Store, path: Path, backbone: str | None = None, task: str | None = None) -> Run:
    """Create a run in the store from a bundle.

    ``backbone`` and ``task`` name the backbone and the task of the bundle here, where they have other names: a local
    copy, say. A run is found and reused by them, so they cannot make it one on something else.

    Raises:
        CheckpointError: if the file is not a bundle, is damaged, exceeds a limit, or names something to download; if
            ``backbone`` or ``task`` is not what the run was trained on, as far as that can be seen.
        BackboneError: if ``backbone`` is a folder without a model.
        StoreError: if the store cannot be written.
    """
    archive = ZipFolder(read_file(path), path.name)
    files = _read_files(archive)
    environment: dict[str, Any] = {}
    if "environment.json" in files:
        with _as_checkpoint_error("environment.json"):
            environment = decode_environment(files["environment.json"])
    config, status = _read_bundled_config(files, backbone, task), _read_bundled_status(files)
    if backbone is not None:
        _check_fit(archive, backbone)
    if task is not None:
        _check_same_table(task, environment)
    if ANNOTATIONS_FILE in files:
        with _as_checkpoint_error(ANNOTATIONS_FILE):
            decode_annotations(files[ANNOTATIONS_FILE])
    id = parse_json_object(files[BUNDLE_MARKER], BUNDLE_MARKER).get("id")
    try:
        with atomic_directory(store.root) as draft:
            (draft / "snapshots").mkdir()
            for name, data in files.items():
                if name != BUNDLE_MARKER:
                    atomic_write(draft / name, data, durable=False)
            atomic_write(draft / "config.json", encode_config(config))
            atomic_write(draft / "status.json", status.to_bytes())
            write_predictions_error(draft, MAX_ATTEMPTS, "a bundle has no predictions")
            store.claim_draft(draft)
            valid_id = id if isinstance(id, str) and RUN_ID_PATTERN.fullmatch(id) else None
            return Run(rename_draft(draft, config, valid_id))
    except OSError as error:
        raise to_store_error(error, store.root) from error


def _read_files(archive: ZipFolder) -> dict[str, bytes]:
    """Return the content of every file of the bundle, by name, after checking it."""
    names = archive.names()
    missing = [name for name in (BUNDLE_MARKER, "config.json", _EVENTS_FILE) if name not in names]
    if missing:
        raise CheckpointError(f"{safe_text(archive.name)}: expected a ptviz bundle; missing {', '.join(missing)}")
    files = {}
    for name in names:
        if name not in (*_JSON_FILES, _EVENTS_FILE) and not _TENSOR_FILE.fullmatch(name):
            raise CheckpointError(
                f"{safe_text(archive.name)}: unexpected file {safe_text(name)!r} in a ptviz bundle; refused"
            )
        data = files[name] = archive.read(name, methods=_ZIP_METHODS)
        if name in _JSON_FILES:
            parse_json_object(data, name)
        elif name == _EVENTS_FILE:
            check_size(len(data), _EVENTS_FILE, _MAX_EVENTS_BYTES)
            _check_events(data)
        else:
            header = read_safetensors(data, name).metadata
            if name == "resume.safetensors":
                with _as_checkpoint_error(name):
                    decode_resume_header(header)
    return files


def _check_events(data: bytes) -> None:
    for number, line in enumerate(io.BytesIO(data), 1):
        check_size(len(line), f"one line of {_EVENTS_FILE}", _MAX_LINE_BYTES)
        with _as_checkpoint_error(f"line {number} of {_EVENTS_FILE}"):
            decode_event(line)


@contextmanager
def _as_checkpoint_error(what: str) -> Iterator[None]:
    try:
        yield
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"{what} of the bundle: {error}") from error


def _read_bundled_config(files: dict[str, bytes], backbone: str | None, task: str | None) -> RunConfig:
    from ptviz import backbones

    with _as_checkpoint_error("config.json"):
        config = RunConfig.from_json(parse_json_object(files["config.json"], "config.json")).checked()
    known = {info.name for info in backbones.list_backbones()}
    if backbone is None and config.backbone not in known:
        raise CheckpointError(
            f"the run uses the backbone {safe_text(config.backbone)}, which is not built in: inspecting the run may "
            "download it. If you trust it, or have a local copy, name it with --backbone NAME"
        )
    if backbone is not None and config.backbone in known and backbone != config.backbone:
        raise CheckpointError(
            f"the run was trained on the backbone {config.backbone}, not on {safe_text(backbone)}: leave --backbone out"
        )
    if task is not None and config.more_tasks:
        raise CheckpointError(
            f"the run has {len(config.targets)} target tasks; --task is for a run on one: leave it out"
        )
    if task is None and (hub := [name for name in config.targets if name.startswith("hub:")]):
        raise CheckpointError(
            f"the run uses the task {safe_text(hub[0])}: inspecting the run may download it. If you trust it, "
            "name it with --task NAME"
        )
    if task is not None and task != config.task:
        is_file = not config.task.startswith("hub:")
        if named_task(config.task) is not None or (is_file and named_task(task) is not None):
            own = safe_text(config.task.removeprefix(ELSEWHERE_PREFIX))
            hint = "name your copy of its file with --task" if named_task(config.task) is None else "leave --task out"
            raise CheckpointError(f"the run was trained on the task {own}, not on {safe_text(task)}: {hint}")
    sources = config.sources and tuple(map(_local_task_name, config.sources))
    return replace(
        config,
        backbone=backbone or config.backbone,
        task=task or _local_task_name(config.task),
        more_tasks=tuple(map(_local_task_name, config.more_tasks)),
        sources=sources,
        device=None,
    ).checked()


def _check_fit(archive: ZipFolder, backbone: str) -> None:
    """Check that the prompt of a bundle fits a backbone, if the sizes of that are known here.

    Raises:
        CheckpointError: if not, or there is no prompt to look at.
        BackboneError: if it is a folder without a model.
    """
    if (shape := require_backbone_shape(backbone)) is not None:
        reference = BackboneReference(backbone, shape, np.zeros(0, np.float32))
        if problems := incompatibilities(read_run(archive), reference):
            raise CheckpointError("; ".join(problems))


def _check_same_table(task: str, environment: dict[str, Any]) -> None:
    """Check that the file of a task is the one that a run was trained on, if that was recorded.

    Raises:
        CheckpointError: if its content is another.
    """
    recorded, now = [*environment.get(TABLES_FIELD, ())][:1], table_digest(task)
    if now and recorded not in ([], [""], [now]):
        raise CheckpointError(
            f"{safe_text(task)} is not the table that the run was trained on: its content differs. Name an exact copy "
            "with --task, or leave --task out"
        )


def _local_task_name(name: str) -> str:
    """Return the name of a task that has one here; of any other, a name that is shown and never opened."""
    named = {info.name for info in [*list_tasks(), *list_benchmark_tasks()]}
    return name if name in named or name.startswith(ELSEWHERE_PREFIX) else ELSEWHERE_PREFIX + name


def _read_bundled_status(files: dict[str, bytes]) -> Status:
    """Return the status from the bundle, as stopped if it was active: no worker runs it here."""
    if "status.json" not in files:
        return Status("stopped", "imported without its status")
    with _as_checkpoint_error("status.json"):
        status = Status.from_json(parse_json_object(files["status.json"], "status.json"))
    return (
        status.with_changes(state="stopped", reason="imported", pid=None)
        if status.state in ACTIVE_STATES
        else status.with_changes(pid=None)
    )
