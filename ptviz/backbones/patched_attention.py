"""BLOOM, MPT and Falcon: transformers writes their attention out in the model, so it is exchanged there.

Their models neither select an attention function nor hand keywords on to it. ``select_attention`` exchanges the classes
of one model's modules: the attention modules call ``attend`` with their own queries, keys and values, and the model's
``forward`` takes the keywords of ``attend`` aside for them. Weights, block code and other models stay as they are.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.models.bloom.modeling_bloom import BloomAttention, _get_alibi_slopes
from transformers.models.falcon.modeling_falcon import FalconAttention, apply_rotary_pos_emb
from transformers.models.mpt.modeling_mpt import MptAttention, build_mpt_alibi_tensor

from ptviz.backbones.prompt_attention import ATTENTION_NAME, attend

ATTEND_KEYWORDS = ("prompt_kv", "collect_kv", "list_sites", "on_attention")
"""Keywords of a model's call that are for ``attend``."""

_call: ContextVar[dict[str, Any]] = ContextVar("keywords of the call in progress")


def _attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    slopes: Tensor | None,
    scaling: float | None = None,
) -> Tensor:
    """Return the mixed values (B, q, width); ``slopes`` (heads,) are those of ALiBi, None with other positions."""
    keywords = dict(_call.get())
    real = keywords.pop("key_mask")
    bias = None
    if slopes is not None:
        # Only real tokens count as positions, also where padding stands between an input and its target.
        places = torch.arange(key.shape[2], device=key.device)[None] if real is None else _count(real)
        bias = slopes[:, None, None] * places[:, None, None]
    if mask is not None and mask.dtype != torch.bool:
        mask = mask > torch.finfo(mask.dtype).min / 2
    mixed, _ = attend(
        module, query, key, value, mask, position_bias=bias, slopes=slopes, scaling=scaling, **keywords
    )  # fmt: skip
    return mixed.flatten(2)


def _count(real: Tensor) -> Tensor:
    return (real.long().cumsum(-1) - 1).clamp(min=0)


class RoutedBloomAttention(BloomAttention):  # type: ignore[misc]
    """BLOOM's attention: ALiBi, and a residual that the module adds by itself."""

    def forward(
        self, hidden_states: Tensor, residual: Tensor, alibi: Tensor, attention_mask: Tensor | None,
        layer_past: Any = None, **others: Any,
    ) -> tuple[Tensor, None]:  # fmt: skip
        """Return the residual plus what was attended to, (B, q, d)."""
        query, key, value = self._reshape(self.query_key_value(hidden_states))
        if layer_past is not None:
            key, value = layer_past.update(key, value, self.layer_idx)
        slopes = _get_alibi_slopes(self.num_heads, query.device)
        return residual + self.dense(_attend(self, query, key, value, attention_mask, slopes)), None


class RoutedMptAttention(MptAttention):  # type: ignore[misc]
    """MPT's attention: ALiBi with slopes of its own."""

    def forward(
        self, hidden_states: Tensor, position_bias: Tensor, past_key_values: Any = None,
        attention_mask: Tensor | None = None, **others: Any,
    ) -> tuple[Tensor, None]:  # fmt: skip
        """Return what was attended to, (B, q, d)."""
        mixed = self.Wqkv(hidden_states)
        if self.clip_qkv:
            mixed = mixed.clamp(min=-self.clip_qkv, max=self.clip_qkv)
        query, key, value = (
            part.unflatten(-1, (self.n_heads, self.head_dim)).transpose(1, 2) for part in mixed.chunk(3, dim=2)
        )
        if past_key_values is not None:
            key, value = past_key_values.update(key, value, self.layer_idx)
        before, last = build_mpt_alibi_tensor(self.n_heads, 2, device=query.device)[:, 0].unbind(-1)
        return self.out_proj(_attend(self, query, key, value, attention_mask, last - before, self.softmax_scale)), None


class RoutedFalconAttention(FalconAttention):  # type: ignore[misc]
    """Falcon's attention: rotary positions, or ALiBi whose slopes are rounded and scaled as the scores are."""

    def forward(
        self, hidden_states: Tensor, alibi: Tensor | None, attention_mask: Tensor | None, layer_past: Any = None,
        position_embeddings: tuple[Tensor, Tensor] | None = None, **others: Any,
    ) -> tuple[Tensor, None]:  # fmt: skip
        """Return what was attended to, (B, q, d)."""
        parts = self._split_heads(self.query_key_value(hidden_states))
        query, key, value = (part.transpose(1, 2) for part in parts)
        slopes = None
        if alibi is None and position_embeddings is not None:
            query, key = apply_rotary_pos_emb(query, key, *position_embeddings)
        else:
            slopes = _get_alibi_slopes(self.num_heads, query.device).bfloat16().float() / math.sqrt(self.head_dim)
        if layer_past is not None:
            key, value = layer_past.update(key, value, self.layer_idx)
        return self.dense(_attend(self, query, key, value, attention_mask, slopes)), None


ROUTED_ATTENTION: dict[str, tuple[type[nn.Module], type[nn.Module]]] = {
    "bloom": (BloomAttention, RoutedBloomAttention),
    "mpt": (MptAttention, RoutedMptAttention),
    "falcon": (FalconAttention, RoutedFalconAttention),
}
"""Attention module of each such family, and the one that takes its place."""


def select_attention(model: PreTrainedModel) -> None:
    """Let ``attend`` compute the attention of a model, whether its family selects a function or is routed here."""
    old, new = ROUTED_ATTENTION.get(model.config.model_type, (None, None))
    if new is None:
        model.set_attn_implementation(ATTENTION_NAME)
        if hasattr(model.config, "relative_attention_num_buckets") and model.config.is_encoder_decoder:
            _share_learned_bias(model.get_encoder(), model.get_decoder())
        return
    for module in model.modules():
        if type(module) is old:
            module.__class__ = new
    for part in (model, model.base_model):
        part.__class__ = _with_aside(type(part))
    model.config._attn_implementation_internal = ATTENTION_NAME  # The masks are made for this name.


def _share_learned_bias(*stacks: nn.Module) -> None:
    """Give each self-attention of T5 the function of its stack's learned bias, for the distance to a prefix.

    transformers hands the bias of the own keys on from the first layer, which alone has the table.
    """
    for stack in stacks:
        own: list[Any] = [layer.SelfAttention for layer in stack.modules() if hasattr(layer, "SelfAttention")]
        table: Any = None
        for one in own:
            table = one if one.has_relative_attention_bias else table
            if table is not None:
                one.learned_bias = table.compute_bias


def _with_aside(kind: type[PreTrainedModel]) -> type[PreTrainedModel]:
    """Return a subclass whose call takes the keywords of ``attend`` aside, for the attention modules."""

    def forward(self: Any, *arguments: Any, **keywords: Any) -> Any:
        own = {name: keywords.pop(name) for name in ATTEND_KEYWORDS if name in keywords}
        outer = _call.get({})
        token = _call.set({**outer, **own, "key_mask": keywords.get("attention_mask")})
        try:
            return original(self, *arguments, **keywords)
        finally:
            _call.reset(token)

    original: Callable[..., Any] = kind.forward
    # ``generate`` reads the signature to know what it may hand over.
    forward.__signature__ = inspect.signature(original)  # type: ignore[attr-defined]
    return type(kind.__name__, (kind,), {"forward": forward, "__module__": kind.__module__})
