r"""Detect a checkpoint's format by its content, and read it. Runs in the sandboxed process.

The order: a folder by the config in it; a zip by its entries; ``\x93NUMPY``; safetensors' length and brace; JSON; and
last a torch pickle from before the zip layout.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ptviz.checkpoints.bundle import PromptBundle
from ptviz.checkpoints.containers import torch_pickle
from ptviz.checkpoints.containers.arrays import NPY_MAGIC, is_safetensors, read_npy, read_safetensors
from ptviz.checkpoints.containers.weights import check_content, read_weights
from ptviz.checkpoints.errors import CheckpointError
from ptviz.checkpoints.formats import (
    bare_tensors,
    dept,
    files_without_torch,
    openprompt,
    peft,
    prefix_encoder,
    prompt_encoder,
    ptviz,
)
from ptviz.checkpoints.formats.named_tensors import StoredTensors
from ptviz.checkpoints.limits import DiskFolder, Folder, ZipFolder, parse_json_object, read_file
from ptviz.safe_text import safe_list, safe_text

FORMAT_NAMES = (
    "PEFT folders", ".npy", ".npz", ".safetensors", "torch files", "OpenPrompt", "prefix encoders", "prompt encoders",
    "DePT", "KoboldAI", "mkultra", "textual inversion", "ptviz runs and bundles",
)  # fmt: skip
_STATE_FORMATS: tuple[tuple[Callable[[StoredTensors], bool], Callable[[StoredTensors], PromptBundle]], ...] = (
    (ptviz.detect, ptviz.read_tensors),
    (dept.detect, dept.read_dept),
    (prompt_encoder.detect, prompt_encoder.read_prompt_encoder),
    (prefix_encoder.detect, prefix_encoder.read_prefix_encoder),
    (openprompt.detect, openprompt.read_openprompt),
    (bare_tensors.detect_single, bare_tensors.read_single),
    (bare_tensors.detect_library, bare_tensors.read_library),
)
MODEL_WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
_WRAPPER_PREFIXES = ("state_dict.", "model_state_dict.", "model.", "module.")


def open_in_process(path: Path) -> PromptBundle:
    """Read the checkpoint at a path in this process; ``sandbox.parent.open_checkpoint`` does it in a sandbox.

    Raises:
        CheckpointError: if it is not a checkpoint, is damaged, or exceeds a limit.
    """
    if path.is_dir():
        return _open_folder(DiskFolder(path), path)
    if path.name in (peft.CONFIG_FILE, *peft.WEIGHT_FILES) and (path.parent / peft.CONFIG_FILE).is_file():
        return peft.read_adapter(DiskFolder(path.parent))  # the weights cannot be interpreted without the config
    return open_bytes(read_file(path), path.name)


def open_bytes(data: bytes, name: str) -> PromptBundle:
    """Read the checkpoint in the bytes of one file.

    Raises:
        CheckpointError: if they are not a checkpoint, are damaged, or exceed a limit.
    """
    check_content(data, name)
    if data[:4] == b"PK\x03\x04" or zipfile.is_zipfile(io.BytesIO(data)):
        return _open_zip(data, name)
    if data[:6] == NPY_MAGIC:
        return open_state(StoredTensors(name, "npy", {"": read_npy(data, name)}))
    if is_safetensors(data[:9]):
        found = read_safetensors(data, name)
        return open_state(StoredTensors(name, "safetensors", found.tensors, found.metadata))
    if data[:1] in (b"{", b"[") or data[:16].lstrip()[:1] == b"{":
        return _open_json(data, name)
    if data[:1] == b"\x80":
        return _open_pickle(data, name)
    raise CheckpointError(f"{safe_text(name)}: its content has none of the known formats: {', '.join(FORMAT_NAMES)}")


def open_state(state: StoredTensors) -> PromptBundle:
    """Return the prompt among named tensors.

    Raises:
        CheckpointError: if none of them is a prompt.
    """
    for inner in _WRAPPER_PREFIXES:  # a training checkpoint: its weights have one of these prefixes
        chosen = {name.removeprefix(inner): a for name, a in state.tensors.items() if name.startswith(inner)}
        if chosen and any(recognise(replace(state, tensors=chosen)) for recognise, _ in _STATE_FORMATS[1:5]):
            return open_state(replace(state, tensors=chosen))
    for recognise, read in _STATE_FORMATS:
        if recognise(state):
            return read(state)
    names = list(state.tensors)
    raise CheckpointError(
        f"{safe_text(state.name)}: expected a prompt among its {len(names)} tensors; got {safe_list(names)}"
    )


def _open_zip(data: bytes, name: str) -> PromptBundle:
    archive = ZipFolder(data, name)
    names = archive.names()
    if "tensor.npy" in names:
        return files_without_torch.read_koboldai(archive)
    if names and all(entry.endswith(".npy") for entry in names):
        return open_state(files_without_torch.read_npz(archive))
    if any(entry == "data.pkl" or entry.endswith("/data.pkl") for entry in names):
        return _open_torch(data, name, "torch zip")
    if peft.list_adapters(archive):
        return peft.read_adapter(archive)
    if ptviz.is_run(archive):
        return ptviz.read_run(archive)
    raise CheckpointError(
        f"{safe_text(name)}: expected a zip with a prompt in it (torch, .npz, KoboldAI, PEFT or a ptviz bundle); "
        f"got {safe_list(names)}"
    )


def _open_torch(data: bytes, name: str, container: str) -> PromptBundle:
    return open_state(StoredTensors(name, container, *torch_pickle.read_torch_file(data, name)))


def _open_pickle(data: bytes, name: str) -> PromptBundle:
    if not data.startswith(torch_pickle.LEGACY_MAGIC[:12]):
        called = torch_pickle.pickle_globals(data)
        what = f" It calls {safe_list(called)}." if called else ""
        raise CheckpointError(
            f"{safe_text(name)}: a Python pickle, which can run code and is never opened.{what} Ask the author for "
            "a .safetensors file"
        )
    return _open_torch(data, name, "torch file, legacy layout")


def _open_json(data: bytes, name: str) -> PromptBundle:
    if b'"tensor"' in data and b'"metadata"' in data:
        return files_without_torch.read_mkultra(data, name)
    parse_json_object(data, safe_text(name))
    raise CheckpointError(
        f"{safe_text(name)}: expected JSON with a prompt in it; for a PEFT adapter, give its whole folder"
    )


def _open_folder(folder: Folder, path: Path) -> PromptBundle:
    names = folder.names()
    if peft.list_adapters(folder):
        return peft.read_adapter(folder)
    if ptviz.is_run(folder):
        return ptviz.read_run(folder)
    if "config.json" in names and (weights := next((n for n in MODEL_WEIGHT_FILES if n in names), None)):
        return _open_model(folder, weights)
    files = [name for name in names if "/" not in name and not name.startswith((".", "README", "LICENSE"))]
    if len(files) == 1:
        return open_bytes(folder.read(files[0]), files[0])
    raise CheckpointError(
        f"expected a PEFT folder ({peft.CONFIG_FILE} and weights), a run, or a folder of one file at "
        f"{safe_text(path)}; got {safe_list(files)}. Open one of the files"
    )


def _open_model(folder: Folder, weights: str) -> PromptBundle:
    """Read a prompt from a model's folder, with the sizes in its config."""
    config = parse_json_object(folder.read("config.json"), "config.json")
    tensors, texts = read_weights(folder.read(weights), weights)
    return open_state(StoredTensors(folder.name, weights, tensors, texts, config))
