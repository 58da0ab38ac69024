"""A backbone's embedding table on disk, so that a page can look at words without loading the backbone."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from ptviz import paths
from ptviz.backbones.shape import Sizes, sizes_of
from ptviz.runs.atomic_io import explained

if TYPE_CHECKING:
    from ptviz.backbones import Backbone


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """V tokens of a backbone: their strings, and their embeddings (V, d) as they lie on disk, read when touched.

    ``common`` holds the ids of frequent ordinary words, most frequent first.
    """

    tokens: tuple[str, ...]
    table: Float[np.ndarray, "V d"]
    common: Int[np.ndarray, " n"]
    sizes: Sizes

    def words(self, ids: Int[np.ndarray, ...]) -> list[str]:
        """Tokens as a reader knows them: a leading space instead of a tokeniser's mark for it."""
        return [readable(self.tokens[i]) if i < len(self.tokens) else f"[{i}]" for i in ids.ravel().tolist()]


def readable(token: str) -> str:
    """A token's string with the tokenisers' marks for a space shown as one."""
    return token.replace("Ġ", " ").replace("▁", " ").replace("Ċ", "\\n")


def place_of(backbone: str) -> Path:
    """Where the table of a backbone lies, whether or not it is there. A local folder that changed has a new place."""
    changed = 0
    with suppress(OSError):
        folder = Path(backbone).expanduser()
        if folder.is_dir():
            changed = max((path.stat().st_mtime_ns for path in folder.iterdir()), default=0)
    key = hashlib.sha256(f"1 {backbone} {changed}".encode()).hexdigest()[:16]
    return paths.cache() / "vocabulary" / key


def keep(backbone: Backbone) -> Path:
    """Write a loaded backbone's table and tokens, unless they are there; returns their folder.

    Raises:
        StoreError: if the disk is full or the folder cannot be written.
    """
    place = place_of(backbone.name)
    if (place / "vocabulary.json").exists():
        return place
    draft = place.with_name(f".new-{os.getpid()}-{secrets.token_hex(4)}")
    table = backbone.table.detach().float().cpu().numpy()
    tokens = backbone.tokeniser.convert_ids_to_tokens(list(range(min(len(table), len(backbone.tokeniser)))))
    sizes = Sizes(backbone.width, backbone.sites, backbone.heads, backbone.head_width)
    told = {"tokens": [token or "" for token in tokens], "sizes": asdict(sizes), "backbone": backbone.name}
    try:
        draft.mkdir(parents=True)
        np.save(draft / "table.npy", table)
        np.save(draft / "common.npy", backbone.spec().common.cpu().numpy())
        (draft / "vocabulary.json").write_text(json.dumps(told))
        if not place.exists():
            draft.rename(place)
    except OSError as error:
        if not (place / "vocabulary.json").exists():  # else another worker was quicker
            raise explained(error, place) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return place


def known_sizes(backbone: str) -> Sizes | None:
    """The sizes of a backbone, told by its name or by the table that a worker kept.

    None if nobody looked at it yet, and for the empty name: a kept prompt of which nobody said the backbone.
    """
    if not backbone:
        return None
    if (sizes := sizes_of(backbone)) is not None:
        return sizes
    words = vocabulary(backbone)
    return None if words is None else words.sizes


def vocabulary(backbone: str) -> Vocabulary | None:
    """The table of a backbone, if a worker has kept it."""
    place = place_of(backbone)
    try:
        told = json.loads((place / "vocabulary.json").read_bytes())
        table = np.load(place / "table.npy", mmap_mode="r")
        common = np.load(place / "common.npy")
        return Vocabulary(tuple(told["tokens"]), table, common, Sizes(**told["sizes"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        # Damaged: it is a copy, so throw it away and let the worker write it again.
        shutil.rmtree(place, ignore_errors=True)
        return None
