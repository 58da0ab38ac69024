"""Tensors of a run on disk: safetensors files whose header names the axes and the place in training."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ptviz.runs.atomic_io import StoreError, atomic_write

_SNAPSHOT_FILE = re.compile(r"(\d+)-(\d{6,})\.safetensors")
AxesByTensor = Mapping[str, Sequence[str]]


class SnapshotInfo(NamedTuple):
    """Where the state after ``step`` updates of ``stage`` lies."""

    stage: int
    step: int
    path: Path


class ResumeState(NamedTuple):
    """A state to go on from: the three fields of a Snapshot event, and its place."""

    stage: int
    step: int
    method: dict[str, Tensor]
    resume: dict[str, Tensor]
    progress: dict[str, Any]
    axes: AxesByTensor = MappingProxyType({})


def snapshot_name(stage: int, step: int) -> str:
    """The file name of a snapshot, in an order that sorts."""
    return f"{stage}-{step:06d}.safetensors"


def list_snapshots(folder: Path) -> list[SnapshotInfo]:
    """The snapshots in a folder, in the order of training."""
    if not folder.is_dir():
        return []
    found = ((_SNAPSHOT_FILE.fullmatch(path.name), path) for path in folder.iterdir())
    return sorted(SnapshotInfo(int(match[1]), int(match[2]), path) for match, path in found if match)


def write_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, str]) -> None:
    """Put tensors in a safetensors file, all or nothing.

    Raises:
        StoreError: if the disk is full or the folder cannot be written.
    """
    # Copies: two names of one tensor (a prompt and the best prompt) are refused by the format.
    own = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
    atomic_write(path, save(own, metadata={"format": "pt", **header}))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and header of a safetensors file.

    Raises:
        StoreError: if it is missing, cut short or no safetensors file.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except FileNotFoundError:
        raise StoreError(f"expected a file {path}; there is none. Choose another step") from None
    except (SafetensorError, OSError, ValueError) as error:
        raise StoreError(
            f"{path} is damaged or cut short ({error}). The run's other files stay readable: choose another step, "
            "or branch from an earlier snapshot"
        ) from error


def snapshot_header(stage: int, step: int, axes: AxesByTensor) -> dict[str, str]:
    """The header of a snapshot: its place, and the axes of each tensor under their names."""
    return {
        "ptviz": "1",
        "stage": str(stage),
        "step": str(step),
        "axes": json.dumps({name: list(names) for name, names in axes.items()}),
    }


def write_resume_state(path: Path, kept: ResumeState) -> None:
    """Put a state to go on from in one file, so that its halves never disagree."""
    tensors = {f"method.{name}": tensor for name, tensor in kept.method.items()}
    tensors |= {f"resume.{name}": tensor for name, tensor in kept.resume.items()}
    write_tensors(
        path, tensors, {**snapshot_header(kept.stage, kept.step, kept.axes), "progress": json.dumps(kept.progress)}
    )


def read_resume_state(path: Path) -> ResumeState:
    """A state to go on from.

    Raises:
        StoreError: if the file is missing, damaged or not ours.
    """
    tensors, head = read_tensors(path)
    try:
        stage, step, progress = int(head["stage"]), int(head["step"]), json.loads(head["progress"])
        axes = json.loads(head.get("axes", "{}"))
    except (KeyError, ValueError) as error:
        raise StoreError(f"{path}: expected a state to resume from; its header lacks {error}") from error
    method = {name.removeprefix("method."): t for name, t in tensors.items() if name.startswith("method.")}
    resume = {name.removeprefix("resume."): t for name, t in tensors.items() if name.startswith("resume.")}
    return ResumeState(stage, step, method, resume, progress, axes)
