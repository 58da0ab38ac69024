"""Files written by ptviz: runs, bundles of runs, snapshots, and exported arrays with their axes in the header."""

from __future__ import annotations

from typing import Any

from ptviz.checkpoints.bundle import (
    INPUT,
    KEY_VALUE,
    METHOD_STATE,
    Array,
    Capability,
    NamedAxesArray,
    PromptBundle,
    list_capabilities,
)
from ptviz.checkpoints.containers.arrays import read_safetensors
from ptviz.checkpoints.errors import CheckpointError
from ptviz.checkpoints.formats.named_tensors import StoredTensors
from ptviz.checkpoints.limits import LIMITS, Folder, parse_json_object
from ptviz.safe_text import safe_list, safe_text

CONFIG_FILE = "config.json"
BUNDLE_MARKER = "ptviz-bundle.json"
BUNDLE_FORMAT = "ptviz bundle"
"""The format name of a run in one file."""
PROMPT_FILES = ("prompt.safetensors", "resume.safetensors")
_CONFIG_FIELDS = {"backbone", "task", "method", "training"}
_KNOWN_AXES = {"m", "d", "S", "s", "kv", "H", "h", "k", "r", "T", "B", "c", "V", "t"}


def detect(state: StoredTensors) -> bool:
    """Return whether the header names the tensors' axes, as ptviz writes them."""
    return "axes" in state.metadata


def read_tensors(state: StoredTensors) -> PromptBundle:
    """Return the tensors with the axes named in the header.

    Raises:
        CheckpointError: if the header is damaged.
    """
    axes = parse_json_object(state.metadata["axes"].encode(), "axes in the header")
    tensors: dict[str, NamedAxesArray] = {}
    for name, array in state.tensors.items():
        if name.startswith("resume."):
            continue
        short = name.removeprefix("method.")
        names: Any = axes.get(short)
        if not _valid_axes(names, array):
            names = [f"axis {index}" for index in range(array.ndim)]
        tensors[safe_text(short)] = NamedAxesArray(array, tuple(names))
    if not tensors:
        raise CheckpointError(f"{safe_text(state.name)}: expected the state of a method; got none")
    metadata = {key: text for key, text in state.description().items() if key not in ("axes", "progress")}
    kind = _prompt_kind(tensors)
    width = next((values.array.shape[-1] for values in tensors.values() if values.axes[-1:] == ("d",)), None)
    return PromptBundle(state.name, "ptviz", kind, tensors, metadata, (), list_capabilities(kind, width))


def _valid_axes(names: object, array: Array) -> bool:
    """Return whether a header's axis names are valid for a tensor: the header is untrusted."""
    if not isinstance(names, list) or len(names) != array.ndim or not all(isinstance(n, str) for n in names):
        return False
    sizes = dict(zip(names, array.shape, strict=True))
    small = sizes.get("m", 1) <= LIMITS.rows and sizes.get("d", 2) >= 2 and sizes.get("kv", 2) == 2
    return small and len(sizes) == len(names) and set(names) <= _KNOWN_AXES


def _prompt_kind(tensors: dict[str, NamedAxesArray]) -> str:
    axes = [values.axes for values in tensors.values()]
    if axes == [("m", "d")]:
        return INPUT
    return KEY_VALUE if axes == [("S", "kv", "H", "m", "h")] else METHOD_STATE


def is_run(folder: Folder) -> bool:
    """Return whether a folder is a ptviz run."""
    names = folder.names()
    if CONFIG_FILE not in names or not ({"events.jsonl", BUNDLE_MARKER, *PROMPT_FILES} & set(names)):
        return False
    return set(parse_json_object(folder.read(CONFIG_FILE), CONFIG_FILE)) >= _CONFIG_FIELDS


def read_run(folder: Folder) -> PromptBundle:
    """Return the best prompt of a run, with the run's method, task and backbone as metadata.

    Raises:
        CheckpointError: if the run has no prompt yet, or a file is damaged.
    """
    config = parse_json_object(folder.read(CONFIG_FILE), CONFIG_FILE)
    file = next((name for name in PROMPT_FILES if name in folder.names()), None)
    if file is None:
        raise CheckpointError(
            f"run {safe_text(folder.name)} has no prompt yet: wait for its first snapshot, or resume it"
        )
    found = read_safetensors(folder.read(file), file)
    bundle = read_tensors(StoredTensors(folder.name, file, found.tensors, {"axes": "{}", **found.metadata}))
    settings = {key: safe_text(config[key], 300) for key in ("method", "task", "backbone", "name") if config.get(key)}
    if isinstance(more := config.get("more_tasks"), list):
        settings["task"] = safe_list([settings.get("task", ""), *map(str, more)], 20)
    resumable = Capability("resume its training", True, "resume the run; import it first if it is from elsewhere")
    uses = tuple(resumable if use.action == resumable.action else use for use in bundle.capabilities)
    form = BUNDLE_FORMAT if BUNDLE_MARKER in folder.names() else "ptviz run"
    return PromptBundle(
        name=folder.name,
        format=form,
        kind=bundle.kind,
        tensors=bundle.tensors,
        metadata={**settings, **bundle.metadata},
        warnings=bundle.warnings,
        capabilities=uses,
    )
