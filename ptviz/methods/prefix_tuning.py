r"""Prefix tuning: keys and values in front of every attention site, written by an MLP while they are trained.

.. math:: P_\theta[i,:] = \mathrm{MLP}_\theta(P'_\theta[i,:]) = W_2 \tanh(W_1 P'_i + b_1) + b_2
          \;\in \mathbb{R}^{S \cdot 2 \cdot H h}, \qquad
          \mathrm{Attn}(Q, [K_P; K], [V_P; V]) \quad \text{at every layer}

Li and Liang, "Prefix-Tuning: Optimizing Continuous Prompts for Generation", ACL 2021, section 4.
https://aclanthology.org/2021.acl-long.353

The MLP reads P', never the input: the prefix is the same for every text (the survey's figure shows the input as well).
After training only the keys and values are stored, as in the paper; the released code stores the MLP as well.
For encoder-decoders the released code trains three MLPs, for self-attention on both sides and cross-attention; here one
MLP writes all sites. Li and Liang train with a language-model loss on generation; here label words are read out, as
for every other method.

With few examples they start from the activations of real words (section 7.4): their code fits the MLP to them by 500
steps of Adam. Here W_2 is the exact solution of least norm instead, for the initial P' and W_1. ``layers`` gives only
some attention sites a prefix; the paper prompts all.
"""

from __future__ import annotations

import math
from typing import Annotated

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ptviz.methods.base import MethodTensor, PromptMethod
from ptviz.methods.card import MethodCard, ReportedResult
from ptviz.methods.diagram import EncoderOutput, MethodDiagram, TensorNode
from ptviz.methods.equation_symbols import EquationSymbol
from ptviz.methods.hyperparameters import Hyperparameter, Length
from ptviz.methods.initializers import key_values_of_words
from ptviz.methods.key_value_dropout import Dropout, drop_per_example
from ptviz.methods.key_value_init import KeyValueInit, KeyValueText
from ptviz.methods.prefix_sites import Layers, PrefixSites
from ptviz.methods.static_prompt import StaticPrompt
from ptviz.prompt import Batch, Prompt, Spec

Hidden = Annotated[
    int, Hyperparameter("q", "width of the MLP; the paper's is 512 for tables, 800 for summaries", 1, 2048)
]


