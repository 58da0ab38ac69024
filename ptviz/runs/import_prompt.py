"""Import a prompt from a checkpoint as a saved prompt."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ptviz.checkpoints import BackboneReference, PromptBundle
from ptviz.checkpoints.bundle import FACTORS, INPUT, KEY_VALUE, LIBRARY, UNSPLIT_AXES, Array, NamedAxesArray
from ptviz.checkpoints.detect import MODEL_WEIGHT_FILES
from ptviz.checkpoints.diagnostics import incompatibilities
from ptviz.checkpoints.formats.named_tensors import split_key_values
from ptviz.checkpoints.formats.peft import CONFIG_FILE, WEIGHT_FILES
from ptviz.checkpoints.formats.ptviz import PROMPT_FILES
from ptviz.checkpoints.limits import DiskFolder, read_file
from ptviz.runs import saved_prompts
from ptviz.runs.embedding_table import find_backbone_shape, load_vocabulary, require_backbone_shape
from ptviz.runs.run_file_io import StoreError
from ptviz.runs.saved_prompts import PROMPT_AXES, SavedPrompt
from ptviz.runs.store import Store
from ptviz.safe_text import safe_list, safe_text

_MAX_SOURCE_ENTRIES = 24


def importable_prompts(bundle: PromptBundle, backbone: str = "") -> dict[str, dict[str, Tensor]]:
    """Return the prompts of a checkpoint that can be imported, by name; empty if it holds parts of a method.

    Keys and values without separate axes for sites and heads are split by the shape of ``backbone``, if it fits.
    """
    if bundle.kind not in (INPUT, KEY_VALUE, LIBRARY, FACTORS):
        return {}
    found = {name: {"embeddings": torch.tensor(matrix)} for name, matrix in bundle.input_prompts().items()}
    shape = find_backbone_shape(backbone)
    for name, matrix in bundle.key_value_prompts().items():
        values = bundle.tensors[name]
        fits = shape is not None and matrix.shape[1] == 2 * shape.sites * shape.heads * shape.head_width
        if shape is not None and fits and not bundle.names_its_heads:
            # A file's config may give the heads of the queries: those of the backbone are right.
            values = split_key_values(_flat_rows(values), shape.sites, shape.heads)
        if values.axes == PROMPT_AXES["key_values"]:
            found[name] = {"key_values": torch.tensor(values.array)}
    return found


def _flat_rows(values: NamedAxesArray) -> Array:
    """Return keys and values as (m, S * 2 * H * h), the layout of files that do not name their heads."""
    if values.axes == UNSPLIT_AXES:
        return values.array
    sites, _, heads, tokens, width = values.array.shape
    return values.array.transpose(3, 0, 1, 2, 4).reshape(tokens, sites * 2 * heads * width)


def select_prompt_name(bundle: PromptBundle, which: str | None = None, backbone: str = "") -> str:
    """Return the name of the prompt to import: ``which``, or the only one.

    Raises:
        StoreError: if there is no such prompt, or none is named and there are several.
    """
    names = list(importable_prompts(bundle, backbone))
    if not names and any(values.axes == UNSPLIT_AXES for values in bundle.tensors.values()):
        raise StoreError(
            f"{bundle.name} gives no number of layers and heads for its keys and values: name the backbone they "
            f"were trained for{f' ({backbone} does not fit)' if backbone else ''}"
        )
    if not names:
        raise StoreError(
            f"{bundle.name} ({bundle.kind}) has no prompt to import: expected input embeddings, or keys and values "
            "with axes for sites and heads"
        )
    if which is None and len(names) > 1:
        raise StoreError(f"{bundle.name} has {len(names)} prompts; name one of {safe_list(names, 20)}")
    if which is not None and which not in names:
        raise StoreError(f"{bundle.name} has no prompt {safe_text(which)!r}; name one of {safe_list(names, 20)}")
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
    """Save a prompt of the checkpoint at ``path``, opened as ``bundle``; return the existing one if saved before.

    ``backbone`` is given by the user. The file's own claim about it is only recorded and never loaded.

    Raises:
        StoreError: if there is no such prompt, it does not fit the backbone, no more may be saved, or the folder cannot
            be written.
    """
    _check_backbone(bundle, backbone)
    prompts = importable_prompts(bundle, backbone)
    which = select_prompt_name(bundle, which, backbone)
    tensors = prompts[which]
    origin = {
        "file": safe_text(path.name),
        "format": bundle.format,
        "sha256": checkpoint_digest(path),
        "prompt": which,
        "says": dict([*bundle.metadata.items()][:_MAX_SOURCE_ENTRIES]),
    }
    name = bundle.name if len(prompts) == 1 else f"{bundle.name} {which}"
    title = title or safe_text(name, 100)
    for one in saved_prompts.list_saved_prompts(store.prompts_folder):
        same = (one.origin, one.title, one.backbone, one.task) == (origin, title, backbone, task)
        if same and dict(one.shapes) == {key: tuple(tensor.shape) for key, tensor in tensors.items()}:
            return one
    store.check_new_saved_prompt()
    return saved_prompts.save_prompt(store.prompts_folder, tensors, title, backbone, task, origin)


def _check_backbone(bundle: PromptBundle, backbone: str) -> None:
    reference = find_backbone_reference(backbone)
    if reference is not None and (problems := incompatibilities(bundle, reference)):
        raise StoreError("; ".join(problems))


def find_backbone_reference(backbone: str) -> BackboneReference | None:
    """Return the sizes of a backbone, and the norms of its vocabulary if they are cached; no weights are read.

    None without a name, and for a model of the Hub that was never loaded.

    Raises:
        BackboneError: if a local folder has no config, or prompts cannot reach a model of its family.
    """
    shape = require_backbone_shape(backbone)
    if shape is None:
        return None
    words = load_vocabulary(backbone)
    norms = np.zeros(0, np.float32) if words is None else np.linalg.norm(words.table, axis=1).astype(np.float32)
    return BackboneReference(backbone, shape, norms[norms > 0])


def checkpoint_digest(path: Path) -> str:
    """Return the sha256 of a file, or of the names and contents of a folder's files that hold its prompt."""
    if path.is_file():
        return hashlib.sha256(read_file(path)).hexdigest()
    digest, folder = hashlib.sha256(), DiskFolder(path)
    for name in _prompt_files(folder.names()):
        digest.update(name.encode() + b"\0" + folder.read(name))
    return digest.hexdigest()


def _prompt_files(names: list[str]) -> list[str]:
    """Return the files that hold the prompt, without others in the folder, such as a complete model."""
    for candidates in ((CONFIG_FILE, *WEIGHT_FILES), PROMPT_FILES, MODEL_WEIGHT_FILES):
        if found := [name for name in names if name.rpartition("/")[2] in candidates]:
            return found
    return [name for name in names if "/" not in name]
