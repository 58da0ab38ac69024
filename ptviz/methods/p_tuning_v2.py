r"""P-Tuning v2: free keys and values in front of every attention site.

.. math:: \mathrm{Attn}(Q, [K_P; K], [V_P; V]) \quad \text{at every layer}, \qquad K_P, V_P \in \mathbb{R}^{m \times Hh}

Liu, Ji, Fu, Tam, Du, Yang and Tang, "P-Tuning v2: Prompt Tuning Can Be Comparable to Fine-tuning Universally Across
Scales and Tasks", ACL 2022, section 3. https://aclanthology.org/2022.acl-short.8

The released code also trains a linear head; here label words are read out, as for every other method, so only KV is
trained. N(0, 0.02^2) is the initialisation that the released code has in effect; dropout on KV is 0.1 as in its
scripts, with a mask for each example. The prefix counts as m past positions, on encoders too: the text begins at
position m, as in the released code.

``layers`` gives only some attention sites a prefix (section 4.3); the released code has no option for it. The text
begins at position m in any case. Ours: keys and values that start as those of real words, as for prefix tuning.
"""

from __future__ import annotations

import torch
from torch import nn

from ptviz.methods.base import MethodTensor, PromptMethod
from ptviz.methods.card import MethodCard, ReportedResult
from ptviz.methods.diagram import MethodDiagram, TensorNode
from ptviz.methods.equation_symbols import EquationSymbol
from ptviz.methods.hyperparameters import Length
from ptviz.methods.initializers import key_values_of, key_values_of_words
from ptviz.methods.key_value_dropout import Dropout, drop_per_example
from ptviz.methods.key_value_init import KeyValueInit, KeyValueText
from ptviz.methods.prefix_sites import Layers, PrefixSites
from ptviz.prompt import Batch, Prompt, Spec


class PTuningV2(PromptMethod):
    """``KV`` of shape (S, 2, H, m, h): a key and a value per prompt token at every site, or at the chosen ones (s)."""

    card = MethodCard(
        name="p-tuning-v2",
        title="P-Tuning v2",
        citation="Liu et al., ACL 2022",
        url="https://aclanthology.org/2022.acl-short.8",
        branch=("direct", "general", "KV values"),
        equation=r"\mathrm{Attn}(Q, [K_P; K], [V_P; V]) \text{ at every layer},"
        r" \quad K_P, V_P \in \mathbb{R}^{m \times Hh}",
        idea="Do not touch the input: give every attention layer m extra keys and values to look at, and train those.",
        differs="No trained classification head: the label words are read out, as for every other method. A start from"
        " the keys and values of real words is ours.",
        lesson="Inside the model, every layer lets the words look at one another: each word offers a key to be found"
        " by and a value to be taken. P-Tuning v2 gives every layer m more keys and values, which are trained,"
        " and leaves the input alone. So the prompt acts at every depth and not only at the input, at the"
        " cost of more trained parameters.",
        suggested_experiment="compare it with Prompt Tuning with the same number of prompt tokens.",
        reported_results=(
            ReportedResult(
                "With a fixed number of prompted layers, deep ones perform better than shallow ones: on RTE layers"
                " 17 to 24 of 24 do about as well as all.",
                read="summary",
            ),
            ReportedResult(
                "Fewer than 20 tokens suffice for easy classification; labelling every word wants about 100.",
                read="summary",
            ),
            ReportedResult(
                "Writing the keys and values with an MLP helps on some tasks (RTE) and not on others (BoolQ).",
                read="summary",
            ),
            ReportedResult(
                "With RoBERTa-large: BoolQ 84.0, RTE 86.6, WiC 73.7% accuracy.", where="README", read="code"
            ),
        ),
        symbols=(
            EquationSymbol("K_P", "the trained keys, in front of the text's own at every layer", "KV"),
            EquationSymbol("V_P", "the trained values, in front of the text's own at every layer", "KV"),
            EquationSymbol("H", "key and value heads"),
            EquationSymbol("h", "width of a head"),
        ),
    )
    slots = 0

    def __init__(
        self,
        spec: Spec,
        m: Length = 20,
        dropout: Dropout = 0.1,
        layers: Layers = "all",
        init: KeyValueInit = "random",
        text: KeyValueText = "",
    ) -> None:
        super().__init__()
        self.sites = PrefixSites(layers, spec.sites)
        if init == "random":
            first = 0.02 * torch.randn(len(self.sites), 2, spec.heads, m, spec.head_width)
        else:
            first = key_values_of_words(spec, m, init, text)[self.sites.chosen]
        self.KV = nn.Parameter(first)
        self.dropout = nn.Dropout(dropout)

    def init_from_prompt(self, first: Prompt) -> None:
        """Set KV to trained keys and values."""
        with torch.no_grad():
            whole = key_values_of(first, (self.sites.sites, *self.KV.shape[1:]))
            self.KV.copy_(whole[self.sites.chosen.to(whole.device)])

    def forward(self, batch: Batch) -> Prompt:
        """Return KV for every row, batch axis 1; with dropout, one for each row."""
        dropped = drop_per_example(self.KV, self.dropout, len(batch))
        return Prompt(key_values=self.sites.spread(dropped), sites=self.sites.marks)

    def diagram(self) -> MethodDiagram:
        """Return KV at the chosen sites."""
        note = "" if self.sites.marks is None else f"keys and values at {len(self.sites)} of {self.sites.sites} sites"
        return MethodDiagram(key_values=TensorNode("KV"), note=note)

    def tensors(self) -> dict[str, MethodTensor]:
        """Return KV (S, kv, H, m, h), or with some sites only (s, kv, H, m, h)."""
        return {"KV": MethodTensor(self.KV, (self.sites.axis, "kv", "H", "m", "h"))}
