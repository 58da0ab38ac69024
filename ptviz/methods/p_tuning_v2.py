r"""P-tuning v2: free keys and values in front of every attention site.

.. math:: \mathrm{Attn}(Q, [K_P; K], [V_P; V]) \quad \text{at every layer}, \qquad K_P, V_P \in \mathbb{R}^{m \times Hh}

Liu, Ji, Fu, Tam, Du, Yang and Tang, "P-Tuning v2: Prompt Tuning Can Be Comparable to Fine-tuning Universally Across
Scales and Tasks", ACL 2022, section 3. https://aclanthology.org/2022.acl-short.8

The released code trains a linear head beside the prefix; here label words are read out instead, as for every other
method, so only KV trains. N(0, 0.02^2) is the start that the released code has in effect; dropout on KV is the
scripts' 0.1.
"""

from __future__ import annotations

from typing import Annotated

import torch
from torch import nn

from ptviz.methods.base import Card, Part, PromptMethod
from ptviz.methods.knobs import Knob, Length
from ptviz.prompt import Batch, Prompt, Spec

Dropout = Annotated[float, Knob("dropout", "share of key and value entries dropped while training", 0.0, 0.9)]


class PTuningV2(PromptMethod):
    """``KV`` of shape (S, 2, H, m, h): a key and a value per prompt token at every site."""

    card = Card(
        name="p-tuning-v2",
        title="P-Tuning v2",
        citation="Liu et al., ACL 2022",
        url="https://aclanthology.org/2022.acl-short.8",
        branch=("direct", "general", "KV values"),
        equation=r"\mathrm{Attn}(Q, [K_P; K], [V_P; V]) \text{ at every layer},"
        r" \quad K_P, V_P \in \mathbb{R}^{m \times Hh}",
        idea="Do not touch the input: give every attention layer m extra keys and values to look at, and train those.",
        differs="No trained classification head: the label words are read out, as for every other method.",
    )
    slots = 0

    def __init__(self, spec: Spec, m: Length = 20, dropout: Dropout = 0.1) -> None:
        super().__init__()
        self.KV = nn.Parameter(0.02 * torch.randn(spec.sites, 2, spec.heads, m, spec.head_width))
        self.dropout = nn.Dropout(dropout)

    def forward(self, batch: Batch) -> Prompt:
        """KV for every row, batch axis 1."""
        return Prompt(key_values=self.dropout(self.KV)[:, :, None])

    def parts(self) -> dict[str, Part]:
        """KV (S, kv, H, m, h)."""
        return {"KV": Part(self.KV, ("S", "kv", "H", "m", "h"))}
