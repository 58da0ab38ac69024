"""The files of a backbone in a local folder: whether they changed, found quickly and by their content."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from ptviz.backbones.listing import named_backbone
from ptviz.paths import expand_user

BackboneSignature = tuple[tuple[str, int, int], ...]
"""Name, modification time in ns and size in bytes of each file of a folder, by name."""
_SUFFIXES = (".json", ".safetensors", ".bin", ".model", ".txt")
"""The endings of configs, weights and tokenizers, which a model is made of; a README is none of it."""


def backbone_signature(backbone: str) -> BackboneSignature:
    """Return what shows quickly whether the files of a local backbone changed; empty if it is no local folder."""
    folder = _local_folder(backbone)
    found = []
    with suppress(OSError):
        for path in sorted(folder.iterdir() if folder is not None else ()):
            if path.suffix in _SUFFIXES and path.is_file():
                stat = path.stat()
                found.append((path.name, stat.st_mtime_ns, stat.st_size))
    return tuple(found)


def backbone_digest(backbone: str) -> str:
    """Return 16 hex digits of the SHA-256 of a local backbone's files, read again only if one changed; "" if none."""
    folder, signature = _local_folder(backbone), backbone_signature(backbone)
    with suppress(OSError):
        return _digest_of(folder, signature) if folder is not None and signature else ""
    return ""


def _local_folder(backbone: str) -> Path | None:
    # A folder here may have the name of a built-in backbone, which is not read from it.
    if not backbone or named_backbone(backbone) is not None:
        return None
    folder = expand_user(backbone)
    return folder if folder.is_dir() else None


@lru_cache(maxsize=64)
def _digest_of(folder: Path, signature: BackboneSignature) -> str:
    found = hashlib.sha256()
    for name, _, _ in signature:
        with (folder / name).open("rb") as file:
            found.update(f"{name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return found.hexdigest()[:16]