class PrefixTuning(PromptMethod):
    """``P'`` (m, d) and an MLP of width q that writes ``KV`` (S, 2, H, m, h) from it, or (s, ...) for chosen sites."""

    card = MethodCard(
        name="prefix-tuning",
        title="Prefix Tuning",
        citation="Li and Liang, ACL 2021",
        url="https://aclanthology.org/2021.acl-long.353",
        branch=("direct", "encoder", "KV values"),
        equation=r"P_\theta[i,:] = \mathrm{MLP}_\theta(P'_\theta[i,:]),"
        r" \quad \mathrm{Attn}(Q, [K_P; K], [V_P; V]) \text{ at every layer}",
        idea="Compute extra keys and values for every layer from m small vectors with an MLP, which stabilises"
        " training; store only its output.",
        differs="One MLP for all attention sites, also of an encoder-decoder (the code has three there). The encoder is"
        " not fed by the input, whatever the survey's drawing suggests. A start from real words solves for the last"
        " layer of the MLP, where the code fits all of it by gradient descent; a prefix at some layers only is ours.",
        lesson="Extra keys and values stand in front of those of the text in every layer, so that each word can look"
        " at them. Training so many parameters directly is unstable. So each prefix token has one short vector, and"
        " a network writes all its keys and values from it. The network reads these vectors alone and never"
        " the text: the prefix is the same for every input. Afterwards only its output is stored.",
        suggested_experiment="compare it with P-Tuning v2, which trains its keys and values directly.",
        reported_results=(
            ReportedResult(
                "Table to text (E2E, GPT-2 medium): BLEU 69.7 from 0.1% of the parameters; 68.2 for tuning all.",
            ),
            ReportedResult(
                "A prefix at every layer (69.7) beats infixes (66.7 to 67.9), which beat trained input vectors"
                " alone (48.1 to 62.2).",
            ),
            ReportedResult("With 50 to 500 examples it gains 2.9 BLEU over tuning the model, on average."),
            ReportedResult(
                "It falls behind on summaries of long texts: ROUGE-L 36.05 with 2% of the parameters against 37.25"
                " (XSUM, BART-large).",
            ),
            ReportedResult(
                "About 10 tokens are best for table to text, about 200 for summaries; with little data real words"
                " are a much better initialisation than random values.",
            ),
        ),
        symbols=(
            EquationSymbol(r"P_\theta", "keys and values of every prefix token at every layer", "KV"),
            EquationSymbol(r"P'_\theta", "a small trained vector for every prefix token", "P'"),
            EquationSymbol(
                r"\mathrm{MLP}_\theta",
                "a trained network that writes them; it never sees the text, and is dropped after training",
            ),
            EquationSymbol("i", "a prefix token"),
            EquationSymbol("K_P", "the prefix's keys, in front of the text's own at every layer", "KV"),
            EquationSymbol("V_P", "the prefix's values, in front of the text's own at every layer", "KV"),
        ),
    )
    slots = 0

    def __init__(
        self,
        spec: Spec,
        m: Length = 10,
        hidden: Hidden = 512,
        dropout: Dropout = 0.0,
        layers: Layers = "all",
        init: KeyValueInit = "random",
        text: KeyValueText = "",
    ) -> None:
        super().__init__()
        self.sites = PrefixSites(layers, spec.sites)
        self.P = nn.Parameter(torch.randn(m, spec.width))
        self.shape = (len(self.sites), 2, spec.heads, spec.head_width)
        self.W_1 = nn.Linear(spec.width, hidden)
        self.W_2 = nn.Linear(hidden, math.prod(self.shape))
        self.dropout = nn.Dropout(dropout)
        if init != "random":
            if hidden < m:
                raise ValueError(f"init {init!r} needs an MLP at least as wide as m; got q {hidden} and m {m}")
            words = key_values_of_words(spec, m, init, text)
            if not self.P.is_meta:
                self._fit(words[self.sites.chosen])

    @torch.no_grad()
    def _fit(self, words: Float[Tensor, "s 2 H m h"]) -> None:
        """Set W_2 so that the MLP writes these keys and values."""
        rows = words.permute(3, 0, 1, 2, 4).flatten(1) - self.W_2.bias
        written = self.W_1(self.P).tanh()
        self.W_2.weight.copy_(torch.linalg.lstsq(written.double(), rows.double(), driver="gelsd").solution.T)

    def prefix(self) -> Float[Tensor, "s 2 H m h"]:
        """Return KV: each token's row of the MLP's output, split into sites, key and value, and heads."""
        rows: Tensor = self.W_2(self.W_1(self.P).tanh())
        return rows.reshape(len(self.P), *self.shape).permute(1, 2, 3, 0, 4)

    def forward(self, batch: Batch) -> Prompt:
        """Return KV for every row, batch axis 1; with dropout, one for each row."""
        dropped = drop_per_example(self.prefix(), self.dropout, len(batch))
        return Prompt(key_values=self.sites.spread(dropped), sites=self.sites.marks)

    def merge(self) -> StaticPrompt:
        """Return the keys and values without P' and the MLP: a P-Tuning v2."""
        whole = self.sites.spread(self.prefix()[:, :, None])
        return StaticPrompt(self.card, self.slots, key_values=whole, sites=self.sites.marks)

    def stored_parameters(self) -> int:
        """Return the size of KV, 2 s m H h for s sites with a prefix."""
        return len(self.P) * math.prod(self.shape)

    def diagram(self) -> MethodDiagram:
        """Return P' through the MLP; the text is not an input, although the survey's figure shows it."""
        note = "the text is not an input of the encoder, although the survey's figure shows it"
        return MethodDiagram(key_values=EncoderOutput(TensorNode("P'"), ("W_1", "W_2"), "MLP"), note=note)

    def tensors(self) -> dict[str, MethodTensor]:
        """Return P' (m, d), KV (S, kv, H, m, h), W_1 (q, d), b_1 (q), W_2 and b_2 by site, kv, head and h.

        With some sites only, their axis is s.
        """
        axis = self.sites.axis
        return {
            "P'": MethodTensor(self.P, ("m", "d")),
            "KV": MethodTensor(self.prefix(), (axis, "kv", "H", "m", "h")),
            "W_1": MethodTensor(self.W_1.weight, ("q", "d")),
            "b_1": MethodTensor(self.W_1.bias, ("q",)),
            "W_2": MethodTensor(self.W_2.weight.reshape(*self.shape, -1), (axis, "kv", "H", "h", "q")),
            "b_2": MethodTensor(self.W_2.bias.reshape(self.shape), (axis, "kv", "H", "h")),
        }
