"""Single files that need no torch: KoboldAI's zip, numpy's .npz, mkultra's JSON.

KoboldAI-Client (koboldai_settings, ``tensor.npy`` and ``meta.json`` in a zip), https://github.com/KoboldAI; mkultra,
https://github.com/corolla-johnson/mkultra: a base64 pickle of one tensor within JSON, read by an allow-list.
"""

from __future__ import annotations

import base64
import binascii

from ptviz.checkpoints.bundle import INPUT, PromptBundle, list_capabilities
from ptviz.checkpoints.containers import torch_pickle
from ptviz.checkpoints.containers.arrays import read_npy
from ptviz.checkpoints.errors import CheckpointError, safe_text
from ptviz.checkpoints.formats.state_dict import StoredTensors, to_prompt_matrix
from ptviz.checkpoints.limits import LIMITS, Folder, parse_json_object


def read_koboldai(folder: Folder) -> PromptBundle:
    """A soft prompt of KoboldAI: ``tensor.npy`` (m, d) and what ``meta.json`` says.

    Raises:
        CheckpointError: if a part is damaged.
    """
    values = to_prompt_matrix("tensor.npy", read_npy(folder.read("tensor.npy"), "tensor.npy"))
    told = {"container": "zip with tensor.npy"}
    meta = parse_json_object(folder.read("meta.json"), "meta.json") if "meta.json" in folder.names() else {}
    for key in ("name", "author", "supported", "description"):
        if meta.get(key):
            told[key] = safe_text(meta[key], 300)
    notes = () if len(values.array) < 2048 else ("KoboldAI itself takes fewer than 2048 rows",)
    width = values.array.shape[1]
    return PromptBundle(folder.name, "KoboldAI", INPUT, {"P": values}, told, notes, list_capabilities(INPUT, width))


def read_npz(folder: Folder) -> StoredTensors:
    """The arrays of an .npz.

    Raises:
        CheckpointError: if one is no array of numbers.
    """
    arrays = {name.removesuffix(".npy"): read_npy(folder.read(name), name) for name in folder.names()}
    return StoredTensors(folder.name, "npz", arrays)


def read_mkultra(data: bytes, name: str) -> PromptBundle:
    """A soft prompt of mkultra: JSON with ``metadata`` and a ``tensor`` that is a pickle in base64.

    Raises:
        CheckpointError: if it is damaged, or the pickle holds anything but one tensor.
    """
    found = parse_json_object(data, safe_text(name), LIMITS.encoded)
    told = {"container": "JSON with a base64 pickle"}
    if isinstance(found.get("metadata"), dict):
        told |= {safe_text(key, 60): safe_text(text, 300) for key, text in [*found["metadata"].items()][:40]}
    encoded = found.get("tensor")
    if not isinstance(encoded, str):
        raise CheckpointError(f"{safe_text(name)}: expected a base64 text as `tensor`; got {type(encoded).__name__}")
    try:
        raw = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise CheckpointError(f"{safe_text(name)}: its `tensor` is no base64 text: damaged or cut short") from error
    values = to_prompt_matrix(name, torch_pickle.read_bare_tensor(raw, f"tensor in {name}"))
    title = told.get("name") or name
    return PromptBundle(
        title, "mkultra", INPUT, {"P": values}, told, (), list_capabilities(INPUT, values.array.shape[1])
    )
