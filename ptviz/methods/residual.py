r"""Residual prompt tuning: every prompt token passes a small bottleneck with a skip connection around it.

.. math:: P'_i = P_i + \phi(P_i), \qquad \phi(x) = \mathrm{LayerNorm}\left(W_{up}\, \mathrm{ReLU}(W_{down}\, x)\right),
          \qquad [\,P';\; X\,]

Razdaibiedina, Mao, Khabsa, Lewis, Hou, Ba and Almahairi, "Residual Prompt Tuning: Improving Prompt Tuning with Residual
Reparameterization", Findings of ACL 2023, section 3. https://aclanthology.org/2023.findings-acl.421

One phi is shared by all tokens; the skip stands outside the LayerNorm; after training only P' is stored. The paper
counts 2 d q + 2 d scalars for phi; the released code's linear layers have biases, which add q + d: we follow the code.
Its two-layer and LSTM variants are broken (tied layers, a branch that falls through) and left out.

Difference: a LayerNorm of gain 1 outputs vectors of length sqrt(d). That is small compared with T5's embeddings, which
the paper uses, but much larger than P on most other backbones. The gain is therefore initialised at the rms of the
frequent words' embeddings; ``gain`` "paper" initialises it at 1, "zero" at 0, where the method starts as prompt tuning.
``skip`` off leaves P' = phi(P), the paper's ablation of the skip connection.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ptviz.methods.base import MethodTensor, PromptMethod, Stage, task_objective
from ptviz.methods.card import MethodCard, ReportedResult
from ptviz.methods.diagram import EncoderOutput, MethodDiagram, Sum, TensorNode
from ptviz.methods.equation_symbols import EquationSymbol
from ptviz.methods.hyperparameters import Hyperparameter, Init, Length, Text
from ptviz.methods.initializers import init_prompt, prompt_embeddings_of
from ptviz.methods.static_prompt import StaticPrompt
from ptviz.prompt import Batch, Prompt, Spec

Bottleneck = Annotated[
    int, Hyperparameter("q", "width between W_down and W_up; the paper sees no gain above 50", 1, 2048)
]
Gain = Annotated[
    Literal["table", "paper", "zero"],
    Hyperparameter("gamma", "initial gain of the LayerNorm: the embeddings' rms, 1 as in the paper, or 0"),
]
Ratio = Annotated[float, Hyperparameter("mlp_lr/lr", "learning rate of phi as a share of the prompt's", 0.0, 10.0)]

Skip = Annotated[
    bool, Hyperparameter("skip", "whether P itself is added; off: the bottleneck alone, an ablation", added_later=True)
]


class Residual(PromptMethod):
    """``P`` (m, d) and the shared ``phi``: W_down (q, d), W_up (d, q) and a LayerNorm."""

    card = MethodCard(
        name="residual",
        title="Residual Prompt Tuning",
        citation="Razdaibiedina et al., Findings of ACL 2023",
        url="https://aclanthology.org/2023.findings-acl.421",
        branch=("direct", "encoder", "token embeddings"),
        equation=r"P'_i = P_i + \mathrm{LayerNorm}(W_{up}\, \mathrm{ReLU}(W_{down}\, P_i)), \quad [P';\; X]",
        idea="Pass each prompt token through a small bottleneck network with a skip connection, which makes learning"
        " rate and initialisation matter less.",
        differs="LayerNorm's gain starts at the size of the backbone's embeddings; the paper's 1 would be too large"
        " for the prompt on backbones other than T5.",
        lesson="Prompt tuning is sensitive: a wrong learning rate or initialisation costs a lot. Here a small"
        " network, the bottleneck, transforms each prompt vector, and its output is added to the vector itself."
        " The bottleneck gives training a second, smoother way to move the prompt; the skip connection makes"
        " sure that nothing is lost. After training the sum is stored, and the network is dropped.",
        suggested_experiment="compare its grid of learning rates and seeds with that of Prompt Tuning.",
        reported_results=(
            ReportedResult(
                "T5-Base on SuperGLUE gains 7 points over prompt tuning with 100 tokens, about 3 with 10.",
                read="summary",
            ),
            ReportedResult(
                "Learning rates from 0.01 to 10 change the score by less than 2 points; prompt tuning is far more"
                " sensitive.",
                read="summary",
            ),
            ReportedResult(
                "Between sampled words and random values as initialisation prompt tuning differs by about 10 points,"
                " the residual prompt hardly.",
                read="summary",
            ),
            ReportedResult(
                "With 5 and 20 examples a class it gains 7 and 2 points over prompt tuning.", read="summary"
            ),
            ReportedResult(
                "A bottleneck wider than 50 gains nothing, and without the skip connection learning is slower than"
                " prompt tuning's.",
                read="summary",
            ),
        ),
        symbols=(
            EquationSymbol("P_i", "prompt token i: a trained vector", "P"),
            EquationSymbol(
                "P'_i", "the token that enters the backbone: the trained vector plus the output of the bottleneck", "P'"
            ),
            EquationSymbol("P'", "the prompt that enters the backbone"),
            EquationSymbol("W_{up}", "trained: back up to the embedding width"),
            EquationSymbol("W_{down}", "trained: down to a narrow width"),
            EquationSymbol(r"\mathrm{LayerNorm}", "brings a vector to a fixed length, times a trained gain"),
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
        skip: Skip = True,
    ) -> None:
        super().__init__()
        self.slots, self.skip = m, skip
        self.P = nn.Parameter(init_prompt(spec, m, init, text))
        self.down = nn.Linear(spec.width, bottleneck)
        self.up = nn.Linear(bottleneck, spec.width)
        self.norm = nn.LayerNorm(spec.width)
        if gain != "paper":
            usual = spec.embedding_table[spec.common_ids].float().pow(2).mean().sqrt()
            with torch.no_grad():
                self.norm.weight.copy_(usual if gain == "table" else torch.zeros(()))
        self.ratio = ratio

    def phi(self) -> Float[Tensor, "m d"]:
        """Return what the bottleneck adds to each prompt token."""
        added: Tensor = self.norm(self.up(self.down(self.P).relu()))
        return added

    def prompt(self) -> Float[Tensor, "m d"]:
        """Return P' = P + phi(P), or phi(P) without the skip connection."""
        return self.P + self.phi() if self.skip else self.phi()

    def init_from_prompt(self, first: Prompt) -> None:
        """Set P to a trained prompt; phi already adds to it unless ``gain`` is "zero"."""
        with torch.no_grad():
            self.P.copy_(prompt_embeddings_of(first, *self.P.shape))

    def forward(self, batch: Batch) -> Prompt:
        """Return P' for every row, batch axis 1."""
        return Prompt(embeddings=self.prompt()[None])

    def stages(self) -> tuple[Stage, ...]:
        """Return one stage; phi may have its own learning rate."""
        shares = dict.fromkeys(("down", "up", "norm"), self.ratio)
        return (Stage("tune", task_objective(self), lr_scales={"P": 1.0, **shares}),)

    def merge(self) -> StaticPrompt:
        """Return P' without phi."""
        return StaticPrompt(self.card, self.slots, self.prompt()[None])

    def stored_parameters(self) -> int:
        """Return the size of P', m d."""
        return self.P.numel()

    def diagram(self) -> MethodDiagram:
        """Return the sum of P and the output of the bottleneck for P."""
        detour = EncoderOutput(TensorNode("P"), ("down", "up", "norm"), "bottleneck")
        note = "one bottleneck, shared by all prompt tokens"
        return MethodDiagram(Sum((TensorNode("P"), detour)) if self.skip else detour, prompt_label="P'", note=note)

    def tensors(self) -> dict[str, MethodTensor]:
        """Return P, phi(P), P' (m, d); W_down (q, d), W_up (d, q), their biases; LayerNorm's gamma and beta (d)."""
        phi = self.phi()
        return {
            "P": MethodTensor(self.P, ("m", "d")),
            "phi(P)": MethodTensor(phi, ("m", "d")),
            "P'": MethodTensor(self.P + phi if self.skip else phi, ("m", "d")),
            "W_down": MethodTensor(self.down.weight, ("q", "d")),
            "b_down": MethodTensor(self.down.bias, ("q",)),
            "W_up": MethodTensor(self.up.weight, ("d", "q")),
            "b_up": MethodTensor(self.up.bias, ("d",)),
            "gamma": MethodTensor(self.norm.weight, ("d",)),
            "beta": MethodTensor(self.norm.bias, ("d",)),
        }
