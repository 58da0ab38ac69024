"""Prompts kept beside the runs: opened from a checkpoint, or saved from surgery; to look at, and to start runs from.

``<home>/prompts/<id>/about.json`` says what it is, ``prompt.safetensors`` beside it holds the numbers.
"""

from __future__ import annotations

import json
import re
import secrets
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ptviz.methods.base import build_method
from ptviz.paths import atomic_directory
from ptviz.prompt import Prompt, Spec
from ptviz.runs import snapshots as files
from ptviz.runs.atomic_io import StoreError, atomic_write, slug, to_store_error
from ptviz.runs.config import RunConfig

PROMPT_AXES: Mapping[str, tuple[str, ...]] = {"embeddings": ("m", "d"), "key_values": ("S", "kv", "H", "m", "h")}
"""The tensors a kept prompt may have: vectors at the input, keys and values at every attention site, or both."""
SAVED_PREFIX = "kept:"
"""What the id of a kept prompt has in front wherever the ids of runs stand beside it."""
_ABOUT_FILE, _PROMPT_FILE = "about.json", "prompt.safetensors"
_PROMPT_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,80}")
_MAX_TITLE_LENGTH = 120


@dataclass(frozen=True)
class SavedPrompt:
    """What is known of a kept prompt.

    ``backbone`` is the one it was trained in front of, empty if nobody said; ``origin`` says where it came from: a
    run and the edits made to it, or a file's name, format and sha256. ``m`` counts its prompt tokens, ``made`` is
    seconds since 1970, ``shapes`` are those of its tensors, with axes as in ``PROMPT_AXES``.
    """

    id: str
    title: str
    backbone: str
    task: str | None
    origin: Mapping[str, Any]
    m: int
    made: float
    shapes: Mapping[str, tuple[int, ...]]


def static_tensors(prompt: Prompt) -> dict[str, Tensor]:
    """The tensors of a prompt that is the same for every text, without the batch axis and without pruned tokens.

    Raises:
        StoreError: if each text has a prompt of its own, or it also shifts the words of the text.
    """
    if not prompt.is_static or prompt.delta is not None:
        raise StoreError("expected one prompt for every text; this one depends on the text, or changes its words")
    found: dict[str, Tensor] = {}
    if prompt.embeddings is not None:
        found["embeddings"] = prompt.embeddings[0] if prompt.keep is None else prompt.embeddings[0][prompt.keep]
    if prompt.key_values is not None:
        found["key_values"] = prompt.key_values[:, :, 0]
    return found


def save_prompt(
    folder: Path,
    prompt: Mapping[str, Tensor],
    title: str,
    backbone: str,
    task: str | None,
    origin: Mapping[str, Any],
) -> SavedPrompt:
    """Keep a prompt beside the runs of ``folder``: ``embeddings`` (m, d), ``key_values`` (S, 2, H, m, h), or both.

    Raises:
        StoreError: if the tensors are no prompt, or the folder cannot be written.
        ValueError: if the title is empty or too long, or ``origin`` is not JSON.
    """
    title = " ".join(title.split())
    if not 1 <= len(title) <= _MAX_TITLE_LENGTH:
        raise ValueError(f"title: expected 1 to {_MAX_TITLE_LENGTH} characters; got {len(title)}")
    own = {name: tensor.detach().float().cpu() for name, tensor in prompt.items()}
    m = _validated_length(own)
    shapes = {name: tuple(tensor.shape) for name, tensor in own.items()}
    about = SavedPrompt("", title, backbone, task, dict(origin), m, time.time(), shapes)
    told = json.dumps({key: value for key, value in asdict(about).items() if key != "id"}, ensure_ascii=False, indent=1)
    axes = {"axes": json.dumps({name: PROMPT_AXES[name] for name in own})}
    id = f"{slug(title)}-{secrets.token_hex(3)}"
    try:
        with atomic_directory(folder) as draft:
            files.write_tensors(draft / _PROMPT_FILE, own, axes)
            atomic_write(draft / _ABOUT_FILE, told.encode())
            draft.rename(folder / id)
    except OSError as error:
        raise to_store_error(error, folder) from error
    return get_saved_prompt(folder, id)


