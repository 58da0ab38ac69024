"""Activated neurons of prompts, cached on disk so that each prompt runs once."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float

from ptviz import paths
from ptviz.backbones.neuron_activations import activated_neurons
from ptviz.engine.loaded_prompt import LoadedPrompt
from ptviz.engine.model_cache import ModelCache
from ptviz.runs.run_file_io import atomic_write, to_store_error

EncodedPrompt = Mapping[str, Any]
_FORMAT_VERSION = 1


def cache_path(backbone: str, prompt: Float[np.ndarray, "m d"]) -> Path:
    """Return the path of a prompt's cached neurons."""
    digest = hashlib.sha256(f"{_FORMAT_VERSION} {backbone} {prompt.shape}".encode())
    digest.update(np.ascontiguousarray(prompt, dtype="<f4").tobytes())
    return paths.cache_dir() / "neurons" / f"{digest.hexdigest()[:24]}.npy"


def load_neurons(backbone: str, prompt: Float[np.ndarray, "m d"]) -> Bool[np.ndarray, "layers n"] | None:
    """Load the neurons that a prompt activates from the cache; None if they are not there."""
    with suppress(OSError, ValueError, EOFError):
        found: Bool[np.ndarray, "layers n"] = np.load(cache_path(backbone, prompt), allow_pickle=False)
        return found
    return None


def encode_prompts(prompts: Sequence[Float[np.ndarray, "m d"]]) -> list[dict[str, Any]]:
    """Encode prompts for a request to the worker, in float32."""
    return [
        {"shape": list(prompt.shape), "values": base64.b64encode(prompt.astype("<f4").tobytes()).decode()}
        for prompt in prompts
    ]


def find_neurons(loaded: LoadedPrompt, model_cache: ModelCache, prompts: Sequence[EncodedPrompt]) -> dict[str, Any]:
    """Find the neurons that prompts activate in the backbone of a run, and cache them for ``load_neurons``.

    Returns:
        ``{"kept": number of prompts}``.

    Raises:
        BackboneError: if a prompt does not fit the backbone, or its feed-forward layers are not known.
        StoreError: if the folder cannot be written.
    """
    for encoded in prompts:
        prompt = np.frombuffer(base64.b64decode(encoded["values"]), dtype="<f4").reshape(tuple(encoded["shape"]))
        path = cache_path(loaded.config.backbone, prompt)
        if path.exists():
            continue
        found, data = activated_neurons(loaded.backbone, torch.tensor(prompt)), io.BytesIO()
        np.save(data, found.numpy(), allow_pickle=False)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise to_store_error(error, path) from error
        atomic_write(path, data.getvalue(), durable=False)
    return {"kept": len(prompts)}
