"""A run's tensors on disk: safetensors files with the tensors' axes, stage and step in the header."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from msgspec import Meta, Struct
from safetensors import SafetensorError, safe_open

from ptviz.runs.config import RunConfig
from ptviz.runs.run_file_io import StoreError, atomic_write
from ptviz.safe_text import safe_text
from ptviz.validation import InvalidData, Name, StageIndex, StepCount, convert_json, decode_json

if TYPE_CHECKING:
    from torch import Tensor

_SNAPSHOT_FILE = re.compile(r"(\d+)-(\d{6,})\.safetensors")
MERGED_PREFIX = "folded/"
"""Begins the names of the tensors in a snapshot that holds the merged prompt instead of the method's state."""
MERGED_AXES: Mapping[int, tuple[str, ...]] = {2: ("m", "d"), 5: ("S", "kv", "H", "m", "h")}
"""Axes of a merged tensor by their number: input embeddings, or keys and values at every attention site."""
AxesByTensor = Mapping[str, Sequence[str]]


_AXES: Any = Annotated[dict[Name, Annotated[list[Name], Meta(max_length=16)]], Meta(max_length=10_000)]
_PROGRESS: Any = Annotated[dict[Name, Annotated[int, Meta(ge=0, le=10**12)] | float], Meta(max_length=50)]


class _Place(Struct):
    stage: StageIndex
    step: StepCount
    extensions: StepCount


class SnapshotInfo(NamedTuple):
    """The file with the state after ``step`` updates of ``stage``."""

    stage: int
    step: int
    path: Path


class ResumeState(NamedTuple):
    """A state to resume from: the three fields of a Snapshot event, with its stage and step.

    ``extensions`` is how often the run had been extended when the state was saved.
    """

    stage: int
    step: int
    method: dict[str, Tensor]
    resume: dict[str, Tensor]
    progress: dict[str, Any]
    axes: AxesByTensor = MappingProxyType({})
    extensions: int = 0

    def with_extension(self, config: RunConfig) -> ResumeState:
        """Return the state with the patience of early stopping renewed if the run was extended since it was saved."""
        if self.extensions >= len(config.planned) or "stale" not in self.progress:
            return self
        return self._replace(progress={**self.progress, "stale": 0})


def snapshot_name(stage: int, step: int) -> str:
    """Return the file name of a snapshot; names sort in training order."""
    return f"{stage}-{step:06d}.safetensors"


def list_snapshots(folder: Path) -> list[SnapshotInfo]:
    """Return the snapshots in a folder, in training order."""
    if not folder.is_dir():
        return []
    found = ((_SNAPSHOT_FILE.fullmatch(path.name), path) for path in folder.iterdir())
    return sorted(SnapshotInfo(int(match[1]), int(match[2]), path) for match, path in found if match)


def write_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, str]) -> None:
    """Write tensors to a safetensors file atomically.

    Raises:
        StoreError: if the disk is full or the folder cannot be written.
    """
    from safetensors.torch import save  # Here, so that the list of runs does not load torch.

    # Cloned, since the format does not allow two names for one tensor (a prompt and the best prompt).
    own = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
    atomic_write(path, save(own, metadata={"format": "pt", **header}))


def read_tensors(path: Path, prefix: str = "") -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors of a safetensors file whose names begin with ``prefix``, and its header.

    Half precision, in which recorded runs store their snapshots, is returned as float32.

    Raises:
        StoreError: if it is missing, truncated or not a safetensors file.
    """
    try:
        with safe_open(path, framework="pt") as file:
            names = [name for name in file.keys() if name.startswith(prefix)]  # noqa: SIM118
            return {name: _to_float32(file.get_tensor(name)) for name in names}, dict(file.metadata() or {})
    except FileNotFoundError:
        raise StoreError(f"{path} does not exist. Choose another step") from None
    except (SafetensorError, OSError, ValueError) as error:
        raise StoreError(
            f"{path} is damaged or truncated ({error}). The run's other files are still readable: choose another step, "
            "or branch from an earlier snapshot"
        ) from error


def _to_float32(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() and tensor.element_size() == 2 else tensor


def read_merged_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the merged tensors of a snapshot by the method's symbols; empty if it holds the method's state."""
    return {name.removeprefix(MERGED_PREFIX): t for name, t in state.items() if name.startswith(MERGED_PREFIX)}


