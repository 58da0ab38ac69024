"""Saved prompts: imported from a checkpoint or made by prompt editing, to inspect and to start runs from.

Each has a folder ``<home>/prompts/<id>`` with ``about.json`` (metadata) and ``prompt.safetensors`` (tensors). The
functions take the folder of all of them, see ``Store.prompts_folder``.
"""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta

from ptviz.atomic_files import atomic_directory, delete_folder
from ptviz.runs import snapshots
from ptviz.runs.config import RunConfig
from ptviz.runs.run import read_json
from ptviz.runs.run_file_io import StoreError, atomic_write, to_store_error
from ptviz.safe_text import slug
from ptviz.validation import InvalidData, Name, PathText, Timestamp, convert_json

if TYPE_CHECKING:
    from torch import Tensor

    from ptviz.prompt import Prompt

PROMPT_AXES: Mapping[str, tuple[str, ...]] = {"embeddings": ("m", "d"), "key_values": ("S", "kv", "H", "m", "h")}
"""The tensors a saved prompt may have: input embeddings, keys and values at every attention site, or both."""
SAVED_PREFIX = "kept:"
"""Prefix of a saved prompt's id in lists that also contain ids of runs."""
VISITORS_FOLDER = ".visitors"
"""Folder among the saved prompts with a folder of saved prompts for each visitor of a classroom."""
_ABOUT_FILE, _PROMPT_FILE = "about.json", "prompt.safetensors"
_PROMPT_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,80}")
_MAX_TITLE_LENGTH = 120
Shape = Annotated[tuple[Annotated[int, Meta(ge=1, le=10_000_000)], ...], Meta(min_length=2, max_length=5)]


@dataclass(frozen=True)
class SavedPrompt:
    """Metadata of a saved prompt.

    ``backbone`` is the one it was trained with, empty if unknown. ``origin`` is a run and the edits made to it, or
    the name, format and sha256 of a file. ``m`` is the number of prompt tokens, ``made`` the time in seconds since
    1970. ``shapes`` holds the shape of each tensor, with axes as in ``PROMPT_AXES``.
    """

    id: Name
    title: Name
    backbone: PathText
    task: PathText | None
    origin: Annotated[Mapping[str, Any], Meta(max_length=100)]
    m: Annotated[int, Meta(ge=1, le=1_000_000)]
    made: Timestamp
    shapes: Annotated[Mapping[Name, Shape], Meta(min_length=1, max_length=2)]


def static_tensors(prompt: Prompt) -> dict[str, Tensor]:
    """Return the tensors of a static prompt, without the batch axis and pruned tokens.

    Relative positions, as of T5, count the places of pruned tokens: without these the prompt's scores differ there.

    Raises:
        StoreError: if the prompt depends on the input, also changes the input's embeddings, or has keys and values at
            some attention sites only.
    """
    if not prompt.is_static or prompt.delta is not None:
        raise StoreError("expected a static prompt; this one depends on the input or changes the input's embeddings")
    if prompt.sites is not None:
        raise StoreError("expected keys and values at every attention site; this prompt has them at some layers only")
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
    """Save a prompt in ``folder``: ``embeddings`` (m, d), ``key_values`` (S, 2, H, m, h), or both.

    Raises:
        StoreError: if the tensors are not a prompt, or the folder cannot be written.
        ValueError: if the title is empty or too long, or ``origin`` is not JSON.
    """
    title = " ".join(title.split())
    if not 1 <= len(title) <= _MAX_TITLE_LENGTH:
        raise ValueError(f"title: expected 1 to {_MAX_TITLE_LENGTH} characters; got {len(title)}")
    own = {name: tensor.detach().float().cpu() for name, tensor in prompt.items()}
    m = _validated_length(own)
    shapes = {name: tuple(tensor.shape) for name, tensor in own.items()}
    about = SavedPrompt(
        id="",
        title=title,
        backbone=backbone,
        task=task,
        origin=dict(origin),
        m=m,
        made=time.time(),
        shapes=shapes,
    )
    metadata = {key: value for key, value in asdict(about).items() if key != "id"}
    axes = {"axes": json.dumps({name: PROMPT_AXES[name] for name in own})}
    id = f"{slug(title)}-{secrets.token_hex(3)}"
    try:
        with atomic_directory(folder) as draft:
            snapshots.write_tensors(draft / _PROMPT_FILE, own, axes)
            atomic_write(draft / _ABOUT_FILE, json.dumps(metadata, ensure_ascii=False, indent=1).encode())
            draft.rename(folder / id)
    except OSError as error:
        raise to_store_error(error, folder) from error
    return get_saved_prompt(folder, id)


