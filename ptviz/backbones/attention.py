"""The attention function through which prompts reach every site of a frozen transformers model.

transformers passes unknown keywords of ``model(...)`` on to the selected attention function, so a prompt's keys and
values need no hooks, no cache objects, no code per family and no global state.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import sdpa_mask

ATTENTION_NAME = "ptviz"

AttentionCallback = Callable[[int, Tensor], None]
"""Called with (site index, attention weights (B, heads, queries, prompt + keys)) at every site."""


class BackboneError(ValueError):
    """A backbone that is not available or cannot be used: what was expected, what came, what to do."""


@runtime_checkable
class KeyValues(Protocol):
    """A prompt's keys and values by site: item ``s`` is a pair (keys, values), each (1 or B, H, m, h)."""

    def __getitem__(self, site: int, /) -> Any: ...


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    position_bias: Tensor | None = None,
    prompt_kv: KeyValues | None = None,
    collect: dict[int, tuple[Tensor, Tensor]] | None = None,
    survey: dict[nn.Module, torch.Size] | None = None,
    visit: AttentionCallback | None = None,
    **others: Any,
) -> tuple[Tensor, Tensor | None]:
    """Compute softmax attention over ``prompt_kv`` followed by the sequence's own keys and values.

    ``query`` (B, heads, q, h), ``key`` and ``value`` (B, H, n, h), ``attention_mask`` boolean or None. ``collect``
    gathers each site's own keys and values; ``survey`` lists the sites in call order. The softmax is always computed in
    float32: on a CPU the backward pass of low-precision attention takes four times as long.

    Returns:
        The mixed values (B, q, heads, h), and the weights if ``visit`` is given.

    Raises:
        BackboneError: if the model uses a variant of attention that is not supported.
    """
    for name in ("softcap", "s_aux", "sinks"):
        if others.get(name) is not None:
            raise BackboneError(f"attention with {name!r} is not supported; choose another backbone")
    if survey is not None:
        survey.setdefault(module, key.shape)
    if collect is not None:
        collect[module.site] = (key, value)  # type: ignore[index]
    dtype = query.dtype
    query, key, value = query.float(), key.float(), value.float()
    if prompt_kv is not None:
        prefix_key, prefix_value = (t.float().expand(len(query), -1, -1, -1) for t in prompt_kv[module.site])  # type: ignore[index]
        m = prefix_key.shape[-2]
        key, value = torch.cat([prefix_key, key], -2), torch.cat([prefix_value, value], -2)
        if attention_mask is not None:
            attention_mask = F.pad(attention_mask, (m, 0), value=True)
        if position_bias is not None:
            position_bias = F.pad(position_bias, (m, 0))
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    bias = _combine_bias(attention_mask, position_bias)
    weights = None
    if visit is None:
        mixed = F.scaled_dot_product_attention(query, key, value, bias, dropout, scale=scaling)
    else:
        weights = _attention_weights(query, key, bias, scaling)
        visit(module.site, weights)  # type: ignore[arg-type]
        mixed = weights @ value
    return mixed.transpose(1, 2).contiguous().to(dtype), weights


def _combine_bias(mask: Tensor | None, position_bias: Tensor | None) -> Tensor | None:
    """Return mask and position bias as one: boolean without a bias, else added to the scores."""
    if position_bias is None:
        return mask
    bias = position_bias.float()
    return bias if mask is None else bias.masked_fill(~mask, -torch.inf)


def _attention_weights(query: Tensor, key: Tensor, bias: Tensor | None, scaling: float | None) -> Tensor:
    """Return the attention weights (B, heads, q, n), which the fused kernel does not return."""
    scores = query @ key.mT * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    if bias is not None:
        scores = scores.masked_fill(~bias, -torch.inf) if bias.dtype == torch.bool else scores + bias
    return scores.softmax(-1)


def make_boolean_mask(*arguments: Any, **keywords: Any) -> Tensor | None:
    """Return transformers' boolean mask, also for causal attention, because a prefix must widen it."""
    mask: Tensor | None = sdpa_mask(*arguments, **{**keywords, "allow_is_causal_skip": False})
    return mask


def join_key_values(
    first: Sequence[tuple[Tensor, Tensor]] | Tensor, second: dict[int, tuple[Tensor, Tensor]]
) -> list[tuple[Tensor, Tensor]]:
    """Concatenate two prefixes site by site along the prompt-token axis."""
    return [
        (torch.cat([first[site][0].float(), keys.float()], -2), torch.cat([first[site][1].float(), values.float()], -2))
        for site, (keys, values) in sorted(second.items())
    ]


AttentionInterface.register(ATTENTION_NAME, attend)
AttentionMaskInterface.register(ATTENTION_NAME, make_boolean_mask)
