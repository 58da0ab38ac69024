r"""ATTEMPT: each input attends to the prompts of other tasks, and adds what it takes from them to the target's prompt.

.. math:: \hat{x} = \max_T E(X), \quad \hat{P}_j = \max_m P_j, \quad
          H = \mathrm{LN}(W_{up}\, \mathrm{SiLU}(W_{down}\, \hat{x}))

.. math:: a = \mathrm{softmax}_j(\hat{P}_j \cdot H / \tau), \qquad
          P_{instance} = P_{target} + \sum_{j=1}^{t+1} a_j P_j, \qquad P_{t+1} = P_{target}

Asai, Salehi, Peters and Hajishirzi, "ATTEMPT: Parameter-Efficient Multi-task Tuning via Attentional Mixtures of Soft
Prompts", EMNLP 2022, section 3. https://arxiv.org/abs/2205.11961

The t source prompts come from plain prompt tuning and stay frozen. The target's prompt is one of the candidates and is
added again outside of the sum: without sources the result is exactly 2 P_target. Several target tasks share the
attention and the source prompts; each has its own P_target, all initialised alike, and a batch mixes their examples.

Where paper and code (https://github.com/AkariAsai/ATTEMPT) disagree, the paper is followed. Its LayerNorm is trained,
the code's is not: ``layernorm``. Its attention has its own learning rate, but in the code that group of parameters is
always empty: ``ratio``, where 1 is the code's. The code takes the maximum over padding as well, so that an input
depends on its batch: ``pads``.

Differences: the paper's tau, d e = 2087 for T5-base, and its initialisation N(0, 0.01^2) of W_down and W_up suit T5's
large embeddings. With small ones (0.05 for BERT) the scores are nearly 0 and the attention stays uniform. By default,
tau is therefore the mean distance of the candidates' keys from their mean when training starts (the keys' mean length
if they are all equal): since H has unit size per coordinate, scores then have a spread of about 1 on any backbone. The
default standard deviation is 0.05: at 0.01 the LayerNorm's epsilon (1e-5) shrinks H below its unit size.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ptviz.methods.base import (
    MethodTensor,
    PromptMethod,
    Stage,
    StageContext,
    copy_per_target,
    task_objective,
)
from ptviz.methods.card import MethodCard, ReportedResult
from ptviz.methods.diagram import MethodDiagram, RouterOutput, Sum, TensorNode
from ptviz.methods.equation_symbols import EquationSymbol
from ptviz.methods.hyperparameters import Hyperparameter, Length
from ptviz.prompt import Batch, Prompt, Spec

Bottleneck = Annotated[int, Hyperparameter("r", "width of the attention's bottleneck", 1, 1024)]
Temperature = Annotated[
    float,
    Hyperparameter("tau", "temperature of the attention; 0: the candidates' own scale", 0.0, 1e9, affects_routing=True),
]
Ratio = Annotated[
    float, Hyperparameter("ratio", "learning rate of the attention as a share of the prompt's", 0.0, 10.0)
]
LayerNormMode = Annotated[
    Literal["trained", "frozen"], Hyperparameter("LN", "LayerNorm trained as in the paper, or fixed")
]
PadsInMaximum = Annotated[bool, Hyperparameter("pads", "include padding in the maximum, as the released code does")]
InitStd = Annotated[float, Hyperparameter("sigma", "standard deviation of the attention's initialisation", 0.0, 1.0)]
TargetInit = Annotated[
    Literal["first", "best", "words"],
    Hyperparameter(
        "P_target", "initialised as the first source prompt, the best one on validation examples, or sampled words"
    ),
]


class ATTEMPT(PromptMethod):
    """``P`` (m, d), the frozen ``P_s`` (k, m, d), and the attention ``W_down`` (r, d), ``W_up`` (d, r), LayerNorm."""

    card = MethodCard(
        name="attempt",
        title="ATTEMPT",
        citation="Asai et al., EMNLP 2022",
        url="https://arxiv.org/abs/2205.11961",
        branch=("transfer", "general", "selection"),
        equation=r"P_{instance} = P_{target} + \sum_j a_j P_j, \quad"
        r" a = \mathrm{softmax}_j(\hat{P}_j \cdot \mathrm{LN}(W_{up}\, \mathrm{SiLU}(W_{down}\, \hat{x})) / \tau)",
        idea="Keep the prompts of other tasks frozen; a small attention lets each input mix them into the new prompt.",
        differs="The attention starts from larger random values, of standard deviation 0.05 and not 0.01."
        " The temperature starts at the candidates' own scale, as the paper's is made for T5's large embeddings;"
        " padding is not seen. The attention learns at a tenth of the prompt's rate, which is ours; the released"
        " settings have a third.",
        lesson="The prompts of other tasks stay as they are. For each text a small attention network decides how"
        " much of each to take: it compares a summary of the text with a summary of every prompt. Their mix is"
        " added to a new prompt that is trained on your task. So one text may borrow from one task, and the"
        " next text from another.",
        suggested_experiment="look at a run on the page Routing: from which tasks does each class borrow?",
        reported_results=(
            ReportedResult(
                "Over 21 data sets it updates about 2,300 times fewer parameters than tuning the model, when tasks"
                " share the attention.",
                read="summary",
            ),
            ReportedResult(
                "Question answering with Llama-3.2-1B: F1 56.17, a little below prompt tuning's 56.77.",
                by="Li, Su and Collier 2025 (PT-MoE)",
            ),
        ),
        symbols=(
            EquationSymbol("P_{instance}", "the prompt for one text"),
            EquationSymbol("P_{target}", "the target's own prompt, trained", "P"),
            EquationSymbol("P_j", "candidate j: a frozen source prompt, or the target's own", "P_s"),
            EquationSymbol("a_j", "how much candidate j counts for this text"),
            EquationSymbol("a", "how much each candidate counts for this text"),
            EquationSymbol("j", "a candidate"),
            EquationSymbol(r"\hat{P}_j", "the largest value of candidate j in each coordinate"),
            EquationSymbol(r"\mathrm{LN}", "LayerNorm: brings a vector to a fixed length"),
            EquationSymbol("W_{up}", "trained: back up to the embedding width"),
            EquationSymbol("W_{down}", "trained: down to a narrow width"),
            EquationSymbol(r"\hat{x}", "the largest value of the text's embeddings in each coordinate"),
            EquationSymbol(r"\tau", "temperature: the higher, the more equal the shares"),
        ),
    )
    uses_source_tasks = True
    needs_source_prompts = True
    soft_routing = True
    per_target = ("P",)

    def __init__(
        self,
        spec: Spec,
        m: Length = 10,
        bottleneck: Bottleneck = 100,
        temperature: Temperature = 0.0,
        ratio: Ratio = 0.1,
        layernorm: LayerNormMode = "trained",
        pads: PadsInMaximum = False,
        sigma: InitStd = 0.05,
        start: TargetInit = "first",
    ) -> None:
        super().__init__()
        self.slots = m
        self.source_tasks = spec.source_tasks
        self.P = copy_per_target(spec, spec.sample_embeddings(m))
        self.P_s = nn.Buffer(torch.zeros(len(spec.source_tasks), m, spec.width))
        self.W_down = nn.Linear(spec.width, bottleneck, bias=False)
        self.W_up = nn.Linear(bottleneck, spec.width, bias=False)
        for layer in (self.W_down, self.W_up):
            nn.init.normal_(layer.weight, std=sigma)
        self.norm = nn.LayerNorm(spec.width, elementwise_affine=layernorm == "trained")
        self.auto_temperature = temperature == 0
        scale = self.target_prompt().detach().amax(0).norm()
        self.tau = nn.Buffer(scale if self.auto_temperature else torch.full_like(scale, temperature))
        self.ratio, self.pads, self.start = ratio, pads, start

    def target_prompt(self, batch: Batch | None = None) -> Float[Tensor, "m d"]:
        """Return P_target: of several that of the batch's task, the first one's without a batch."""
        if self.P.ndim == 2:
            return self.P
        return self.P[0 if batch is None else batch.task_of_all_rows() - len(self.source_tasks)]

    def candidate_prompts(self, batch: Batch | None = None) -> Float[Tensor, "n m d"]:
        """Return the source prompts followed by the target's."""
        return torch.cat([self.P_s, self.target_prompt(batch)[None]])

    def routing_weights(self, batch: Batch) -> Float[Tensor, "B n"]:
        """Return a, the weight of each candidate for each input."""
        x = batch.max_embedding()
        if self.pads:
            x = batch.embeddings.float().masked_fill(batch.slots[..., None], -torch.inf).amax(1)
        H = self.norm(self.W_up(F.silu(self.W_down(x))))
        scores: Tensor = H @ self.candidate_prompts(batch).amax(1).T / self.tau
        return scores.softmax(-1)

    def forward(self, batch: Batch) -> Prompt:
        """Return P_instance of each row."""
        return self.prompt_for(batch, self.routing_weights(batch))

    def prompt_for(self, batch: Batch, routing: Float[Tensor, "B n"]) -> Prompt:
        """Return P_instance of each row for other weights."""
        mixed = torch.einsum("bk,kmd->bmd", routing, self.candidate_prompts(batch))
        return Prompt(embeddings=mixed + self.target_prompt(batch), routing=routing)

    def stages(self) -> tuple[Stage, ...]:
        """Return one stage with two learning rates; several targets are mixed in proportion to their sizes."""
        attention = dict.fromkeys(("W_down", "W_up", "norm"), self.ratio)
        return (
            Stage("attend", task_objective(self), lr_scales={"P": 1.0, **attention}, on_start=self.init_from_sources),
        )

    @torch.no_grad()
    def init_from_sources(self, context: StageContext) -> None:
        """Copy the source prompts, initialise P_target from one of them, and set the temperature."""
        for row, source in zip(self.P_s, context.source_prompts, strict=True):
            row.copy_(source.prompt)
        if self.start == "words" or not self.source_tasks:
            self.set_target_prompt(self.target_prompt())
        elif self.start == "first":
            self.set_target_prompt(self.P_s[0])
        else:
            self.set_target_prompt(max(self.P_s, key=lambda prompt: self.score_initial_prompt(prompt, context)))

    def set_target_prompt(self, prompt: Float[Tensor, "m d"]) -> None:
        """Initialise P_target of every target, and set the temperature to the candidates' scale unless it is given."""
        self.P.copy_(prompt.clone())  # It may be a part of P.
        if self.auto_temperature:
            keys = self.candidate_prompts().amax(1)
            spread = (keys - keys.mean(0)).norm(dim=-1).mean()
            self.tau.copy_(spread if spread > 0 else keys.norm(dim=-1).mean())

    def score_initial_prompt(self, prompt: Float[Tensor, "m d"], context: StageContext) -> tuple[float, float]:
        """Return validation accuracy and negative loss with P_target initialised from this prompt."""
        self.set_target_prompt(prompt)
        accuracy, loss = context.validation_score()
        return accuracy, -loss

    def diagram(self) -> MethodDiagram:
        """Return the attention's mixture of all candidates, plus the target's prompt."""
        mixed = RouterOutput((TensorNode("P_s"), TensorNode("P")), ("W_down", "W_up", "norm"), "mix", label="attention")
        note = "the target's own prompt is a candidate, and is added again"
        return MethodDiagram(Sum((mixed, TensorNode("P"))), prompt_label="P(x)", note=note)

    def stored_parameters(self) -> int:
        """Return the trainable parameters and the source prompts, which attention needs at inference."""
        return self.trainable_parameters() + self.P_s.numel()

    def tensors(self) -> dict[str, MethodTensor]:
        """Return P (m, d), P_s (k, m, d), W_down (r, d), W_up (d, r), tau, and a trained LayerNorm's parameters (d).

        P of several targets is (t, m, d).
        """
        found = {
            "P": MethodTensor(self.P, ("t", "m", "d")[-self.P.ndim :]),
            "P_s": MethodTensor(self.P_s, ("k", "m", "d")),
            "W_down": MethodTensor(self.W_down.weight, ("r", "d")),
            "W_up": MethodTensor(self.W_up.weight, ("d", "r")),
            "tau": MethodTensor(self.tau, ()),
        }
        if self.norm.elementwise_affine:
            found |= {"gamma": MethodTensor(self.norm.weight, ("d",)), "beta": MethodTensor(self.norm.bias, ("d",))}
        return found
