"""The attention function through which prompts reach every site of a frozen transformers model.

transformers passes unknown keywords of ``model(...)`` on to the selected attention function, so a prompt's keys and
values need no hooks, no cache objects, no code per family and no global state.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import sdpa_mask

from ptviz.backbones.errors import BackboneError
from ptviz.backbones.packed_attention import Packing, attend_packed

ATTENTION_NAME = "ptviz"

UNSUPPORTED_VARIANTS = ("s_aux", "sinks")
"""Keywords of attention that has learned sinks, as GPT-OSS: no answer is compared with PEFT for them yet."""

AttentionCallback = Callable[[int, Tensor], None]
"""Called with (site index, attention weights (B, heads, queries, prompt + keys)) at every site."""


@runtime_checkable
class KeyValues(Protocol):
    """A prompt's keys and values by site: item ``s`` is a pair (keys, values), each (1 or B, H, m, h)."""

    def __getitem__(self, site: int, /) -> Any: ...


class PrefixOfSites:
    """The keys and values of a prompt that some sites do not see: there they are without tokens, (1 or B, H, 0, h)."""

    def __init__(self, key_values: Float[Tensor, "S 2 #B H m h"], sites: Bool[Tensor, " S"]) -> None:
        self.key_values, self.marks = key_values, sites.tolist()

    def __getitem__(self, site: int, /) -> Float[Tensor, "kv=2 #B H m h"]:
        own = self.key_values[site]
        return own if self.marks[site] else own[..., :0, :]

    def absent(self, site: int) -> int:
        """Return how many prefix tokens a site does not see: all m or none."""
        return 0 if self.marks[site] else self.key_values.shape[-2]


def attend_site(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    packing: Packing | None = None,
    **keywords: Any,
) -> tuple[Tensor, Tensor | None]:
    """Compute attention as ``attend`` does, or with ``packing`` that of packed tokens, as ``attend_packed`` does."""
    if packing is None:
        return attend(module, query, key, value, attention_mask, **keywords)
    scaling, prompt_kv = keywords.get("scaling"), keywords.get("prompt_kv")
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    ahead = None if prompt_kv is None else tuple(t.float() for t in prompt_kv[module.site])
    return attend_packed(query.float(), key.float(), value.float(), packing, scaling, ahead).to(query.dtype), None


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
    slopes: Tensor | None = None,
    softcap: float | None = None,
    sliding_window: int | None = None,
    prompt_kv: KeyValues | None = None,
    collect_kv: dict[int, tuple[Tensor, Tensor]] | None = None,
    list_sites: dict[nn.Module, torch.Size] | None = None,
    on_attention: AttentionCallback | None = None,
    **others: Any,
) -> tuple[Tensor, Tensor | None]:
    """Compute softmax attention over ``prompt_kv`` followed by the sequence's own keys and values.

    ``query`` (B, heads, q, h), ``key`` and ``value`` (B, H, n, h), ``attention_mask`` boolean or None. ``softcap``
    bounds the scores by ``softcap * tanh(scores / softcap)`` (Gemma Team, "Gemma 2", section 2,
    https://arxiv.org/abs/2408.00118). ``slopes`` (heads,) are those of ALiBi, whose bias of the own keys is
    ``position_bias`` (Press et al., https://arxiv.org/abs/2108.12409). ``collect_kv`` gathers each site's own keys and
    values; ``list_sites`` gets the sites in call order. The softmax is always computed in float32: on a CPU the
    backward pass of low-precision attention takes four times as long.

    A prefix counts as the positions before the first key, as past keys do: ALiBi, T5's learned bias (``learned_bias``
    of the module) and a sliding window measure from there, so a causal window hides prefix tokens that are too far
    back. Encoders see a prefix from everywhere.

    Returns:
        The mixed values (B, q, heads, h), and the weights if ``on_attention`` is given.

    Raises:
        BackboneError: if the model uses a variant of attention that is not supported.
    """
    _refuse_variants(attention_mask, others)
    if list_sites is not None:
        _list_site(module, key, list_sites)
    if collect_kv is not None:
        collect_kv[module.site] = (key, value)  # type: ignore[index]
    dtype = query.dtype
    query, key, value = query.float(), key.float(), value.float()
    if prompt_kv is not None:
        prefix_key, prefix_value = (t.float().expand(len(query), -1, -1, -1) for t in prompt_kv[module.site])  # type: ignore[index]
        m = prefix_key.shape[-2]
        key, value = torch.cat([prefix_key, key], -2), torch.cat([prefix_value, value], -2)
        window = sliding_window if getattr(module, "is_causal", True) else None
        attention_mask = _widen_mask(attention_mask, m, window)
        position_bias = _widen_bias(position_bias, slopes, m, getattr(module, "learned_bias", None))
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    bias = _combine_bias(attention_mask, position_bias)
    weights = None
    if on_attention is None and softcap is None:
        mixed = F.scaled_dot_product_attention(query, key, value, bias, dropout, scale=scaling)
    else:
        weights = _attention_weights(query, key, bias, scaling, softcap)
        mixed = weights @ value
        if on_attention is None:
            weights = None
        else:
            site: int = module.site  # type: ignore[assignment]
            # The prefix is in the first columns of the weights of every site.
            absent = prompt_kv.absent(site) if isinstance(prompt_kv, PrefixOfSites) else 0
            weights = F.pad(weights, (absent, 0)) if absent else weights
            on_attention(site, weights)
    return mixed.transpose(1, 2).contiguous().to(dtype), weights