def _validated_length(tensors: Mapping[str, Tensor]) -> int:
    """Prompt tokens m of a prompt's tensors, once they are found to be one."""
    if not tensors or set(tensors) - set(PROMPT_AXES):
        raise StoreError(f"expected {' or '.join(PROMPT_AXES)}; got {', '.join(tensors) or 'no tensor'}")
    lengths = set()
    for name, tensor in tensors.items():
        axes = PROMPT_AXES[name]
        if tensor.ndim != len(axes) or not tensor.numel() or (name == "key_values" and tensor.shape[1] != 2):
            raise StoreError(f"{name}: expected a shape ({', '.join(axes)}) with kv = 2; got {tuple(tensor.shape)}")
        if not torch.isfinite(tensor).all():
            raise StoreError(f"{name}: expected finite numbers; some are infinite or not a number")
        lengths.add(tensor.shape[axes.index("m")])
    if len(lengths) > 1:
        raise StoreError(f"expected as many prompt tokens at the input as inside; got {sorted(lengths)}")
    return int(lengths.pop())


def list_saved_prompts(folder: Path) -> list[SavedPrompt]:
    """Every kept prompt, newest first; what cannot be read is left out."""
    found = []
    with suppress(OSError):
        for path in folder.iterdir():
            with suppress(StoreError):
                found.append(get_saved_prompt(folder, path.name))
    return sorted(found, key=lambda prompt: (prompt.made, prompt.id), reverse=True)


def get_saved_prompt(folder: Path, id: str) -> SavedPrompt:
    """The kept prompt called ``id``.

    Raises:
        StoreError: if there is none, or it cannot be read.
    """
    path = _prompt_path(folder, id) / _ABOUT_FILE
    try:
        told = json.loads(path.read_bytes())
        shapes = {name: tuple(map(int, shape)) for name, shape in told.pop("shapes").items()}
        return SavedPrompt(id=id, shapes=shapes, **told)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise StoreError(f"{path} is damaged ({error}): delete the kept prompt {id} and keep it anew") from error


def load_prompt_tensors(folder: Path, id: str) -> dict[str, Tensor]:
    """The numbers of a kept prompt, float32, by the names of ``PROMPT_AXES``.

    Raises:
        StoreError: if there is none, or it cannot be read.
    """
    found, _ = files.read_tensors(_prompt_path(folder, id) / _PROMPT_FILE)
    _validated_length(found)
    return found


def to_prompt(tensors: Mapping[str, Tensor]) -> Prompt:
    """A kept prompt's tensors as a prompt that is the same for every text."""
    embeddings, inner = tensors.get("embeddings"), tensors.get("key_values")
    return Prompt(
        embeddings=None if embeddings is None else embeddings[None],
        key_values=None if inner is None else inner[:, :, None],
    )


def initial_tensors(folder: Path, config: RunConfig) -> dict[str, Tensor]:
    """The tensors of the kept prompt that a run starts from, once its method was found to take them.

    Raises:
        ValueError: if the method or the backbone cannot take this prompt, with what was expected.
        StoreError: if there is no such prompt, or it cannot be read.
    """
    one = get_saved_prompt(folder, str(config.start))
    check_initial_prompt(config, one)
    return load_prompt_tensors(folder, one.id)


def check_initial_prompt(config: RunConfig, start: SavedPrompt) -> None:
    """Whether a run with this config could start from a kept prompt, told by shapes alone: nothing is loaded.

    A backbone that has no name here is checked once a worker has looked at it.

    Raises:
        ValueError: if the method or the backbone cannot take it, with what was expected.
    """
    from ptviz.runs.embedding_table import find_backbone_shape

    sizes = find_backbone_shape(config.backbone)
    if sizes is None:
        return
    shape = sizes.width, sizes.sites, sizes.heads, sizes.head_width, config.training.length
    method = build_method(config.method, Spec.from_sizes(*shape, config.source_tasks()), config.knobs)
    method.init_from_prompt(
        to_prompt({name: torch.empty(shape, device="meta") for name, shape in start.shapes.items()})
    )


def delete_saved_prompt(folder: Path, id: str) -> None:
    """Remove a kept prompt for good. Runs that started from it hold a copy of their own.

    Raises:
        StoreError: if there is none, or the folder cannot be written.
    """
    path = _prompt_path(folder, id)
    grave = path.with_name(f".old-{secrets.token_hex(4)}")
    try:
        path.rename(grave)  # first, so that a list never shows half a prompt
    except OSError as error:
        raise to_store_error(error, path) from error
    shutil.rmtree(grave, ignore_errors=True)


def _prompt_path(folder: Path, id: str) -> Path:
    path = folder / id if _PROMPT_ID.fullmatch(id) else None
    if path is None or not path.is_dir():
        known = ", ".join(prompt.id for prompt in list_saved_prompts(folder)[:5]) if path is not None else ""
        raise StoreError(f"there is no kept prompt {id[:80]!r}; " + (f"there are: {known}" if known else "none by it"))
    return path
