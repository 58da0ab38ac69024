"""Files that mean harm or make no sense, to be opened while others use the app."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import zipfile
from pathlib import Path

import torch


class _Runs:
    """Runs a command when it is unpickled by a reader that lets it."""

    def __init__(self, witness: Path) -> None:
        self._witness = witness

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self._witness}",)


def write_hostile_files(folder: Path) -> tuple[list[Path], Path]:
    """Write the files; return them and the file that exists only if one of them could run something."""
    folder.mkdir(parents=True, exist_ok=True)
    witness = folder / "executed"
    stretched = io.BytesIO()
    torch.save({"prompt": torch.zeros(1).as_strided((63, 1_000_000), (0, 0))}, stretched)
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data.npy", bytes(200_000_000))
    content = {
        "runs-a-command.bin": pickle.dumps(_Runs(witness)),
        "stretched.pt": stretched.getvalue(),
        "bomb.npz": bomb.getvalue(),
        "long-header.safetensors": struct.pack("<Q", 2**62) + b"{}",
        "deep.json": b"[" * 100_000,
        "page.bin": b"<!DOCTYPE html><script>alert(1)</script>",
        "name.safetensors": _safetensors("<img src=x onerror=alert(1)>\x1b[31m=1+1"),
        "empty.pt": b"",
    }
    for name, data in content.items():
        (folder / name).write_bytes(data)
    return [folder / name for name in content], witness


def _safetensors(name: str) -> bytes:
    header = json.dumps({name: {"dtype": "F32", "shape": [4, 8], "data_offsets": [0, 128]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(128)
