r"""PT-MoE: decomposed prompts as experts that share their wide factor, and a router that selects one per input.

.. math:: P = \sum_i w_i A_i B, \qquad w = \mathrm{softmax}(l) \odot \mathbb{1}[\arg\max l], \qquad l = W \bar{x} + b

Li, Su and Collier, "PT-MoE: An Efficient Finetuning Framework for Integrating Mixture-of-Experts into Prompt Tuning",
NeurIPS 2025, section 3. https://arxiv.org/abs/2505.09519

While training, the scores l are multiplied by 1 + epsilon, epsilon ~ N(0, sigma^2). With E = U S V^T the start of the
prompt, every A_i starts as U_r S_r^(1/2) and B as S_r^(1/2) V_r^T: all experts are equal, and only their
inputs make them differ. No load-balancing loss, as in the paper.

``selection`` is the paper's ablation: "probationary" (its choice: the most likely expert, scaled by its probability),
"hard" (the most likely expert at weight 1) and "soft" (every expert at its probability). The paper calls the selection
straight-through, and there is no code to compare with: here no straight-through gradient is used, so with "hard" the
router gets no gradient and does not change.

Our choices: E consists of sampled words unless a text is given (the paper embeds a task instruction); the router is
initialised orthogonal and b at 0, as in SMoP, since the paper does not say; singular values of 0 (a repeated text) give
a column of 0 in A and a random row in B, so that these directions can be trained.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ptviz.methods.base import MethodTensor, PromptMethod
from ptviz.methods.card import MethodCard, ReportedResult
from ptviz.methods.diagram import MatrixProduct, MethodDiagram, RouterOutput, TensorNode
from ptviz.methods.equation_symbols import EquationSymbol
from ptviz.methods.hyperparameters import Experts, Hyperparameter, Init, Length, Rank, Text
from ptviz.methods.initializers import init_prompt, svd_factors
from ptviz.prompt import Batch, Prompt, Spec

Noise = Annotated[
    float,
    Hyperparameter("sigma", "relative noise on the router's scores while training", 0.0, 5.0, affects_routing=True),
]
Selection = Annotated[
    Literal["probationary", "hard", "soft"],
    Hyperparameter(
        "w",
        "one expert at its probability, one expert at weight 1, or all at their probabilities",
        affects_routing=True,
    ),
]


class PTMoE(PromptMethod):
    """``A`` (k, m, r) with one shared ``B`` (r, d), and a router ``W`` (k, d) with bias ``b`` (k)."""

    card = MethodCard(
        name="pt-moe",
        title="PT-MoE",
        citation="Li, Su and Collier, NeurIPS 2025",
        url="https://arxiv.org/abs/2505.09519",
        branch=("direct", "mixture of experts", "selection and efficiency"),
        equation=r"P = \sum_i w_i A_i B, \quad w = \mathrm{softmax}(l) \odot \mathbb{1}[\arg\max l],"
        r" \quad l = W \bar{x} + b",
        idea="Give each input its own decomposed prompt: the tall factors are experts, the wide factor is shared.",
        differs="Starts from sampled words unless a text is given. Only the probability trains the router: there is no"
        " straight-through gradient.",
        lesson="PT-MoE joins two ideas: a prompt as the product of two thin factors, and a router that selects by the"
        " text. The tall factors are the experts, one of which is selected for each text; the wide factor is"
        " shared by all of them. So another expert costs next to nothing, and what experts have in common is"
        " learned from every example.",
        suggested_experiment=("set k to 1: it becomes decomposed prompt tuning. Does the router help on your task?"),
        reported_results=(
            ReportedResult(
                "Llama-3.2-1B, 80 thousand parameters: F1 58.26 on question answering (prompt tuning 56.77) and"
                " 56.91% on mathematics (46.16%).",
            ),
            ReportedResult(
                "With 1 billion parameters decomposition and routing are each below prompt tuning alone (F1 55.77 and"
                " 56.25), and above it together; with 3 billion routing alone is above it, too.",
            ),
            ReportedResult(
                "Selecting one expert and scaling it by its probability (F1 60.66) beats mixing all (59.24) and"
                " selecting without scaling (58.78).",
            ),
            ReportedResult("A single expert is worst (F1 58.90); 40 prompt tokens are best."),
        ),
        symbols=(
            EquationSymbol("P", "the prompt for one text"),
            EquationSymbol("A_i", "expert i's own tall factor, trained", "A"),
            EquationSymbol("B", "the wide factor that all experts share, trained"),
            EquationSymbol("w_i", "the weight of expert i: its probability if it was selected, else 0"),
            EquationSymbol("w", "the weight of each expert"),
            EquationSymbol("i", "an expert"),
            EquationSymbol("l", "the router's scores of the experts"),
            EquationSymbol("W", "the router's matrix, trained"),
            EquationSymbol("b", "the router's offsets, trained"),
        ),
    )

    def __init__(
        self,
        spec: Spec,
        m: Length = 10,
        r: Rank = 4,
        k: Experts = 2,
        sigma: Noise = 0.01,
        selection: Selection = "probationary",
        init: Init = "vocabulary",
        text: Text = "",
    ) -> None:
        super().__init__()
        self.slots = m
        A, B = svd_factors(init_prompt(spec, m, init, text), r)
        self.A = nn.Parameter(A.repeat(k, 1, 1))
        self.B = nn.Parameter(B)
        self.router = nn.Linear(spec.width, k)
        if not self.router.weight.is_meta:
            nn.init.orthogonal_(self.router.weight)
        nn.init.zeros_(self.router.bias)
        self.sigma = sigma
        self.selection = selection
        self.soft_routing = selection == "soft"

    def routing_weights(self, batch: Batch) -> Float[Tensor, "B k"]:
        """Return the routing probabilities of each input; with noise during training."""
        scores: Tensor = self.router(batch.mean_embedding())
        if self.training:
            scores = scores * (1 + self.sigma * torch.randn_like(scores))
        return scores.softmax(-1)

    def expert_weights(self, routing: Float[Tensor, "B k"]) -> Float[Tensor, "B k"]:
        """Return w, the weight of each expert."""
        if self.selection == "soft":
            return routing
        chosen = torch.zeros_like(routing).scatter(1, routing.argmax(-1, keepdim=True), 1.0)
        return chosen if self.selection == "hard" else routing * chosen

    def forward(self, batch: Batch) -> Prompt:
        """Return the weighted sum of A_i B for each row."""
        return self.prompt_for(batch, self.routing_weights(batch))

    def prompt_for(self, batch: Batch, routing: Float[Tensor, "B k"]) -> Prompt:
        """Return the weighted sum for other probabilities."""
        A = torch.einsum("bk,kmr->bmr", self.expert_weights(routing), self.A)
        return Prompt(embeddings=A @ self.B, routing=routing)

    def diagram(self) -> MethodDiagram:
        """Return one A_i for each input, times the shared B."""
        selected = RouterOutput((TensorNode("A"),), ("router",), "mix" if self.selection == "soft" else "one")
        scaled = "the router's probability scales the prompt" if self.selection == "probationary" else ""
        return MethodDiagram(MatrixProduct(selected, TensorNode("B")), prompt_label="P(x)", note=scaled)

    def tensors(self) -> dict[str, MethodTensor]:
        """Return A (k, m, r), B (r, d), their products P (k, m, d), and the router W (k, d), b (k)."""
        return {
            "A": MethodTensor(self.A, ("k", "m", "r")),
            "B": MethodTensor(self.B, ("r", "d")),
            "P": MethodTensor(self.A @ self.B, ("k", "m", "d")),
            "W": MethodTensor(self.router.weight, ("k", "d")),
            "b": MethodTensor(self.router.bias, ("k",)),
        }
