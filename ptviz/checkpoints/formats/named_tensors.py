"""Named tensors of a file, and the steps that all formats share to make a bundle of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

from ptviz.checkpoints.bundle import KEY_VALUE, UNSPLIT_AXES, Array, NamedAxesArray, PromptBundle, list_capabilities
from ptviz.checkpoints.errors import CheckpointError
from ptviz.checkpoints.limits import LIMITS
from ptviz.safe_text import safe_list, safe_text


@dataclass(frozen=True)
class StoredTensors:
    """The content of a file: ``tensors`` by name, ``metadata`` texts, and the ``container`` format.

    ``config`` is the model's config beside it, if there is one.
    """

    name: str
    container: str
    tensors: Mapping[str, Array]
    metadata: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    config: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    def names_ending_in(self, end: str) -> list[str]:
        """Return the names of the tensors that are ``end`` or end in ``.end``."""
        return [name for name in self.tensors if name == end or name.endswith("." + end)]

    def name_ending_in(self, end: str) -> str:
        """Return the first tensor's name that is ``end`` or ends in ``.end``; "" if there is none."""
        return next(iter(self.names_ending_in(end)), "")

    def tensor_ending_in(self, end: str) -> Array | None:
        """Return the tensor whose name is ``end`` or ends in ``.end``; None if there is none."""
        return self.tensors.get(self.name_ending_in(end)) if self.name_ending_in(end) else None

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


def describe_left_out(names: list[str]) -> tuple[str, ...]:
    """Return a note on the tensors of a file that a bundle does not show; none if there are none."""
    return (f"left out: {safe_list(names)}",) if names else ()


def split_key_values(flat: Array, sites: int | None, heads: int | None) -> NamedAxesArray:
    """Split keys and values ``(m, S * 2 * H * h)``, per site keys then values, to ``(S, 2, H, m, h)``.

    Without the numbers of sites and heads, the second axis is not split and named ``features``.
    """
    tokens, features = flat.shape
    if not sites or not heads or features % (sites * 2 * heads):
        return NamedAxesArray(flat, UNSPLIT_AXES)
    split = flat.reshape(tokens, sites, 2, heads, -1).transpose(1, 2, 3, 0, 4)
    return NamedAxesArray(np.ascontiguousarray(split), ("S", "kv", "H", "m", "h"))


_LAYERS = ("num_hidden_layers", "num_layers", "n_layer", "n_layers")
_HEADS = ("num_key_value_heads", "num_attention_heads", "n_head", "num_heads")
_HEAD_WIDTH = ("head_dim", "kv_channels", "d_kv", "attention_head_size")
_WIDTH = ("hidden_size", "n_embd", "d_model", "dim")


def sites_and_heads(config: Mapping[str, Any], features: int) -> tuple[int | None, int | None]:
    """Return the numbers of layers and of key/value heads of a model's config, None if they are not known.

    The width of a head gives how many there are among ``features`` values a token, whatever the config calls
    grouped-query or multi-query attention.
    """
    config = inner if isinstance(inner := config.get("text_config"), Mapping) else config
    layers, queries, width = (_find_size(config, keys) for keys in (_LAYERS, _HEADS[1:], _WIDTH))
    head_width = _find_size(config, _HEAD_WIDTH)
    if head_width is None and width and queries and width % queries == 0:
        head_width = width // queries
    if layers is None or head_width is None:
        return layers, _find_size(config, _HEADS)
    heads, rest = divmod(features, 2 * layers * head_width)
    return layers, None if rest or (queries and heads > queries) else heads


def _find_size(config: Mapping[str, Any], keys: tuple[str, ...]) -> int | None:
    return next((config[key] for key in keys if type(config.get(key)) is int and 0 < config[key] < 1 << 20), None)


def make_key_value_bundle(
    name: str, form: str, flat: Array, state: StoredTensors, warnings: tuple[str, ...], irreversible: str = ""
) -> PromptBundle:
    """Return a bundle with one key-value prompt."""
    values = split_key_values(flat, *sites_and_heads(state.config, flat.shape[1]))
    if values.axes == UNSPLIT_AXES:
        why = "the config beside it does not fit" if state.config else "the file gives no numbers of layers and heads"
        warnings = (*warnings, f"{why}: keys and values are not split")
    return PromptBundle(
        name=name,
        format=form,
        kind=KEY_VALUE,
        tensors={"KV": values},
        metadata=state.description(),
        warnings=warnings,
        capabilities=list_capabilities(KEY_VALUE, None, irreversible),
    )
