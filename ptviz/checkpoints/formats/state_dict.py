"""Named tensors as a file held them, and the small steps that every format takes to make a bundle of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np

from ptviz.checkpoints.bundle import KEY_VALUE, UNSPLIT_AXES, Array, NamedAxesArray, PromptBundle, list_capabilities
from ptviz.checkpoints.errors import CheckpointError, safe_text
from ptviz.checkpoints.limits import LIMITS


@dataclass(frozen=True)
class StoredTensors:
    """What a file held: ``tensors`` by their names in it, ``texts`` it says, in which ``container``.

    ``hints`` are sizes from a model's config beside it: layers, heads.
    """

    name: str
    container: str
    tensors: Mapping[str, Array]
    metadata: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    size_hints: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))

    def tensor_ending_in(self, end: str) -> Array | None:
        """The tensor whose name is ``end``, or ends in it behind a dot."""
        return next((a for name, a in self.tensors.items() if name == end or name.endswith("." + end)), None)

    def description(self) -> dict[str, str]:
        """What the file says about itself, printable and bounded."""
        texts = {safe_text(key, 60): safe_text(text, 300) for key, text in [*self.metadata.items()][:60]}
        return {"container": self.container, **texts}


def to_prompt_matrix(name: str, array: Array) -> NamedAxesArray:
    """A matrix of prompt tokens, ``(m, d)``; leading axes of size 1 are dropped.

    Raises:
        CheckpointError: for another shape.
    """
    while array.ndim > 2 and array.shape[0] == 1:
        array = array[0]
    if array.ndim == 1:
        array = array[None]
    if array.ndim != 2 or array.shape[0] > LIMITS.rows or not 2 <= array.shape[1] <= LIMITS.width:
        raise CheckpointError(
            f"{safe_text(name)}: expected a prompt (tokens, width) of at most {LIMITS.rows:,} tokens; got the shape "
            f"{array.shape}"
        )
    return NamedAxesArray(array, ("m", "d"))


def split_key_values(flat: Array, sites: int | None, heads: int | None) -> NamedAxesArray:
    """Keys and values that lie as ``(m, S * 2 * H * h)``: per site the keys, then the values.

    Without the counts of sites and heads the second axis stays whole, as ``features``.
    """
    tokens, features = flat.shape
    if not sites or not heads or features % (sites * 2 * heads):
        return NamedAxesArray(flat, UNSPLIT_AXES)
    split = flat.reshape(tokens, sites, 2, heads, -1).transpose(1, 2, 3, 0, 4)
    return NamedAxesArray(np.ascontiguousarray(split), ("S", "kv", "H", "m", "h"))


def make_key_value_bundle(
    name: str, form: str, flat: Array, state: StoredTensors, warnings: tuple[str, ...], irreversible: str = ""
) -> PromptBundle:
    """A bundle of one key-value prompt."""
    values = split_key_values(flat, state.size_hints.get("layers"), state.size_hints.get("heads"))
    if values.axes == UNSPLIT_AXES:
        warnings = (*warnings, "the file does not say how many layers and heads it is for: keys and values stay whole")
    return PromptBundle(
        name,
        form,
        KEY_VALUE,
        {"KV": values},
        state.description(),
        warnings,
        list_capabilities(KEY_VALUE, None, irreversible),
    )
