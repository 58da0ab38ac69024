"""Pack finished runs for the gallery: what the pages read, thinned, without the state to resume from."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from pyarrow import parquet
from torch import Tensor

from ptviz.atomic_files import atomic_directory, delete_folder
from ptviz.backbones.listing import named_backbone_shape
from ptviz.runs import snapshots
from ptviz.runs.config import RunConfig, target_slug
from ptviz.runs.forward_pass import ForwardPass, read_forward_pass, write_forward_pass
from ptviz.runs.method_tensors import load_method
from ptviz.runs.prediction_files import PREDICTIONS_FILE
from ptviz.runs.run import Run
from ptviz.runs.run_file_io import StoreError, atomic_write, to_store_error
from ptviz.runs.snapshots import SnapshotInfo
from ptviz.runs.store import encode_config
from ptviz.safe_text import slug
from ptviz.training.merged_prompt import MIN_BYTES, merge_large_prompt

MAX_SNAPSHOTS = 20
"""Most snapshots of a recorded run: enough to see how its prompt moves."""


def recorded_id(config: RunConfig) -> str:
    """Return the id of a recorded run, which its tasks, backbone, method and seed give: recording again keeps it."""
    tasks = "-".join(map(target_slug, config.targets))
    return f"recorded-{slug(f'{tasks}-{config.backbone}-{config.method}', 100)}-{config.training.seed}"


def pack_gallery_run(
    run: Run,
    folder: Path,
    snapshot_bytes: int,
    ids: Mapping[str, str] | None = None,
    best_type: torch.dtype = torch.float32,
) -> Path:
    """Pack a finished run as a recorded run under ``folder``, in place of an earlier recording; return its folder.

    Of its snapshots, stored in half precision, at most ``MAX_SNAPSHOTS`` are kept, as many
    as fit in ``snapshot_bytes``, the best always. The best prompt is stored as ``best_type``, by default as it was
    trained. More than 1 MB is stored as the merged prompt that it makes. Probabilities are rounded to three digits.
    ``ids`` are the new ids of the runs that its events name.

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
            atomic_write(draft / "status.json", replace(status, saved_step=None, pid=None).to_bytes())
            atomic_write(draft / "events.jsonl", _rename_runs((run.path / "events.jsonl").read_bytes(), ids or {}))
            shutil.copyfile(run.path / "environment.json", draft / "environment.json")
            if (run.path / PREDICTIONS_FILE).exists():
                _pack_predictions(run.path / PREDICTIONS_FILE, draft / PREDICTIONS_FILE)
            (draft / "snapshots").mkdir()
            _pack_tensors(run.path / "prompt.safetensors", draft / "prompt.safetensors", config, best_type)
            kept = _choose_by_size(run, draft, snapshot_bytes, best_type)
            for info in kept:
                _pack_tensors(info.path, draft / "snapshots" / info.path.name, config, torch.float16)
            if measured := read_forward_pass(run) or read_forward_pass(Run(target)):
                _pack_forward_pass(measured, draft, kept)
            if target.exists():
                delete_folder(target)
            draft.rename(target)
    except OSError as error:
        raise to_store_error(error, folder) from error
    return target


def _choose_by_size(run: Run, draft: Path, most_bytes: int, best_type: torch.dtype) -> list[SnapshotInfo]:
    """Return the snapshots to keep, which take two bytes a number, by the size of the best prompt just packed."""
    size = max(1, (draft / "prompt.safetensors").stat().st_size * 2 // best_type.itemsize)
    return choose_snapshots(run, max(1, min(MAX_SNAPSHOTS, most_bytes // size)))


def choose_snapshots(run: Run, most: int) -> list[SnapshotInfo]:
    """Return at most ``most`` of a run's snapshots, evenly spread: the best, then the last and the first among them."""
    found, status = run.snapshots(), run.status()
    if len(found) <= most:
        return found
    best = [i for i, info in enumerate(found) if (info.stage, info.step) == status.best_place]
    best = best or [len(found) - 1]
    others, last = most - 1, len(found) - 1
    spread = [round(i * last / (others - 1)) for i in range(others)] if others > 1 else [last] * others
    return [found[i] for i in sorted({*spread, *best})]


def _pack_forward_pass(measured: ForwardPass, draft: Path, kept: Sequence[SnapshotInfo]) -> None:
    """Write the steps of a forward pass whose snapshots are kept; nothing if there is none."""
    places = {(info.stage, info.step) for info in kept}
    if steps := tuple(one for one in measured.steps if (one.stage, one.step) in places):
        write_forward_pass(draft, replace(measured, steps=steps))


def _pack_predictions(source: Path, target: Path) -> None:
    """Copy a table of predictions, its probabilities with 10 bits after the first: three digits, in half the bytes."""
    table = parquet.read_table(source)
    for place, field in enumerate(table.schema):
        if pa.types.is_float64(field.type) and not table[field.name].null_count:
            bits = table[field.name].to_numpy().view(np.uint64)
            short = (bits + np.uint64(1 << 41)) >> np.uint64(42) << np.uint64(42)
            table = table.set_column(place, field, pa.array(short.view(np.float64)))
    parquet.write_table(table, target, compression="zstd", compression_level=19, use_dictionary=False)


def _rename_runs(events: bytes, ids: Mapping[str, str]) -> bytes:
    """Return the lines of events.jsonl with the new ids of the runs that they name."""
    lines = []
    for line in events.splitlines():
        event = json.loads(line)
        if event.get("run") in ids:
            line = json.dumps({**event, "run": ids[event["run"]]}).encode()
        lines.append(line)
    return b"".join(line + b"\n" for line in lines)


def _pack_tensors(source: Path, target: Path, config: RunConfig, dtype: torch.dtype) -> None:
    """Copy a state; its floats get the type, and a large one is replaced by the merged prompt that it makes."""
    state, header = snapshots.read_tensors(source)
    axes = json.loads(header["axes"])
    if sum(tensor.numel() * tensor.element_size() for tensor in state.values()) > MIN_BYTES:
        state = {snapshots.MERGED_PREFIX + name: tensor for name, tensor in _merge(state, config).items()}
        axes = {name: snapshots.MERGED_AXES[tensor.ndim] for name, tensor in state.items()}
    elif dtype == torch.float32:
        shutil.copyfile(source, target)
        return
    small = {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    header = {**{name: text for name, text in header.items() if name != "format"}, "axes": json.dumps(axes)}
    snapshots.write_tensors(target, small, header)


@torch.no_grad()
def _merge(state: Mapping[str, Tensor], config: RunConfig) -> dict[str, Tensor]:
    shape = named_backbone_shape(config.backbone)
    if shape is None:
        raise StoreError(f"{config.backbone}: expected a backbone of `ptviz backbones`, whose sizes are known")
    method = load_method(config, state, shape)
    return merge_large_prompt(method) or {name: part.tensor for name, part in method.merge().tensors().items()}