def _refuse_variants(mask: Tensor | None, others: dict[str, Any]) -> None:
    for name in UNSUPPORTED_VARIANTS:
        if others.get(name) is not None:
            raise BackboneError(f"attention with {name!r} is not supported; choose another backbone")
    if mask is not None and mask.dtype != torch.bool:
        raise BackboneError("attention whose mask holds scores of its own is not supported; choose another backbone")


def _list_site(module: nn.Module, key: Tensor, found: dict[nn.Module, torch.Size]) -> None:
    if module in found:
        raise BackboneError("attention that is computed twice a layer is not supported; choose another backbone")
    found[module] = key.shape


def _widen_mask(mask: Tensor | None, m: int, window: int | None) -> Tensor | None:
    """Return the mask (..., q, m + n) with m prefix columns: visible, unless a sliding window lies behind them."""
    if mask is None:
        return None
    if window is None:
        return F.pad(mask, (m, 0), value=True)
    # A query that sees c own keys is the c-th after the prefix, or its window is full: padding does not count.
    own = mask.sum(-1, keepdim=True) - 1
    return torch.cat([own - torch.arange(-m, 0, device=mask.device) < window, mask], -1)


def _widen_bias(
    bias: Tensor | None, slopes: Tensor | None, m: int, learned: Callable[..., Tensor] | None
) -> Tensor | None:
    """Return the position bias (..., q, m + n) with m prefix columns: further along ALiBi's slopes, learned, or 0."""
    if bias is None:
        return None
    if learned is not None:
        queries, keys = bias.shape[-2:]
        ahead = learned(queries, m, device=bias.device, past_seen_tokens=m + keys - queries)
        return torch.cat([ahead.expand(*bias.shape[:-1], m), bias], -1).float()
    if slopes is None:
        return F.pad(bias, (m, 0))
    steps = slopes.float()[:, None, None] * torch.arange(-m, 0, device=bias.device)
    first = bias.float()[..., :1]
    return torch.cat([first + steps, bias.float()], -1)


def _combine_bias(mask: Tensor | None, position_bias: Tensor | None) -> Tensor | None:
    """Return mask and position bias as one: boolean without a bias, else added to the scores."""
    if position_bias is None:
        return mask
    bias = position_bias.float()
    return bias if mask is None else bias.masked_fill(~mask, -torch.inf)


def _attention_weights(
    query: Tensor, key: Tensor, bias: Tensor | None, scaling: float | None, softcap: float | None
) -> Tensor:
    """Return the attention weights (B, heads, q, n), which the fused kernel does not return."""
    scores = query @ key.mT * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    if bias is not None:
        scores = scores.masked_fill(~bias, -torch.inf) if bias.dtype == torch.bool else scores + bias
    # Padding may see nothing at all, beyond a window: its row stays finite, or its gradient would spoil all others.
    return scores.clamp(min=torch.finfo(scores.dtype).min).softmax(-1)


def make_boolean_mask(*arguments: Any, **keywords: Any) -> Tensor | None:
    """Return transformers' boolean mask, also for causal attention, because a prefix must widen it.

    Causal windows count real tokens only: padding may stand between an input and its target, or before a text that is
    to be continued.
    """
    real, sees = keywords.get("attention_mask"), keywords.get("mask_function")
    windowed = keywords.get("local_size") is not None and "allow_is_bidirectional_skip" not in keywords
    if windowed and sees is not None and real is not None and not bool(real.all()):
        places = (real.long().cumsum(-1) - 1).clamp(min=0)

        def by_place(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
            seen: Tensor = sees(batch, head, places[batch, query], places[batch, key])
            return seen

        keywords["mask_function"] = by_place
    mask: Tensor | None = sdpa_mask(*arguments, **{**keywords, "allow_is_causal_skip": False})
    return mask


def join_key_values(first: KeyValues, second: dict[int, tuple[Tensor, Tensor]]) -> list[tuple[Tensor, Tensor]]:
    """Concatenate two prefixes site by site along the prompt-token axis."""
    return [
        (torch.cat([first[site][0].float(), keys.float()], -2), torch.cat([first[site][1].float(), values.float()], -2))
        for site, (keys, values) in sorted(second.items())
    ]


AttentionInterface.register(ATTENTION_NAME, attend_site)
AttentionMaskInterface.register(ATTENTION_NAME, make_boolean_mask)
