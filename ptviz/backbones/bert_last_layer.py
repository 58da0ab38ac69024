"""A BERT whose last layer runs only at the columns that are read.

In the last layer every column needs keys and values, but queries, output projection and feed-forward block matter only
at the columns that the read-out uses, which are never prompt slots. The result is the same.
"""

from __future__ import annotations

from typing import Any

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ptviz.backbones.prompt_attention import attend

SUPPORTED_FAMILIES = ("bert",)
"""Families whose layers have this structure."""


def encode_columns(
    trunk: Any,
    x: Float[Tensor, "B T d"],
    mask: Bool[Tensor, "B T"],
    positions: Int[Tensor, "B T"],
    columns: Int[Tensor, " R"],
    **keywords: Any,
) -> Float[Tensor, "B R d"]:
    """Return the last hidden states of ``columns`` for inputs that are already embedded and filled."""
    hidden = trunk.embeddings(inputs_embeds=x, position_ids=positions)
    visible = None if bool(mask.all()) else mask[:, None, None, :].expand(-1, 1, x.shape[1], -1)
    *layers, last = trunk.encoder.layer
    for layer in layers:
        hidden = layer(hidden, visible, **keywords)
    site, asked = last.attention.self, hidden[:, columns]

    def heads(project: nn.Module, source: Tensor) -> Tensor:
        projected: Tensor = project(source)
        return projected.view(*source.shape[:2], -1, site.attention_head_size).transpose(1, 2)

    visible = None if visible is None else visible[:, :, :1].expand(-1, 1, len(columns), -1)
    mixed, _ = attend(
        site, heads(site.query, asked), heads(site.key, hidden), heads(site.value, hidden), visible,
        scaling=site.scaling, **keywords,
    )  # fmt: skip
    found: Tensor = last.feed_forward_chunk(last.attention.output(mixed.flatten(2), asked))
    return found
