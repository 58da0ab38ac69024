"""Activated neurons of prompts, found by the worker and kept on disk: a prompt is run through a backbone once."""

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
from ptviz.backbones.neuron_activations import activated
from ptviz.engine.loaded_prompt import Opened
from ptviz.engine.model_cache import Warm
from ptviz.runs.atomic_io import explained, write_whole

Letter = Mapping[str, Any]
_FORMAT = 1


def place_of(backbone: str, prompt: Float[np.ndarray, "m d"]) -> Path:
    """Where the neurons of a prompt lie, whether or not they are there."""
    told = hashlib.sha256(f"{_FORMAT} {backbone} {prompt.shape}".encode())
    told.update(np.ascontiguousarray(prompt, dtype="<f4").tobytes())
    return paths.cache() / "neurons" / f"{told.hexdigest()[:24]}.npy"


def known(backbone: str, prompt: Float[np.ndarray, "m d"]) -> Bool[np.ndarray, "layers n"] | None:
    """The neurons that a prompt activates, if they were looked for before."""
    with suppress(OSError, ValueError, EOFError):
        found: Bool[np.ndarray, "layers n"] = np.load(place_of(backbone, prompt), allow_pickle=False)
        return found
    return None


def letter(prompts: Sequence[Float[np.ndarray, "m d"]]) -> list[dict[str, Any]]:
    """Prompts as they travel to the worker, in float32."""
    return [
        {"shape": list(prompt.shape), "values": base64.b64encode(prompt.astype("<f4").tobytes()).decode()}
        for prompt in prompts
    ]


def neurons(at: Opened, warm: Warm, prompts: Sequence[Letter]) -> dict[str, Any]:
    """Find the neurons of prompts on the backbone of a run, and keep them where ``known`` looks.

    Returns:
        ``{"kept": number of prompts}``.

    Raises:
        BackboneError: if a prompt does not fit the backbone, or its feed-forward layers are not known.
        StoreError: if the folder cannot be written.
    """
    for told in prompts:
        prompt = np.frombuffer(base64.b64decode(told["values"]), dtype="<f4").reshape(tuple(told["shape"]))
        path = place_of(at.config.backbone, prompt)
        if path.exists():
            continue
        found, data = activated(at.backbone, torch.tensor(prompt)), io.BytesIO()
        np.save(data, found.numpy(), allow_pickle=False)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise explained(error, path) from error
        write_whole(path, data.getvalue(), durable=False)
    return {"kept": len(prompts)}
