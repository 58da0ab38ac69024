"""Attention among packed tokens: the rows of a batch behind each other, without padding, after tokens they share.

Every other layer of a model treats tokens one by one, so only attention needs to know where rows begin. Scores against
the shared tokens are one product for all rows (as in Hydragen, Juravsky et al. 2024); nothing is copied for each row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Packing:
    """Where rows begin among packed tokens: ``lead`` tokens that precede every row, then the n tokens of B rows.

    ``token`` (B, T) is the number of each row's token among all packed tokens, any number where ``real`` (B, T) is
    False. Rows are padded on the right to T tokens inside attention only.
    """

    lead: int
    token: Int[Tensor, "B T"]
    real: Bool[Tensor, "B T"]

    @classmethod
    def of(cls, real: Bool[Tensor, "B C"], lead: int) -> Packing:
        """Return the packing of the real columns of each row, in order."""
        lengths = real.sum(1)
        ends = lengths.cumsum(0)
        columns = torch.arange(int(lengths.max()), device=real.device)
        inside = columns < lengths[:, None]
        token = ((ends - lengths)[:, None] + columns).masked_fill(~inside, 0) + lead
        return cls(lead, token, inside)


def attend_packed(
    query: Float[Tensor, "1 heads N h"],
    key: Float[Tensor, "1 H N h"],
    value: Float[Tensor, "1 H N h"],
    packing: Packing,
    scaling: float,
    prefix: tuple[Tensor, Tensor] | None = None,
) -> Float[Tensor, "1 N heads h"]:
    """Compute causal attention of packed tokens; ``prefix`` (keys, values; each (1, H, m, h)) precedes all of them."""
    lead = packing.lead
    shared_key, shared_value = key[:, :, :lead], value[:, :, :lead]
    if prefix is not None:
        shared_key, shared_value = torch.cat([prefix[0], shared_key], 2), torch.cat([prefix[1], shared_value], 2)
    rows: Tensor = _RowAttention.apply(  # type: ignore[no-untyped-call]
        query[0, :, lead:], key[0, :, lead:], value[0, :, lead:], shared_key[0], shared_value[0], packing, scaling
    )
    if not lead:
        return rows[None]
    return torch.cat([_attend_shared(query[:, :, :lead], shared_key, shared_value, scaling), rows[None]], 1)


def _attend_shared(query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
    """Return the causal attention of the leading tokens over the prefix and themselves, (1, lead, heads, h)."""
    lead, past, groups = query.shape[2], key.shape[2] - query.shape[2], query.shape[1] // key.shape[1]
    mask = None
    if past:
        mask = query.new_ones(lead, past + lead, dtype=torch.bool).tril(past)
    key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    mixed = F.scaled_dot_product_attention(query, key, value, mask, is_causal=not past, scale=scaling)
    return mixed.transpose(1, 2)


class _RowAttention(torch.autograd.Function):
    """Causal attention of each row over p shared tokens and itself.

    Query heads that share a key head are folded into its rows. Inside, axes are (H, B, G T, keys).
    """

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, shared_key: Tensor, shared_value: Tensor,
        packing: Packing, scaling: float,
    ) -> Tensor:  # fmt: skip
        rows, width = packing.real.shape
        kv_heads, shared, h = shared_key.shape
        groups = len(query) // kv_heads
        numbers, real = (packing.token - packing.lead).view(-1), packing.real.view(-1).nonzero()[:, 0]
        q = query.index_select(1, numbers).view(kv_heads, groups, rows, width, h).transpose(1, 2) * scaling
        q = q.reshape(kv_heads * rows, groups * width, h)
        k, v = (x.index_select(1, numbers).view(kv_heads * rows, width, h) for x in (key, value))
        # Padding stands at the end of a row, so what is hidden from the past is hidden anyway.
        future = torch.ones(width, width, dtype=torch.bool, device=q.device).triu(1)
        own = (q @ k.mT).view(kv_heads * rows, groups, width, width).masked_fill_(future, -torch.inf)
        scores = own.view(kv_heads, -1, width)
        if shared:
            scores = torch.cat([q.view(kv_heads, -1, h) @ shared_key.mT, scores], -1)
        weights = scores.softmax(-1)
        mixed = weights[..., shared:].reshape(kv_heads * rows, -1, width) @ v
        if shared:
            mixed.view(kv_heads, -1, h).baddbmm_(weights[..., :shared], shared_value)
        ctx.save_for_backward(q, k, v, shared_key, shared_value, weights, real)
        ctx.sizes = rows, width, groups, scaling
        return mixed.view(kv_heads, rows, groups, width, h).permute(1, 3, 0, 2, 4).reshape(rows * width, -1, h)[real]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, shared_key, shared_value, weights, real = ctx.saved_tensors
        rows, width, groups, scaling = ctx.sizes
        kv_heads, shared, h = shared_key.shape
        given = gradients[0].new_zeros(rows * width, kv_heads * groups, h).index_copy_(0, real, gradients[0])
        given = (
            given.view(rows, width, kv_heads, groups, h)
            .permute(2, 0, 3, 1, 4)
            .reshape(kv_heads * rows, groups * width, h)
        )
        own = weights[..., shared:].reshape(kv_heads * rows, -1, width)
        slope, d_value = (given @ v.mT).view(kv_heads, -1, width), own.mT @ given
        if shared:
            slope = torch.cat([given.view(kv_heads, -1, h) @ shared_value.mT, slope], -1)
        slope = torch._softmax_backward_data(slope, weights, -1, weights.dtype)
        own = slope[..., shared:].reshape(kv_heads * rows, -1, width)
        d_query, d_key = own @ k, own.mT @ q
        d_shared_key = d_shared_value = None
        if shared:
            d_query.view(kv_heads, -1, h).baddbmm_(slope[..., :shared], shared_key)
            if ctx.needs_input_grad[3]:
                d_shared_key = slope[..., :shared].mT @ q.view(kv_heads, -1, h)
            if ctx.needs_input_grad[4]:
                d_shared_value = weights[..., :shared].mT @ given.view(kv_heads, -1, h)
        d_query = (
            (d_query * scaling).view(kv_heads, rows, groups, width, h).transpose(1, 2).reshape(kv_heads * groups, -1, h)
        )
        d_key, d_value = (x.view(kv_heads, rows * width, h).index_select(1, real) for x in (d_key, d_value))
        return d_query.index_select(1, real), d_key, d_value, d_shared_key, d_shared_value, None, None
