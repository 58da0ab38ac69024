"""The forward pass of one text at every snapshot of a run, recorded in its folder so that a page needs no model.

``ptviz.probes.forward_pass`` measures it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import msgspec

from ptviz.runs.run import Run, read_small_file
from ptviz.runs.run_file_io import StoreError, atomic_write
from ptviz.validation import InvalidData, Name, StageIndex, StepCount, decode_json

FORWARD_PASS_FILE = "forward-pass.json"
_Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
_Norm = Annotated[float, msgspec.Meta(ge=0, le=1e6)]
_Index = Annotated[int, msgspec.Meta(ge=0, le=4096)]
_Weights = Annotated[str, msgspec.Meta(max_length=2_000_000)]


@dataclass(frozen=True)
class ForwardStep:
    """The forward pass with the prompt of one snapshot, after ``step`` updates of ``stage``.

    ``probabilities`` (c) are those of the classes, ``norms`` (m) the lengths of the prompt's vectors. ``attention`` is
    the weight of each key (column) for each query (row) in each layer, averaged over the heads: (layers, T, T), one
    byte each with 255 for 1, as base64.
    """

    stage: StageIndex
    step: StepCount
    probabilities: tuple[_Share, ...]
    norms: tuple[_Norm, ...]
    attention: _Weights


@dataclass(frozen=True)
class ForwardPass:
    """One text on its way through a frozen backbone, at every snapshot of a run.

    ``tokens`` (T) are the input's, of which ``prompt`` are the positions of the prompt tokens; the last layer's vectors
    at ``readout`` are averaged to the answer. ``alone`` (c) are the probabilities of ``classes`` without a prompt.
    ``versions`` names the software that measured it.
    """

    text: Annotated[str, msgspec.Meta(max_length=2000)]
    tokens: tuple[Annotated[str, msgspec.Meta(max_length=200)], ...]
    prompt: tuple[_Index, ...]
    readout: tuple[_Index, ...]
    layers: Annotated[int, msgspec.Meta(ge=1, le=200)]
    classes: tuple[Name, ...]
    alone: tuple[_Share, ...]
    steps: tuple[ForwardStep, ...]
    versions: dict[str, str]


def read_forward_pass(run: Run) -> ForwardPass | None:
    """Return the forward pass that a run recorded; None if it has none.

    Raises:
        StoreError: if the file is damaged.
    """
    path = run.path / FORWARD_PASS_FILE
    if not path.exists():
        return None
    try:
        found = decode_json(read_small_file(path), ForwardPass)
    except InvalidData as error:
        raise StoreError(f"{path}: {error}; measure it again with python -m ptviz.probes.forward_pass") from None
    wrong = _find_misfit(found)
    if wrong:
        raise StoreError(f"{path}: {wrong}; measure it again with python -m ptviz.probes.forward_pass")
    return found


def _find_misfit(found: ForwardPass) -> str:
    """Return what does not fit together, "" if all does."""
    width, count, m = len(found.tokens), len(found.classes), len(found.prompt)
    size = 4 * -(-found.layers * width * width // 3)
    if not found.steps:
        return "expected at least one step"
    if max([0, *found.prompt, *found.readout]) >= width or not found.readout:
        return f"expected positions below {width} in prompt and readout"
    if len(found.alone) != count:
        return f"expected {count} probabilities without a prompt; got {len(found.alone)}"
    for one in found.steps:
        if len(one.probabilities) != count or len(one.norms) != m or len(one.attention) != size:
            return f"step {one.step} does not have the shapes of {count} classes, {m} prompt tokens, {width} tokens"
    return ""


def write_forward_pass(folder: Path, measured: ForwardPass) -> None:
    """Write a forward pass to a run's folder.

    Raises:
        StoreError: if the folder cannot be written, or the disk is full.
    """
    atomic_write(folder / FORWARD_PASS_FILE, json.dumps(asdict(measured)).encode())
