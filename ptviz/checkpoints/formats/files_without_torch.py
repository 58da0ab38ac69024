"""Single files that need no torch: KoboldAI's zip, numpy's .npz, mkultra's JSON.

KoboldAI-Client (koboldai_settings, ``tensor.npy`` and ``meta.json`` in a zip), https://github.com/KoboldAI; mkultra,
https://github.com/corolla-johnson/mkultra: a base64 pickle of one tensor in JSON, read with an allow-list.
"""

from __future__ import annotations

import base64
import binascii

from ptviz.checkpoints.bundle import INPUT, Array, PromptBundle, list_capabilities
from ptviz.checkpoints.containers import torch_pickle
from ptviz.checkpoints.containers.arrays import read_npy
from ptviz.checkpoints.errors import CheckpointError
from ptviz.checkpoints.formats.named_tensors import StoredTensors, to_prompt_matrix
from ptviz.checkpoints.limits import LIMITS, Folder, check_scalars, parse_json_object
from ptviz.safe_text import safe_text


def read_koboldai(folder: Folder) -> PromptBundle:
    """Read a soft prompt of KoboldAI: ``tensor.npy`` (m, d), and metadata in ``meta.json``.

    Raises:
        CheckpointError: if a part is damaged.
    """
    values = to_prompt_matrix("tensor.npy", read_npy(folder.read("tensor.npy"), "tensor.npy"))
    metadata = {"container": "zip with tensor.npy"}
    extra = parse_json_object(folder.read("meta.json"), "meta.json") if "meta.json" in folder.names() else {}
    for key in ("name", "author", "supported", "description"):
        if extra.get(key):
            metadata[key] = safe_text(extra[key], 300)
    notes = () if len(values.array) < 2048 else ("KoboldAI accepts fewer than 2048 rows",)
    width = values.array.shape[1]
    return PromptBundle(folder.name, "KoboldAI", INPUT, {"P": values}, metadata, notes, list_capabilities(INPUT, width))


def read_npz(folder: Folder) -> StoredTensors:
    """Read the arrays of an .npz file.

    Raises:
        CheckpointError: if an entry is not a numeric array.
    """
    arrays: dict[str, Array] = {}
    total = 0
    for name in folder.names():
        arrays[name.removesuffix(".npy")] = found = read_npy(folder.read(name), name)
        total += found.size
        check_scalars(safe_text(folder.name), total, total, 0)
    return StoredTensors(folder.name, "npz", arrays)


def read_mkultra(data: bytes, name: str) -> PromptBundle:
    """Read a soft prompt of mkultra: JSON with ``metadata`` and a ``tensor`` that is a pickle in base64.

    Raises:
        CheckpointError: if it is damaged, or the pickle has anything but one tensor.
    """
    found = parse_json_object(data, safe_text(name), LIMITS.encoded)
    metadata = {"container": "JSON with a base64 pickle"}
    if isinstance(found.get("metadata"), dict):
        metadata |= {safe_text(key, 60): safe_text(text, 300) for key, text in [*found["metadata"].items()][:40]}
    encoded = found.get("tensor")
    if not isinstance(encoded, str):
        raise CheckpointError(f"{safe_text(name)}: expected a base64 text as `tensor`; got {type(encoded).__name__}")
    try:
        raw = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise CheckpointError(f"{safe_text(name)}: its `tensor` is not base64: damaged or truncated") from error
    values = to_prompt_matrix(name, torch_pickle.read_bare_tensor(raw, f"tensor in {name}"))
    title = metadata.get("name") or name
    return PromptBundle(
        title, "mkultra", INPUT, {"P": values}, metadata, (), list_capabilities(INPUT, values.array.shape[1])
    )
