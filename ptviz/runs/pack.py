"""Pack finished runs for the gallery: what the pages read, thinned, without the state to resume from."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch

from ptviz.atomic_files import atomic_directory, delete_folder
from ptviz.runs import snapshots
from ptviz.runs.atomic_io import StoreError, atomic_write, slug, to_store_error
from ptviz.runs.config import RunConfig, target_slug
from ptviz.runs.predictions import PREDICTIONS_FILE
from ptviz.runs.run import Run
from ptviz.runs.snapshots import SnapshotInfo
from ptviz.runs.store import encode_config

_UNCHANGED_FILES = ("environment.json", PREDICTIONS_FILE, "start.safetensors")


def recorded_id(config: RunConfig) -> str:
    """Return the id of a recorded run, which its tasks, backbone, method and seed give: recording again keeps it."""
    tasks = "-".join(map(target_slug, config.targets))
    return f"recorded-{slug(f'{tasks}-{config.backbone}-{config.method}', 100)}-{config.training.seed}"


def pack_run(run: Run, folder: Path, most_snapshots: int = 20, ids: Mapping[str, str] | None = None) -> Path:
    """Pack a finished run as a recorded run under ``folder``, in place of an earlier recording; return its folder.

    At most ``most_snapshots`` are kept, the first, the best and the last among them. They are stored in half precision;
    the best prompt is stored as it was trained. ``ids`` are the new ids of the runs that its events name.

    Raises:
        StoreError: if the run is not finished, a file is damaged, or the folder cannot be written.
    """
    status, config = run.status(), run.config
    if status.state != "finished":
        raise StoreError(f"run {run.id} is {status.state}: only finished runs are packed")
    target = folder / recorded_id(config)
    try:
        with atomic_directory(folder) as draft:
            atomic_write(draft / "config.json", encode_config(replace(config, name="")))
            atomic_write(draft / "status.json", replace(status, kept=None, pid=None).to_bytes())
            atomic_write(draft / "events.jsonl", _rename_runs((run.path / "events.jsonl").read_bytes(), ids or {}))
            for name in _UNCHANGED_FILES:
                if (run.path / name).exists():
                    shutil.copyfile(run.path / name, draft / name)
            shutil.copyfile(run.path / "prompt.safetensors", draft / "prompt.safetensors")
            (draft / "snapshots").mkdir()
            for info in choose_snapshots(run, most_snapshots):
                _copy_in_half_precision(info.path, draft / "snapshots" / info.path.name)
            if target.exists():
                delete_folder(target)
            draft.rename(target)
    except OSError as error:
        raise to_store_error(error, folder) from error
    return target


def choose_snapshots(run: Run, most: int) -> list[SnapshotInfo]:
    """Return at most ``most`` of a run's snapshots, evenly spread; the first, the best and the last among them."""
    found, status = run.snapshots(), run.status()
    if len(found) <= most:
        return found
    spread = {round(i * (len(found) - 1) / (most - 2)) for i in range(most - 1)}
    best = {i for i, info in enumerate(found) if (info.stage, info.step) == (status.stage, status.best_step)}
    return [found[i] for i in sorted(spread | best)]


def _rename_runs(events: bytes, ids: Mapping[str, str]) -> bytes:
    """Return the lines of events.jsonl with the new ids of the runs that they name."""
    lines = []
    for line in events.splitlines():
        event = json.loads(line)
        if event.get("run") in ids:
            line = json.dumps({**event, "run": ids[event["run"]]}).encode()
        lines.append(line)
    return b"".join(line + b"\n" for line in lines)


def _copy_in_half_precision(source: Path, target: Path) -> None:
    tensors, header = snapshots.read_tensors(source)
    small = {name: t.half() if t.dtype == torch.float32 else t for name, t in tensors.items()}
    snapshots.write_tensors(target, small, {name: text for name, text in header.items() if name != "format"})
