r"""Which format a path holds, by content and not by name; then its reader. Runs in the reader process.

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
from ptviz.checkpoints.containers.arrays import NPY, is_safetensors, read_npy, read_safetensors
from ptviz.checkpoints.errors import CheckpointError, listed, shown
from ptviz.checkpoints.formats import archives, bare_tensors, dept, openprompt, peft, prefix_encoder, ptviz
from ptviz.checkpoints.formats.state_dict import State
from ptviz.checkpoints.limits import DiskFolder, Folder, ZipFolder, content_of, plain_json

FORMATS = (
    "PEFT folders", ".npy", ".npz", ".safetensors", "torch files", "OpenPrompt", "prefix encoders", "DePT", "KoboldAI",
    "mkultra", "textual inversion", "ptviz runs and bundles",
)  # fmt: skip
_STATES: tuple[tuple[Callable[[State], bool], Callable[[State], PromptBundle]], ...] = (
    (ptviz.recognise, ptviz.read),
    (dept.recognise, dept.read),
    (prefix_encoder.recognise, prefix_encoder.read),
    (openprompt.recognise, openprompt.read),
    (bare_tensors.recognise_single, bare_tensors.read_single),
    (bare_tensors.recognise_library, bare_tensors.read_library),
)
MODELS = ("model.safetensors", "pytorch_model.bin")
_INNER = ("state_dict.", "model_state_dict.", "model.", "module.")


def open_here(path: Path) -> PromptBundle:
    """The checkpoint at a path, read in this process: `apart.open_checkpoint` does it in one of its own.

    Raises:
        CheckpointError: if it is none, is damaged, or breaks a limit.
    """
    if path.is_dir():
        return _folder(DiskFolder(path), path)
    if path.name in (peft.CONFIG, *peft.WEIGHTS) and (path.parent / peft.CONFIG).is_file():
        return peft.read(DiskFolder(path.parent))  # the numbers mean little without the config beside them
    return of_bytes(content_of(path), path.name)


def of_bytes(data: bytes, name: str) -> PromptBundle:
    """The checkpoint that the bytes of one file hold.

    Raises:
        CheckpointError: if they hold none, are damaged, or break a limit.
    """
    if data[:4] == b"PK\x03\x04" or zipfile.is_zipfile(io.BytesIO(data)):
        return _zip(data, name)
    if data[:6] == NPY:
        return of_state(State(name, "npy", {"": read_npy(data, name)}))
    if is_safetensors(data[:9]):
        found = read_safetensors(data, name)
        return of_state(State(name, "safetensors", found.tensors, found.texts))
    if data[:1] in (b"{", b"[") or data[:16].lstrip()[:1] == b"{":
        return _json(data, name)
    if data[:1] == b"\x80":
        return _pickle(data, name)
    raise CheckpointError(f"{shown(name)}: its content is none of the known formats: {', '.join(FORMATS)}")


def of_state(state: State) -> PromptBundle:
    """The prompt among named tensors.

    Raises:
        CheckpointError: if none of them is one.
    """
    for inner in _INNER:  # a trainer's file: its weights stand under one of these names
        chosen = {name.removeprefix(inner): a for name, a in state.tensors.items() if name.startswith(inner)}
        if chosen and any(recognise(replace(state, tensors=chosen)) for recognise, _ in _STATES[1:4]):
            return of_state(replace(state, tensors=chosen))
    for recognise, read in _STATES:
        if recognise(state):
            return read(state)
    names = list(state.tensors)
    raise CheckpointError(f"{shown(state.name)}: expected a prompt among its {len(names)} tensors; got {listed(names)}")


def _zip(data: bytes, name: str) -> PromptBundle:
    archive = ZipFolder(data, name)
    names = archive.names()
    if "tensor.npy" in names:
        return archives.read_koboldai(archive)
    if names and all(entry.endswith(".npy") for entry in names):
        return of_state(archives.npz_state(archive))
    if any(entry == "data.pkl" or entry.endswith("/data.pkl") for entry in names):
        return _torch(data, name, "torch zip")
    if peft.adapters(archive):
        return peft.read(archive)
    if ptviz.holds_run(archive):
        return ptviz.read_run(archive)
    raise CheckpointError(
        f"{shown(name)}: expected a zip with a prompt in it (torch, .npz, KoboldAI, PEFT or a bundle of ptviz); got "
        f"{listed(names)}"
    )


def _torch(data: bytes, name: str, container: str, hints: dict[str, int] | None = None) -> PromptBundle:
    tensors, texts = torch_pickle.read(data, name)
    return of_state(State(name, container, tensors, texts, hints or {}))


def _pickle(data: bytes, name: str) -> PromptBundle:
    if not data.startswith(torch_pickle.LEGACY[:12]):
        called = torch_pickle.named(data)
        what = f" It wants to call {listed(called)}." if called else ""
        raise CheckpointError(
            f"{shown(name)}: a Python pickle, which can run code and is never opened.{what} Ask its author for a "
            ".safetensors file"
        )
    return _torch(data, name, "torch file, legacy layout")


def _json(data: bytes, name: str) -> PromptBundle:
    if b'"tensor"' in data and b'"metadata"' in data:
        return archives.read_mkultra(data, name)
    plain_json(data, shown(name))
    raise CheckpointError(
        f"{shown(name)}: expected JSON with a prompt in it; for a PEFT adapter, give its whole folder"
    )


def _folder(folder: Folder, path: Path) -> PromptBundle:
    names = folder.names()
    if peft.adapters(folder):
        return peft.read(folder)
    if ptviz.holds_run(folder):
        return ptviz.read_run(folder)
    if "config.json" in names and (weights := next((n for n in MODELS if n in names), None)):
        return _model(folder, weights)
    files = [name for name in names if "/" not in name and not name.startswith((".", "README", "LICENSE"))]
    if len(files) == 1:
        return of_bytes(folder.read(files[0]), files[0])
    raise CheckpointError(
        f"expected a PEFT folder ({peft.CONFIG} and weights), a run, or a folder of one file at {shown(path)}; got "
        f"{listed(files)}. Open one of the files"
    )


def _model(folder: Folder, weights: str) -> PromptBundle:
    """A model's folder: its state may hold a prompt, its config says for how many layers and heads."""
    config = plain_json(folder.read("config.json"), "config.json")
    sizes = {"layers": ("num_hidden_layers", "num_layers", "n_layer"), "heads": ("num_attention_heads", "n_head")}
    hints = {}
    for hint, keys in sizes.items():
        value = next((config[key] for key in keys if type(config.get(key)) is int), None)
        if value is not None and 0 < value < 4096:
            hints[hint] = value
    data = folder.read(weights)
    if is_safetensors(data[:9]):
        found = read_safetensors(data, weights)
        return of_state(State(folder.name, weights, found.tensors, found.texts, hints))
    tensors, texts = torch_pickle.read(data, weights)
    return of_state(State(folder.name, weights, tensors, texts, hints))
