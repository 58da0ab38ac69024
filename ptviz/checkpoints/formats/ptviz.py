"""What ptviz itself writes: runs, bundles of runs, snapshots, and exported arrays with their axes in the header."""

from __future__ import annotations

from typing import Any

from ptviz.checkpoints.bundle import INPUT, KEY_VALUE, STATE, Array, PromptBundle, Use, Values, uses_of
from ptviz.checkpoints.containers.arrays import read_safetensors
from ptviz.checkpoints.errors import CheckpointError, shown
from ptviz.checkpoints.formats.state_dict import State
from ptviz.checkpoints.limits import LIMITS, Folder, plain_json

CONFIG = "config.json"
MARK = "ptviz-bundle.json"
BUNDLE = "ptviz bundle"
"""The format of a whole run in one file."""
PROMPTS = ("prompt.safetensors", "resume.safetensors")
_FIELDS = {"backbone", "task", "method", "training"}
_AXES = {"m", "d", "S", "kv", "H", "h", "k", "r", "T", "B", "c", "V"}


def recognise(state: State) -> bool:
    """Whether the header names the tensors' axes, as ours does."""
    return "axes" in state.texts


def read(state: State) -> PromptBundle:
    """The tensors with the axes of the header.

    Raises:
        CheckpointError: if the header is damaged.
    """
    axes = plain_json(state.texts["axes"].encode(), "axes in the header")
    tensors: dict[str, Values] = {}
    for name, array in state.tensors.items():
        if name.startswith("resume."):
            continue
        short = name.removeprefix("method.")
        names: Any = axes.get(short)
        if not _fitting(names, array):
            names = [f"axis {index}" for index in range(array.ndim)]
        tensors[shown(short)] = Values(array, tuple(names))
    if not tensors:
        raise CheckpointError(f"{shown(state.name)}: expected the state of a method; got none")
    told = {key: text for key, text in state.told().items() if key not in ("axes", "progress")}
    kind = _kind(tensors)
    width = next((values.array.shape[-1] for values in tensors.values() if values.axes[-1:] == ("d",)), None)
    return PromptBundle(state.name, "ptviz", kind, tensors, told, (), uses_of(kind, width))


def _fitting(names: object, array: Array) -> bool:
    """Whether the names that a header gives to a tensor's axes can be these: it may be anybody's header."""
    if not isinstance(names, list) or len(names) != array.ndim or not all(isinstance(n, str) for n in names):
        return False
    sizes = dict(zip(names, array.shape, strict=True))
    small = sizes.get("m", 1) <= LIMITS.rows and sizes.get("d", 2) >= 2 and sizes.get("kv", 2) == 2
    return small and len(sizes) == len(names) and set(names) <= _AXES


def _kind(tensors: dict[str, Values]) -> str:
    axes = [values.axes for values in tensors.values()]
    if axes == [("m", "d")]:
        return INPUT
    return KEY_VALUE if axes == [("S", "kv", "H", "m", "h")] else STATE


def holds_run(folder: Folder) -> bool:
    """Whether a folder is a run of ours."""
    names = folder.names()
    if CONFIG not in names or not ({"events.jsonl", MARK, *PROMPTS} & set(names)):
        return False
    return set(plain_json(folder.read(CONFIG), CONFIG)) >= _FIELDS


def read_run(folder: Folder) -> PromptBundle:
    """The best prompt of a run, with what the run was.

    Raises:
        CheckpointError: if the run has no prompt yet, or a file is damaged.
    """
    config = plain_json(folder.read(CONFIG), CONFIG)
    file = next((name for name in PROMPTS if name in folder.names()), None)
    if file is None:
        raise CheckpointError(f"run {shown(folder.name)} has no prompt yet: wait for its first snapshot, or resume it")
    found = read_safetensors(folder.read(file), file)
    bundle = read(State(folder.name, file, found.tensors, {"axes": "{}", **found.texts}))
    told = {key: shown(config[key], 300) for key in ("method", "task", "backbone", "name") if config.get(key)}
    whole = Use("go on with the training it came from", True, "resume the run; import it first if it is not yours")
    uses = tuple(whole if use.what == whole.what else use for use in bundle.uses)
    form = BUNDLE if MARK in folder.names() else "ptviz run"
    return PromptBundle(
        folder.name, form, bundle.kind, bundle.tensors, {**told, **bundle.source}, bundle.warnings, uses
    )
