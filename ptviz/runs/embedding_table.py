"""A backbone's embedding table, cached on disk so that a page can read it without loading the backbone."""

from __future__ import annotations

import hashlib
import json
import shutil
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
from jaxtyping import Float, Int
from msgspec import Meta, Struct

from ptviz import paths
from ptviz.atomic_files import atomic_directory
from ptviz.backbone_shape import BackboneShape
from ptviz.backbones.errors import BackboneError
from ptviz.backbones.listing import named_backbone_shape
from ptviz.runs.run_file_io import to_store_error
from ptviz.validation import InvalidData, Name, decode_json

_Size = Annotated[int, Meta(ge=0, le=1_000_000)]

if TYPE_CHECKING:
    from ptviz.backbones import Backbone


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """The V tokens of a backbone: their strings, and their embeddings (V, d), memory-mapped.

    ``common_ids`` are the ids of common words, the most frequent first.
    """

    tokens: tuple[str, ...]
    table: Float[np.ndarray, "V d"]
    common_ids: Int[np.ndarray, " n"]
    shape: BackboneShape

    def words(self, ids: Int[np.ndarray, ...]) -> list[str]:
        """Return readable tokens for ids, with a space in place of the tokeniser's marker for it."""
        return [readable_token(self.tokens[i]) if i < len(self.tokens) else f"[{i}]" for i in ids.ravel().tolist()]


def readable_token(token: str) -> str:
    """Return a token's string with a space in place of the tokeniser's marker for it."""
    return token.replace("Ġ", " ").replace("▁", " ").replace("Ċ", "\\n")


class _Sizes(Struct):
    width: _Size
    sites: _Size
    heads: _Size
    head_width: _Size


class _VocabularyFile(Struct):
    tokens: Annotated[tuple[Name, ...], Meta(max_length=10_000_000)]
    sizes: _Sizes


def _check_arrays(table: np.ndarray, common: np.ndarray, shape: BackboneShape) -> None:
    if table.ndim != 2 or table.shape[1] != shape.width or table.dtype != np.float32:
        raise InvalidData(f"expected a table (V, {shape.width}) of float32; got {table.shape} of {table.dtype}")
    if common.ndim != 1 or common.dtype.kind != "i" or (common < 0).any() or (common >= len(table)).any():
        raise InvalidData("expected ids of common words; got others")


def cache_path(backbone: str) -> Path:
    """Return the cache folder of a backbone's table, which need not exist; a changed local backbone has another one."""
    changed = 0
    with suppress(OSError):
        folder = paths.expand_user(backbone)
        if folder.is_dir():
            changed = max((path.stat().st_mtime_ns for path in folder.iterdir()), default=0)
    key = hashlib.sha256(f"1 {backbone} {changed}".encode()).hexdigest()[:16]
    return paths.cache_dir() / "vocabulary" / key


def save_vocabulary(backbone: Backbone) -> Path:
    """Cache the embedding table and tokens of a loaded backbone, if they are not yet; return their folder.

    Raises:
        StoreError: if the disk is full or the folder cannot be written.
    """
    folder = cache_path(backbone.name)
    if (folder / "vocabulary.json").exists():
        return folder
    table = backbone.embedding_table.detach().float().cpu().numpy()
    tokens = backbone.tokeniser.convert_ids_to_tokens(list(range(min(len(table), len(backbone.tokeniser)))))
    shape = backbone.shape
    data = {"tokens": [token or "" for token in tokens], "sizes": asdict(shape), "backbone": backbone.name}
    try:
        with atomic_directory(folder.parent) as draft:
            np.save(draft / "table.npy", table)
            np.save(draft / "common.npy", backbone.make_spec().common_ids.cpu().numpy())
            (draft / "vocabulary.json").write_text(json.dumps(data))
            if not folder.exists():
                draft.rename(folder)
    except OSError as error:
        if not (folder / "vocabulary.json").exists():  # else another process wrote it first
            raise to_store_error(error, folder) from error
    return folder


def find_backbone_shape(backbone: str) -> BackboneShape | None:
    """Return a backbone's shape: from its name, its cached table or the config in its folder.

    None if none of them is known, and for the empty name of a saved prompt without a backbone.
    """
    with suppress(BackboneError):
        return require_backbone_shape(backbone)
    return None


def require_backbone_shape(backbone: str) -> BackboneShape | None:
    """Return a backbone's shape as ``find_backbone_shape`` does, or say why its folder is none.

    Raises:
        BackboneError: if a local folder has no config, or prompts cannot reach a model of its family.
    """
    if not backbone:
        return None
    if (shape := named_backbone_shape(backbone)) is not None:
        return shape
    if (words := load_vocabulary(backbone)) is not None:
        return words.shape
    if not backbone.startswith((".", "/", "~")) and not Path(backbone).exists():
        return None
    return _folder_shape(str(cache_path(backbone)), backbone)


@lru_cache(maxsize=16)
def _folder_shape(signature: str, backbone: str) -> BackboneShape:
    from ptviz.backbones.loading import read_backbone_shape  # It needs transformers.

    return read_backbone_shape(backbone)


def load_vocabulary(backbone: str) -> Vocabulary | None:
    """Return the cached vocabulary of a backbone; None if there is none."""
    folder = cache_path(backbone)
    try:
        data = decode_json((folder / "vocabulary.json").read_bytes(), _VocabularyFile)
        table = np.load(folder / "table.npy", mmap_mode="r")
        common = np.load(folder / "common.npy")
        sizes = data.sizes
        shape = BackboneShape(sizes.width, sizes.sites, sizes.heads, sizes.head_width)
        _check_arrays(table, common, shape)
        return Vocabulary(data.tokens, table, common, shape)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, EOFError):
        # The cache is damaged: delete it, so that the worker writes it again.
        shutil.rmtree(folder, ignore_errors=True)
        return None
