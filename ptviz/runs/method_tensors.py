"""The parts of a run's method at any snapshot, without its backbone: shapes come from sizes, values from the file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ptviz.backbones.shape import Sizes
from ptviz.methods.base import PromptMethod, build
from ptviz.prompt import Batch, Spec
from ptviz.runs.atomic_io import StoreError
from ptviz.runs.config import RunConfig
from ptviz.runs.load_state import load


@dataclass(frozen=True, eq=False)
class Values:
    """A part read off a snapshot: its values and the names of its axes."""

    axes: tuple[str, ...]
    array: Float[np.ndarray, ...]


def parts_of(config: RunConfig, state: Mapping[str, Tensor], sizes: Sizes) -> dict[str, Values]:
    """The method's parts under the paper's symbols, products such as A B included; the prompt as used comes first.

    Raises:
        StoreError: if the state is that of another method, backbone or other knobs.
    """
    method = _loaded(config, state, sizes)
    with torch.no_grad():
        found = method.parts()
        used = _used(method, sizes.width)
    read = {
        name: Values(tuple(part.axes), part.tensor.detach().float().cpu().numpy())
        for name, part in found.items()
        if not part.tensor.is_meta
    }
    return _first(used, read)


def used_of(config: RunConfig, state: Mapping[str, Tensor], sizes: Sizes) -> Values | None:
    """What the backbone is given whatever the input: prompt vectors, or keys and values; None if inputs differ in it.

    Raises:
        StoreError: if the state is that of another method, backbone or other knobs.
    """
    method = _loaded(config, state, sizes)
    with torch.no_grad():
        return _used(method, sizes.width)


def _loaded(config: RunConfig, state: Mapping[str, Tensor], sizes: Sizes) -> PromptMethod:
    config = config.checked()
    shape = sizes.width, sizes.sites, sizes.heads, sizes.head_width, config.training.length
    spec = Spec.of_shape(*shape, config.source_tasks())
    # On torch's meta device nothing is drawn or copied: the snapshot's own tensors move in.
    method = build(config.method, spec, config.knobs)
    try:
        method.load_state_dict(dict(state), assign=True)
    except RuntimeError:
        load(method, dict(state))  # says in words what does not fit
        raise StoreError("the snapshot does not fit the method as set here") from None
    return method.eval()


def _used(method: PromptMethod, width: int) -> Values | None:
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
        return Values(("m", "d"), prompt.embeddings[0].float().numpy())
    if prompt.key_values is not None and prompt.key_values.shape[2] == 1 and not prompt.key_values.is_meta:
        return Values(("S", "kv", "H", "m", "h"), prompt.key_values[:, :, 0].float().numpy())
    return None


def _first(used: Values | None, parts: dict[str, Values]) -> dict[str, Values]:
    """The parts with the prompt that is really used in front, under the method's own name for it if it has one."""
    if used is None:
        return parts
    same = (n for n, part in parts.items() if part.axes == used.axes and np.array_equal(part.array, used.array))
    name = next(same, "prompt")
    return {name: used, **{n: part for n, part in parts.items() if n != name}}
