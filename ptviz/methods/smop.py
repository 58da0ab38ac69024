r"""SMoP: several short prompts, and a router that sends each input to one of them.

.. math:: p = \mathrm{softmax}(L_\mu \bar{x}), \qquad i = \arg\max_j p_j, \qquad [\,p_i P_i;\; X\,]

Choi, Kim, Lee and Lee, "SMoP: Towards Efficient and Effective Prompt Tuning with Sparse Mixture-of-Prompts",
EMNLP 2023, section 3. https://aclanthology.org/2023.emnlp-main.884

The probability scales the prompt, which is the router's only gradient. During training the router's scores are
multiplied by 1 + delta, delta ~ N(0, sigma^2), through which no gradient flows. The released code adds the prompts of
the whole batch for every example (a broadcast over B); here each example gets its own, so it does not depend on its
batch. There is no load-balancing loss, as in the released code. ``top`` above 1 is the paper's ablation: the likeliest
prompts, each scaled by its probability, are added. The released code draws the prompts from N(0, 1) (``init`` normal);
the default here is words, as in Lester, because N(0, 1) is far larger than the embeddings of most backbones.
"""

from __future__ import annotations

from typing import Annotated

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ptviz.methods.base import MethodTensor, PromptMethod
from ptviz.methods.card import MethodCard, ReportedResult
from ptviz.methods.diagram import MethodDiagram, RouterOutput, TensorNode
from ptviz.methods.equation_symbols import EquationSymbol
from ptviz.methods.hyperparameters import Experts, Hyperparameter, Init, Length, Text
from ptviz.methods.initializers import init_prompt
from ptviz.prompt import Batch, Prompt, Spec

Noise = Annotated[
    float,
    Hyperparameter("sigma", "relative noise on the router's scores while training", 0.0, 5.0, affects_routing=True),
]
TopExperts = Annotated[
    int, Hyperparameter("top", "experts per input, each at its probability", 1, 32, affects_routing=True)
]


class SMoP(PromptMethod):
    """``P`` of shape (k, m, d) and a router ``L`` of shape (k, d) without bias."""

    card = MethodCard(
        name="smop",
        title="SMoP",
        citation="Choi et al., EMNLP 2023",
        url="https://aclanthology.org/2023.emnlp-main.884",
        branch=("direct", "mixture of experts", "selection"),
        equation=r"p = \mathrm{softmax}(L_\mu \bar{x}), \quad i = \arg\max_j p_j, \quad [p_i P_i;\; X]",
        idea="Keep k short prompts; a small router reads the text and picks the one that suits it.",
        differs="Each example is routed by itself; the released code mixes the prompts of the whole batch, and"
        " starts them from random values where ours start from sampled words.",
        lesson="One prompt has to suit every input. SMoP keeps k short ones instead, and a router: a small matrix"
        " that looks at the mean of the text's vectors and picks the prompt to use. The probability of this"
        " choice scales the prompt, so that the router can learn whether the choice was good. During training,"
        " noise on its scores makes sure that every prompt gets some inputs.",
        suggested_experiment="look at a run on the page Routing: which classes go to which prompt?",
        reported_results=(
            ReportedResult(
                "On SuperGLUE it gains 2.5 points over prompt tuning with T5-Base and 3.4 with T5-Large.",
                read="summary",
            ),
            ReportedResult(
                "Training takes 14.6% less time and 22.9% less memory, inference 27.2% fewer operations, because"
                " its prompts are shorter.",
                read="summary",
            ),
            ReportedResult(
                "Question answering with Llama-3.2: F1 56.25 against prompt tuning's 56.77 at 1 billion parameters,"
                " 69.61 against 66.43 at 3 billion.",
                by="Li, Su and Collier 2025 (PT-MoE)",
            ),
        ),
        symbols=(
            EquationSymbol("p", "the router's shares of the experts"),
            EquationSymbol("p_i", "the share of the selected expert: it scales its prompt"),
            EquationSymbol("p_j", "the router's share of expert j"),
            EquationSymbol(r"L_\mu", "the router's matrix, trained", "L"),
            EquationSymbol("i", "the selected expert"),
            EquationSymbol("j", "any expert"),
            EquationSymbol("P_i", "the short prompt of the selected expert", "P"),
        ),
    )

    def __init__(
        self,
        spec: Spec,
        m: Length = 5,
        k: Experts = 4,
        sigma: Noise = 1.0,
        top: TopExperts = 1,
        init: Init = "vocabulary",
        text: Text = "",
    ) -> None:
        super().__init__()
        self.slots = m
        self.P = nn.Parameter(torch.stack([init_prompt(spec, m, init, text) for _ in range(k)]))
        self.L = nn.Linear(spec.width, k, bias=False)
        if not self.L.weight.is_meta:
            nn.init.orthogonal_(self.L.weight)
        self.sigma = sigma
        self.top = min(top, k)
        self.soft_routing = self.top == k > 1

    def routing_weights(self, batch: Batch) -> Float[Tensor, "B k"]:
        """Return the routing probabilities of each input; with noise during training."""
        scores: Tensor = self.L(batch.mean_embedding())
        if self.training:
            # As in the released code, the noise is scaled by the scores and passes no gradient on to them.
            scores = scores + self.sigma * torch.randn_like(scores) * scores.detach()
        return scores.softmax(-1)

    def forward(self, batch: Batch) -> Prompt:
        """Return the most likely prompt of each row, scaled by its probability."""
        return self.prompt_for(batch, self.routing_weights(batch))

    def prompt_for(self, batch: Batch, routing: Float[Tensor, "B k"]) -> Prompt:
        """Return the prompt of each row for other probabilities."""
        probabilities, experts = routing.topk(self.top, -1)
        return Prompt(embeddings=(probabilities[..., None, None] * self.P[experts]).sum(1), routing=routing)

    def diagram(self) -> MethodDiagram:
        """Return one P_i for each input, or the most likely few."""
        selected = RouterOutput((TensorNode("P"),), ("L",), "one" if self.top == 1 else "some")
        return MethodDiagram(selected, prompt_label="P(x)", note="the router's probability scales the prompt")

    def tensors(self) -> dict[str, MethodTensor]:
        """Return P (k, m, d) and the router L (k, d)."""
        return {"P": MethodTensor(self.P, ("k", "m", "d")), "L": MethodTensor(self.L.weight, ("k", "d"))}
