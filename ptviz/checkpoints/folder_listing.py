"""The checkpoints in a folder, by the names of its files: nothing in them is read."""

from __future__ import annotations

from pathlib import Path

from ptviz.checkpoints.formats import ptviz
from ptviz.checkpoints.formats.peft import CONFIG_FILE, list_adapters
from ptviz.checkpoints.limits import DiskFolder

_ENDINGS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".npy", ".npz")
"""Endings of files that hold nothing but a prompt; a zip or JSON may be anything."""


def list_checkpoints(path: Path) -> list[Path]:
    """Return the checkpoints in a folder, of which each can be opened: adapters as folders, other prompts as files.

    The files of an adapter, of a run and of a model with a config are no checkpoints of their own. The folder itself
    comes first if it is one.

    Raises:
        CheckpointError: if the folder cannot be read or holds too many files.
    """
    folder = DiskFolder(path)
    names = folder.names()
    if ptviz.is_run(folder):
        return [path]
    owned = [*list_adapters(folder), *(n.removesuffix("config.json") for n in names if _is_config(n))]
    loose = [
        name
        for name in names
        if name.lower().endswith(_ENDINGS) and f"{name.rpartition('/')[0]}/".lstrip("/") not in owned
    ]
    return [path / prefix for prefix in sorted(set(owned))] + [path / name for name in loose]


def _is_config(name: str) -> bool:
    return name == "config.json" or (name.endswith("/config.json") and not name.endswith(CONFIG_FILE))
