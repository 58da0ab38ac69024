r"""Residual prompt tuning: every prompt token passes a small bottleneck with a skip connection around it.

.. math:: P'_i = P_i + \phi(P_i), \qquad \phi(x) = \mathrm{LayerNorm}\left(W_{up}\, \mathrm{ReLU}(W_{down}\, x)\right),
          \qquad [\,P';\; X\,]

Razdaibiedina, Mao, Khabsa, Lewis, Hou, Ba and Almahairi, "Residual Prompt Tuning: Improving Prompt Tuning with Residual
Reparameterization", Findings of ACL 2023, section 3. https://aclanthology.org/2023.findings-acl.421

One phi is shared by all tokens; the skip stands outside the LayerNorm; after training only P' is kept. The paper counts
2 d q + 2 d scalars for phi; the released code's linear layers have biases, which add q + d: we follow the code. Its
two-layer and LSTM variants are broken (tied layers, a branch that falls through) and left out.

Ours: a LayerNorm of gain 1 emits vectors of length sqrt(d). That is little beside T5's embeddings, the paper's, but
drowns P beside those of most other backbones. The gain therefore starts at the rms of the frequent words' embeddings;
``gain`` "paper" starts it at 1, "zero" at 0, where the method starts as prompt tuning.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ptviz.methods.base import Card, Claim, Part, PromptMethod, Stage, fit
from ptviz.methods.diagram import Anatomy, Encoded, Sum, Symbol
from ptviz.methods.glossary import Term
from ptviz.methods.hyperparameters import Init, Knob, Length, Text
from ptviz.methods.initializers import given, start
from ptviz.methods.static_prompt import Folded
from ptviz.prompt import Batch, Prompt, Spec

Bottleneck = Annotated[int, Knob("q", "width between W_down and W_up; the paper sees no gain above 50", 1, 2048)]
Gain = Annotated[
    Literal["table", "paper", "zero"],
    Knob("gamma", "where LayerNorm's gain starts: the embeddings' rms, 1 as in the paper, or 0"),
]
Ratio = Annotated[float, Knob("mlp_lr/lr", "learning rate of phi as a share of the prompt's", 0.0, 10.0)]


class Residual(PromptMethod):
    """``P`` (m, d) and the shared ``phi``: W_down (q, d), W_up (d, q) and a LayerNorm."""

    card = Card(
        name="residual",
        title="Residual Prompt Tuning",
        citation="Razdaibiedina et al., Findings of ACL 2023",
        url="https://aclanthology.org/2023.findings-acl.421",
        branch=("direct", "encoder", "token embeddings"),
        equation=r"P'_i = P_i + \mathrm{LayerNorm}(W_{up}\, \mathrm{ReLU}(W_{down}\, P_i)), \quad [P';\; X]",
        idea="Train each prompt token together with a small detour around it, which makes learning rate and start"
        " matter less.",
        differs="LayerNorm's gain starts at the size of the backbone's embeddings; at the paper's 1 it would drown the"
        " prompt on backbones other than T5.",
        lesson="Prompt tuning is touchy: a wrong learning rate or an unlucky start costs a lot. Here a small"
        " network, the bottleneck, makes something of each prompt vector, and that is added to the vector"
        " itself. The detour gives training a second, smoother way to move the prompt; the direct way makes"
        " sure that nothing is lost. After training both are added up once and for all, and the network is"
        " dropped.",
        tries="open the stability grid of a race, learning rates against seeds, for this method and for Prompt Tuning.",
        claims=(
            Claim(
                "T5-Base on SuperGLUE gains 7 points over prompt tuning with 100 tokens, about 3 with 10.",
                read="summary",
            ),
            Claim(
                "Learning rates from 0.01 to 10 change the score by less than 2 points; prompt tuning is far more"
                " sensitive.",
                read="summary",
            ),
            Claim(
                "Between sampled words and random numbers as a start prompt tuning differs by about 10 points, the"
                " residual prompt hardly.",
                read="summary",
            ),
            Claim("With 5 and 20 examples a class it gains 7 and 2 points over prompt tuning.", read="summary"),
            Claim(
                "A wider detour than 50 gains nothing, and without the skip connection learning is slower than"
                " prompt tuning's.",
                read="summary",
            ),
        ),
        terms=(
            Term("P_i", "prompt token i: a trained vector", "P"),
            Term("P'_i", "the token that enters the backbone: the trained vector plus its detour", "P'"),
            Term("P'", "the prompt that enters the backbone"),
            Term("W_{up}", "trained: back up to the embedding width"),
            Term("W_{down}", "trained: down to a narrow width"),
            Term(r"\mathrm{LayerNorm}", "brings a vector to a fixed length, times a trained gain"),
        ),
    )

    def __init__(
        self,
        spec: Spec,
        m: Length = 10,
        bottleneck: Bottleneck = 64,
        gain: Gain = "table",
        ratio: Ratio = 1.0,
        init: Init = "vocabulary",
        text: Text = "",
    ) -> None:
        super().__init__()
        self.slots = m
        self.P = nn.Parameter(start(spec, m, init, text))
        self.down = nn.Linear(spec.width, bottleneck)
        self.up = nn.Linear(bottleneck, spec.width)
        self.norm = nn.LayerNorm(spec.width)
        if gain != "paper":
            usual = spec.table[spec.common].float().pow(2).mean().sqrt()
            with torch.no_grad():
                self.norm.weight.copy_(usual if gain == "table" else torch.zeros(()))
        self.ratio = ratio

    def phi(self) -> Float[Tensor, "m d"]:
        """What the detour adds to each prompt token."""
        added: Tensor = self.norm(self.up(self.down(self.P).relu()))
        return added

    def begin_with(self, first: Prompt) -> None:
        """P is the prompt that was trained before; phi adds to it at once unless ``gain`` is "zero"."""
        with torch.no_grad():
            self.P.copy_(given(first, *self.P.shape))

    def forward(self, batch: Batch) -> Prompt:
        """P' = P + phi(P) for every row, batch axis 1."""
        return Prompt(embeddings=(self.P + self.phi())[None])

    def stages(self) -> tuple[Stage, ...]:
        """One stage; phi may have a rate of its own."""
        shares = dict.fromkeys(("down", "up", "norm"), self.ratio)
        return (Stage("tune", fit(self), trains={"P": 1.0, **shares}),)

    def fold(self) -> Folded:
        """P' alone, without phi."""
        return Folded(self.card, self.slots, (self.P + self.phi())[None])

    def stored(self) -> int:
        """P': m d."""
        return self.P.numel()

    def anatomy(self) -> Anatomy:
        """P, and what the detour makes of the same P."""
        detour = Encoded(Symbol("P"), ("down", "up", "norm"), "bottleneck")
        return Anatomy(Sum((Symbol("P"), detour)), called="P'", remark="one bottleneck, shared by all prompt tokens")

    def parts(self) -> dict[str, Part]:
        """P, phi(P) and P' (m, d); W_down (q, d), W_up (d, q), their biases, and LayerNorm's gamma and beta (d)."""
        phi = self.phi()
        return {
            "P": Part(self.P, ("m", "d")),
            "phi(P)": Part(phi, ("m", "d")),
            "P'": Part(self.P + phi, ("m", "d")),
            "W_down": Part(self.down.weight, ("q", "d")),
            "b_down": Part(self.down.bias, ("q",)),
            "W_up": Part(self.up.weight, ("d", "q")),
            "b_up": Part(self.up.bias, ("d",)),
            "gamma": Part(self.norm.weight, ("d",)),
            "beta": Part(self.norm.bias, ("d",)),
        }
