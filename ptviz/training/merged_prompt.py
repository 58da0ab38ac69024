"""The merged prompt of a method: what enters the backbone, without the network that makes it."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from ptviz.methods.base import PromptMethod
from ptviz.methods.static_prompt import StaticPrompt

MIN_BYTES = 1 << 20
"""A smaller state is stored as it is."""
_MIN_RATIO = 4


@torch.no_grad()
def merge_large_prompt(method: PromptMethod) -> dict[str, Tensor]:
    """Return a method's merged prompt under the method's own symbols; empty if a snapshot needs the whole state.

    It does unless the state is large, the prompt many times smaller, and each merged tensor one that the method shows.
    """
    size = _count_bytes(method.state_dict().values())
    if size < MIN_BYTES or method.per_target:
        return {}
    merged = method.merge()
    if not isinstance(merged, StaticPrompt) or any(
        part is not None for part in (merged.shift, merged.keep, merged.sites)
    ):
        return {}
    found, own = {}, method.tensors()
    for part in merged.tensors().values():
        same = (n for n, one in own.items() if one.axes == part.axes and torch.equal(one.tensor, part.tensor))
        if (symbol := next(same, None)) is None:
            return {}
        found[symbol] = part.tensor.clone()
    return found if _MIN_RATIO * _count_bytes(found.values()) <= size else {}


def _count_bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