def holds_merged_prompt(path: Path) -> bool:
    """Return whether a snapshot holds the merged prompt alone; False for a file that cannot be read."""
    with suppress(OSError, SafetensorError, ValueError), safe_open(path, framework="np") as file:
        return any(name.startswith(MERGED_PREFIX) for name in file.keys())  # noqa: SIM118
    return False


def find_whole_state(folder: Path, stage: int, step: int) -> tuple[Path, str] | None:
    """Return the file with the whole state after ``step`` updates of ``stage``, and the prefix of its names.

    None if there is only the snapshot: the newest state is in the resume state, the best one there or in the prompt.
    """
    for name in ("prompt.safetensors", "resume.safetensors"):
        with suppress(OSError, SafetensorError, InvalidData), safe_open(folder / name, framework="np") as file:
            header = dict(file.metadata() or {})
            if name.startswith("prompt"):
                is_whole = not any(key.startswith(MERGED_PREFIX) for key in file.keys())  # noqa: SIM118
                if is_whole and (header.get("stage"), header.get("step")) == (str(stage), str(step)):
                    return folder / name, ""
                continue
            place, progress, _ = decode_resume_header(header)
            if (place.stage, place.step) == (stage, step):
                return folder / name, "method."
            if (progress.get("best_stage", place.stage), progress.get("best_step")) == (stage, step):
                return folder / name, "resume.best/"
    return None


def read_prefixed(path: Path, prefix: str) -> dict[str, Tensor]:
    """Return the tensors of a file whose names begin with ``prefix``, by the rest of their names.

    Raises:
        StoreError: if the file is missing or damaged.
    """
    return {name.removeprefix(prefix): t for name, t in read_tensors(path, prefix)[0].items()}


def snapshot_header(stage: int, step: int, axes: AxesByTensor) -> dict[str, str]:
    """Return the header of a snapshot: its stage and step, and the axes of each tensor by name."""
    return {
        "ptviz": "1",
        "stage": str(stage),
        "step": str(step),
        "axes": json.dumps({name: list(names) for name, names in axes.items()}),
    }


def decode_resume_header(header: Mapping[str, str]) -> tuple[_Place, dict[str, Any], dict[str, Any]]:
    """Return stage and step, the training progress, and the axes by tensor from the header of a resume state.

    Raises:
        InvalidData: if one is missing, wrongly typed or out of its bounds.
    """
    try:
        place = convert_json({name: int(header.get(name, 0)) for name in _Place.__struct_fields__}, _Place)
        progress: dict[str, Any] = decode_json(header["progress"].encode(), _PROGRESS, non_finite=True)
        axes: dict[str, Any] = decode_json(header.get("axes", "{}").encode(), _AXES)
    except KeyError as error:
        raise InvalidData(f"missing {error}") from None
    except InvalidData:
        raise
    except ValueError as error:  # The step is no number, or half of a surrogate pair.
        raise InvalidData(safe_text(error, 200)) from None
    # Before the first evaluation the best loss is infinite, which is read as NaN.
    return place, {name: math.inf if value != value else value for name, value in progress.items()}, axes


def write_resume_state(path: Path, state: ResumeState) -> None:
    """Write a state to resume from to one file, so that its parts always belong together."""
    tensors = {f"method.{name}": tensor for name, tensor in state.method.items()}
    tensors |= {f"resume.{name}": tensor for name, tensor in state.resume.items()}
    header = snapshot_header(state.stage, state.step, state.axes)
    progress = {"progress": json.dumps(state.progress), "extensions": str(state.extensions)}
    write_tensors(path, tensors, {**header, **progress})


def read_resume_state(path: Path) -> ResumeState:
    """Return the state to resume from in a file.

    Raises:
        StoreError: if the file is missing, damaged or not a resume state.
    """
    tensors, header = read_tensors(path)
    try:
        place, progress, axes = decode_resume_header(header)
    except InvalidData as error:
        raise StoreError(f"{path}: expected a state to resume from; invalid header ({error})") from error
    method = {name.removeprefix("method."): t for name, t in tensors.items() if name.startswith("method.")}
    resume = {name.removeprefix("resume."): t for name, t in tensors.items() if name.startswith("resume.")}
    return ResumeState(place.stage, place.step, method, resume, progress, axes, place.extensions)