def _validated_length(tensors: Mapping[str, Tensor]) -> int:
    """Return the number of prompt tokens m, after checking that the tensors are a prompt."""
    if not tensors or set(tensors) - set(PROMPT_AXES):
        raise StoreError(f"expected {' or '.join(PROMPT_AXES)}; got {', '.join(tensors) or 'no tensor'}")
    lengths = set()
    for name, tensor in tensors.items():
        axes = PROMPT_AXES[name]
        if tensor.ndim != len(axes) or not tensor.numel() or (name == "key_values" and tensor.shape[1] != 2):
            raise StoreError(f"{name}: expected a shape ({', '.join(axes)}) with kv = 2; got {tuple(tensor.shape)}")
        if not tensor.isfinite().all():
            raise StoreError(f"{name}: expected finite numbers; some are infinite or not a number")
        lengths.add(tensor.shape[axes.index("m")])
    if len(lengths) > 1:
        raise StoreError(
            f"expected the same number of prompt tokens in embeddings and key_values; got {sorted(lengths)}"
        )
    return int(lengths.pop())


def list_saved_prompts(folder: Path) -> list[SavedPrompt]:
    """Return every readable saved prompt, the newest first."""
    found = []
    with suppress(OSError):
        for path in folder.iterdir():
            with suppress(StoreError):
                found.append(get_saved_prompt(folder, path.name))
    return sorted(found, key=lambda prompt: (prompt.made, prompt.id), reverse=True)


def get_saved_prompt(folder: Path, id: str) -> SavedPrompt:
    """Return the metadata of the saved prompt ``id``.

    Raises:
        StoreError: if it does not exist or cannot be read.
    """
    path = _prompt_path(folder, id) / _ABOUT_FILE
    try:
        found = convert_json({**read_json(path), "id": id}, SavedPrompt)
        for name, shape in found.shapes.items():
            if len(shape) != len(PROMPT_AXES.get(name, ())):
                raise InvalidData(f"shapes: expected those of {' or '.join(PROMPT_AXES)}; got {name} {list(shape)}")
        return found
    except ValueError as error:
        raise StoreError(f"{path} is damaged ({error}): delete the saved prompt {id} and save it again") from error


def load_prompt_tensors(folder: Path, id: str) -> dict[str, Tensor]:
    """Return the tensors of a saved prompt, float32, by the names in ``PROMPT_AXES``.

    Raises:
        StoreError: if it does not exist or cannot be read.
    """
    found, _ = snapshots.read_tensors(_prompt_path(folder, id) / _PROMPT_FILE)
    _validated_length(found)
    return found


def to_prompt(tensors: Mapping[str, Tensor]) -> Prompt:
    """Return the tensors of a saved prompt as a static prompt."""
    from ptviz.prompt import Prompt

    embeddings, inner = tensors.get("embeddings"), tensors.get("key_values")
    return Prompt(
        embeddings=None if embeddings is None else embeddings[None],
        key_values=None if inner is None else inner[:, :, None],
    )


def initial_tensors(folder: Path, config: RunConfig) -> dict[str, Tensor]:
    """Return the tensors of the saved prompt that a run starts from, after checking that they fit its method.

    Raises:
        ValueError: if the prompt does not fit the method or the backbone, with what was expected.
        StoreError: if it does not exist or cannot be read.
    """
    one = get_saved_prompt(folder, str(config.start))
    check_initial_prompt(config, one)
    return load_prompt_tensors(folder, one.id)


def check_initial_prompt(config: RunConfig, start: SavedPrompt) -> None:
    """Check by shape that a run with this config can start from a saved prompt; no backbone is loaded.

    A backbone of unknown shape passes here and is checked when the worker loads it.

    Raises:
        ValueError: if the prompt does not fit the method or the backbone, with what was expected.
    """
    import torch

    from ptviz.methods import build_method
    from ptviz.prompt import Spec
    from ptviz.runs.embedding_table import find_backbone_shape

    shape = find_backbone_shape(config.backbone)
    if shape is None:
        return
    sizes = shape.width, shape.sites, shape.heads, shape.head_width, config.training.length
    method = build_method(config.method, Spec.from_sizes(*sizes, config.source_tasks()), config.hyperparameters)
    method.init_from_prompt(
        to_prompt({name: torch.empty(shape, device="meta") for name, shape in start.shapes.items()})
    )


def delete_saved_prompt(folder: Path, id: str) -> None:
    """Delete a saved prompt. Runs that started from it have their own copy.

    Raises:
        StoreError: if it does not exist, or the folder cannot be written.
    """
    path = _prompt_path(folder, id)
    try:
        delete_folder(path)
    except OSError as error:
        raise to_store_error(error, path) from error


def _prompt_path(folder: Path, id: str) -> Path:
    path = folder / id if _PROMPT_ID.fullmatch(id) else None
    if path is not None and not path.is_dir():  # The worker finds those of all visitors; a visitor has no such folder.
        path = next(folder.glob(f"{VISITORS_FOLDER}/*/{id}"), path)
    if path is None or not path.is_dir():
        known = ", ".join(prompt.id for prompt in list_saved_prompts(folder)[:5]) if path is not None else ""
        hint = f"saved prompts: {known}" if known else "no prompts are saved yet"
        raise StoreError(f"saved prompt {id[:80]!r} not found; {hint}")
    return path
