"""The parts of a run's method at any snapshot, without its backbone: shapes come from sizes, values from the file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ptviz.backbones.shape import BackboneShape
from ptviz.methods.base import PromptMethod, build_method
from ptviz.prompt import Batch, Spec
from ptviz.runs.atomic_io import StoreError
from ptviz.runs.config import RunConfig
from ptviz.runs.load_state import load_state


@dataclass(frozen=True, eq=False)
class NamedAxesArray:
    """A part read off a snapshot: its values and the names of its axes."""

    axes: tuple[str, ...]
    array: Float[np.ndarray, ...]


def load_method_tensors(
    config: RunConfig, state: Mapping[str, Tensor], sizes: BackboneShape
) -> dict[str, NamedAxesArray]:
    """The method's parts under the paper's symbols, products such as A B included; the prompt as used comes first.

    Raises:
        StoreError: if the state is that of another method, backbone or other knobs.
    """
    method = _load_method(config, state, sizes)
    with torch.no_grad():
        found = method.tensors()
        used = _compute_effective_prompt(method, sizes.width)
    read = {
        name: NamedAxesArray(tuple(part.axes), part.tensor.detach().float().cpu().numpy())
        for name, part in found.items()
        if not part.tensor.is_meta
    }
    return _prompt_first(used, read)


def effective_prompt(config: RunConfig, state: Mapping[str, Tensor], sizes: BackboneShape) -> NamedAxesArray | None:
    """What the backbone is given whatever the input: prompt vectors, or keys and values; None if inputs differ in it.

    Raises:
        StoreError: if the state is that of another method, backbone or other knobs.
    """
    method = _load_method(config, state, sizes)
    with torch.no_grad():
        return _compute_effective_prompt(method, sizes.width)


def _load_method(config: RunConfig, state: Mapping[str, Tensor], sizes: BackboneShape) -> PromptMethod:
    config = config.checked()
    shape = sizes.width, sizes.sites, sizes.heads, sizes.head_width, config.training.length
    spec = Spec.from_sizes(*shape, config.source_tasks())
    # On torch's meta device nothing is drawn or copied: the snapshot's own tensors move in.
    method = build_method(config.method, spec, config.knobs)
    try:
        method.load_state_dict(dict(state), assign=True)
    except RuntimeError:
        load_state(method, dict(state))  # says in words what does not fit
        raise StoreError("the snapshot does not fit the method as set here") from None
    return method.eval()


def _compute_effective_prompt(method: PromptMethod, width: int) -> NamedAxesArray | None:
    """What the backbone is given, where it is the same for every input: the prompt vectors, or keys and values."""
    marks = torch.tensor([[True] * method.slots + [False]] * 2)
    ids = torch.zeros(marks.shape, dtype=torch.long)
    row = torch.zeros(2, dtype=torch.long)
    batch = Batch(ids, torch.ones_like(marks), marks, ~marks, row, row, torch.zeros(*marks.shape, width))
    try:
        prompt = method(batch)
    except (RuntimeError, ValueError, IndexError):
        return None  # It needs more of an input than an empty one has: its parts are shown without it.
    if prompt.embeddings is not None and len(prompt.embeddings) == 1 and not prompt.embeddings.is_meta:
        return NamedAxesArray(("m", "d"), prompt.embeddings[0].float().numpy())
    if prompt.key_values is not None and prompt.key_values.shape[2] == 1 and not prompt.key_values.is_meta:
        return NamedAxesArray(("S", "kv", "H", "m", "h"), prompt.key_values[:, :, 0].float().numpy())
    return None


def _prompt_first(used: NamedAxesArray | None, parts: dict[str, NamedAxesArray]) -> dict[str, NamedAxesArray]:
    """The parts with the prompt that is really used in front, under the method's own name for it if it has one."""
    if used is None:
        return parts
    same = (n for n, part in parts.items() if part.axes == used.axes and np.array_equal(part.array, used.array))
    name = next(same, "prompt")
    return {name: used, **{n: part for n, part in parts.items() if n != name}}
