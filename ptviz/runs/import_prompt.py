"""A prompt out of somebody's checkpoint, kept beside the runs as any other."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ptviz.checkpoints import BackboneReference, PromptBundle
from ptviz.checkpoints.bundle import FACTORS, INPUT, KEY_VALUE, LIBRARY, UNSPLIT_AXES, Array
from ptviz.checkpoints.detect import MODEL_WEIGHT_FILES
from ptviz.checkpoints.diagnostics import incompatibilities
from ptviz.checkpoints.errors import safe_list, safe_text
from ptviz.checkpoints.formats.peft import CONFIG_FILE, WEIGHT_FILES
from ptviz.checkpoints.formats.ptviz import PROMPT_FILES
from ptviz.checkpoints.formats.state_dict import split_key_values
from ptviz.checkpoints.limits import DiskFolder, read_file
from ptviz.runs import saved_prompts
from ptviz.runs.atomic_io import StoreError
from ptviz.runs.embedding_table import find_backbone_shape
from ptviz.runs.saved_prompts import PROMPT_AXES, SavedPrompt
from ptviz.runs.store import Store

_MAX_SOURCE_ENTRIES = 24


def importable_prompts(bundle: PromptBundle, backbone: str = "") -> dict[str, dict[str, Tensor]]:
    """Every prompt of a checkpoint that can be kept, by its name there; none if it holds parts of a method.

    Keys and values that the file does not split by site and head are split as ``backbone`` has them, if that fits.
    """
    if bundle.kind not in (INPUT, KEY_VALUE, LIBRARY, FACTORS):
        return {}
    found = {name: {"embeddings": torch.tensor(matrix)} for name, matrix in bundle.input_prompts().items()}
    for name, values in bundle.tensors.items():
        if values.axes == PROMPT_AXES["key_values"]:
            found[name] = {"key_values": torch.tensor(values.array)}
        elif values.axes == UNSPLIT_AXES and (split := _split_key_values(values.array, backbone)) is not None:
            found[name] = {"key_values": split}
    return found


def _split_key_values(flat: Array, backbone: str) -> Tensor | None:
    """Keys and values (m, S * 2 * H * h) as a backbone has them, (S, 2, H, m, h); None if its sizes are others."""
    sizes = find_backbone_shape(backbone)
    if sizes is None or flat.shape[1] != 2 * sizes.sites * sizes.heads * sizes.head_width:
        return None
    return torch.tensor(split_key_values(flat, sizes.sites, sizes.heads).array)


def select_prompt_name(bundle: PromptBundle, which: str | None = None, backbone: str = "") -> str:
    """The name of the prompt meant: ``which``, or the only one.

    Raises:
        StoreError: if there is none, no such, or more than one to choose from.
    """
    names = list(importable_prompts(bundle, backbone))
    if not names and any(values.axes == UNSPLIT_AXES for values in bundle.tensors.values()):
        raise StoreError(
            f"{bundle.name} does not say how many layers and heads its keys and values are for: name the backbone they "
            f"were trained for{f', whose sizes differ from those of {backbone}' if backbone else ''}"
        )
    if not names:
        raise StoreError(
            f"{bundle.name} ({bundle.kind}) holds no single prompt to keep: expected vectors at the input, or keys and "
            "values split by site and head"
        )
    if which is None and len(names) > 1:
        raise StoreError(f"{bundle.name} holds {len(names)} prompts; name one of {safe_list(names, 20)}")
    if which is not None and which not in names:
        raise StoreError(f"{bundle.name} holds no prompt {safe_text(which)!r}; name one of {safe_list(names, 20)}")
    return which or names[0]


def import_checkpoint_prompt(
    store: Store,
    path: Path,
    bundle: PromptBundle,
    which: str | None = None,
    *,
    title: str = "",
    backbone: str = "",
    task: str | None = None,
) -> SavedPrompt:
    """Keep a prompt of the checkpoint at ``path``, opened as ``bundle``; one that is kept already is not kept twice.

    ``backbone`` is the person's word: what the file says of it is kept as a claim and never loaded.

    Raises:
        StoreError: if there is no such prompt, it does not fit the backbone, or it cannot be written.
    """
    _check_backbone(bundle, backbone)
    known = importable_prompts(bundle, backbone)
    which = select_prompt_name(bundle, which, backbone)
    found = known[which]
    origin = {
        "file": safe_text(path.name),
        "format": bundle.format,
        "sha256": checkpoint_digest(path),
        "prompt": which,
        "says": dict([*bundle.metadata.items()][:_MAX_SOURCE_ENTRIES]),
    }
    name = bundle.name if len(known) == 1 else f"{bundle.name} {which}"
    title = title or safe_text(name, 100)
    for one in saved_prompts.list_saved_prompts(store.prompts_folder):
        if (one.origin, one.title, one.backbone, one.task) == (origin, title, backbone, task):
            return one
    return saved_prompts.save_prompt(store.prompts_folder, found, title, backbone, task, origin)


def _check_backbone(bundle: PromptBundle, backbone: str) -> None:
    sizes = find_backbone_shape(backbone)
    if sizes is not None:
        ground = BackboneReference(backbone, **asdict(sizes), norms=np.zeros(0, np.float32))
        if unfit := incompatibilities(bundle, ground):
            raise StoreError("; ".join(unfit))


def checkpoint_digest(path: Path) -> str:
    """sha256 of a file, or of the names and contents of those files of a folder that hold its prompt."""
    if path.is_file():
        return hashlib.sha256(read_file(path)).hexdigest()
    whole, folder = hashlib.sha256(), DiskFolder(path)
    for name in _prompt_files(folder.names()):
        whole.update(name.encode() + b"\0" + folder.read(name))
    return whole.hexdigest()


def _prompt_files(names: list[str]) -> list[str]:
    """The files that were read: what else lies beside an adapter, a whole model maybe, is nobody's business here."""
    for known in ((CONFIG_FILE, *WEIGHT_FILES), PROMPT_FILES, MODEL_WEIGHT_FILES):
        if found := [name for name in names if name.rpartition("/")[2] in known]:
            return found
    return [name for name in names if "/" not in name]
