"""Named tensors of a file, and the steps that all formats share to make a bundle of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np

from ptviz.checkpoints.bundle import KEY_VALUE, UNSPLIT_AXES, Array, NamedAxesArray, PromptBundle, list_capabilities
from ptviz.checkpoints.errors import CheckpointError
from ptviz.checkpoints.limits import LIMITS
from ptviz.safe_text import safe_text


@dataclass(frozen=True)
class StoredTensors:
    """The content of a file: ``tensors`` by name, ``metadata`` texts, and the ``container`` format.

    ``size_hints`` are the numbers of layers and heads from a model's config, if there is one.
    """

    name: str
    container: str
    tensors: Mapping[str, Array]
    metadata: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    size_hints: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))

    def tensor_ending_in(self, end: str) -> Array | None:
        """Return the tensor whose name is ``end`` or ends in ``.end``; None if there is none."""
        return next((a for name, a in self.tensors.items() if name == end or name.endswith("." + end)), None)

    def description(self) -> dict[str, str]:
        """Return the file's metadata as printable text of limited length."""
        texts = {safe_text(key, 60): safe_text(text, 300) for key, text in [*self.metadata.items()][:60]}
        return {"container": self.container, **texts}


def to_prompt_matrix(name: str, array: Array) -> NamedAxesArray:
    """Return an array as a matrix of prompt tokens, ``(m, d)``, without leading axes of size 1.

    Raises:
        CheckpointError: for another shape.
    """
    while array.ndim > 2 and array.shape[0] == 1:
        array = array[0]
    if array.ndim == 1:
        array = array[None]
    if array.ndim != 2 or array.shape[0] > LIMITS.rows or not 2 <= array.shape[1] <= LIMITS.width:
        raise CheckpointError(
            f"{safe_text(name)}: expected a prompt (tokens, width) of at most {LIMITS.rows:,} tokens; "
            f"got the shape {array.shape}"
        )
    return NamedAxesArray(array, ("m", "d"))


def split_key_values(flat: Array, sites: int | None, heads: int | None) -> NamedAxesArray:
    """Split keys and values ``(m, S * 2 * H * h)``, per site keys then values, to ``(S, 2, H, m, h)``.

    Without the numbers of sites and heads, the second axis is not split and named ``features``.
    """
    tokens, features = flat.shape
    if not sites or not heads or features % (sites * 2 * heads):
        return NamedAxesArray(flat, UNSPLIT_AXES)
    split = flat.reshape(tokens, sites, 2, heads, -1).transpose(1, 2, 3, 0, 4)
    return NamedAxesArray(np.ascontiguousarray(split), ("S", "kv", "H", "m", "h"))


def make_key_value_bundle(
    name: str, form: str, flat: Array, state: StoredTensors, warnings: tuple[str, ...], irreversible: str = ""
) -> PromptBundle:
    """Return a bundle with one key-value prompt."""
    values = split_key_values(flat, state.size_hints.get("layers"), state.size_hints.get("heads"))
    if values.axes == UNSPLIT_AXES:
        warnings = (*warnings, "the file gives no numbers of layers and heads: keys and values are not split")
    return PromptBundle(
        name=name,
        format=form,
        kind=KEY_VALUE,
        tensors={"KV": values},
        metadata=state.description(),
        warnings=warnings,
        capabilities=list_capabilities(KEY_VALUE, None, irreversible),
    )
