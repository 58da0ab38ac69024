"""A backbone's embedding table on disk, so that a page can look at words without loading the backbone."""

from __future__ import annotations

import hashlib
import json
import shutil
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from ptviz import paths
from ptviz.backbones.shape import BackboneShape, named_backbone_shape
from ptviz.runs.atomic_io import to_store_error

if TYPE_CHECKING:
    from ptviz.backbones import Backbone


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """V tokens of a backbone: their strings, and their embeddings (V, d) as they lie on disk, read when touched.

    ``common`` holds the ids of frequent ordinary words, most frequent first.
    """

    tokens: tuple[str, ...]
    table: Float[np.ndarray, "V d"]
    common_ids: Int[np.ndarray, " n"]
    shape: BackboneShape

    def words(self, ids: Int[np.ndarray, ...]) -> list[str]:
        """Tokens as a reader knows them: a leading space instead of a tokeniser's mark for it."""
        return [readable_token(self.tokens[i]) if i < len(self.tokens) else f"[{i}]" for i in ids.ravel().tolist()]


def readable_token(token: str) -> str:
    """A token's string with the tokenisers' marks for a space shown as one."""
    return token.replace("Ġ", " ").replace("▁", " ").replace("Ċ", "\\n")


def cache_path(backbone: str) -> Path:
    """Where the table of a backbone lies, whether or not it is there. A local folder that changed has a new place."""
    changed = 0
    with suppress(OSError):
        folder = Path(backbone).expanduser()
        if folder.is_dir():
            changed = max((path.stat().st_mtime_ns for path in folder.iterdir()), default=0)
    key = hashlib.sha256(f"1 {backbone} {changed}".encode()).hexdigest()[:16]
    return paths.cache_dir() / "vocabulary" / key


def save_vocabulary(backbone: Backbone) -> Path:
    """Write a loaded backbone's table and tokens, unless they are there; returns their folder.

    Raises:
        StoreError: if the disk is full or the folder cannot be written.
    """
    place = cache_path(backbone.name)
    if (place / "vocabulary.json").exists():
        return place
    table = backbone.embedding_table.detach().float().cpu().numpy()
    tokens = backbone.tokeniser.convert_ids_to_tokens(list(range(min(len(table), len(backbone.tokeniser)))))
    sizes = BackboneShape(backbone.width, backbone.sites, backbone.heads, backbone.head_width)
    told = {"tokens": [token or "" for token in tokens], "sizes": asdict(sizes), "backbone": backbone.name}
    try:
        with paths.atomic_directory(place.parent) as draft:
            np.save(draft / "table.npy", table)
            np.save(draft / "common.npy", backbone.make_spec().common_ids.cpu().numpy())
            (draft / "vocabulary.json").write_text(json.dumps(told))
            if not place.exists():
                draft.rename(place)
    except OSError as error:
        if not (place / "vocabulary.json").exists():  # else another worker was quicker
            raise to_store_error(error, place) from error
    return place


def find_backbone_shape(backbone: str) -> BackboneShape | None:
    """The sizes of a backbone, told by its name or by the table that a worker kept.

    None if nobody looked at it yet, and for the empty name: a kept prompt of which nobody said the backbone.
    """
    if not backbone:
        return None
    if (sizes := named_backbone_shape(backbone)) is not None:
        return sizes
    words = load_vocabulary(backbone)
    return None if words is None else words.shape


def load_vocabulary(backbone: str) -> Vocabulary | None:
    """The table of a backbone, if a worker has kept it."""
    place = cache_path(backbone)
    try:
        told = json.loads((place / "vocabulary.json").read_bytes())
        table = np.load(place / "table.npy", mmap_mode="r")
        common = np.load(place / "common.npy")
        return Vocabulary(tuple(told["tokens"]), table, common, BackboneShape(**told["sizes"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        # Damaged: it is a copy, so throw it away and let the worker write it again.
        shutil.rmtree(place, ignore_errors=True)
        return None
