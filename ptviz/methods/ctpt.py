r"""CTPT: a prompt from a handful of numbers, found without gradients, that attends to the prompts of other tasks.

.. math:: P = P_0 + A z + g\,C, \qquad
          C = \sum_h \mathrm{softmax}_j\!\left( \frac{(\bar{P} A_Q^h)(\bar{P}_j A_K^h)^\top}{\sqrt{d_h}} \right)
          P_j A_V^h A_V^{h\top}

Xu, Zeng and Shen, "Efficient Cross-Task Prompt Tuning for Few-Shot Conversational Emotion Recognition", Findings of
EMNLP 2023. https://arxiv.org/abs/2310.14614

A reconstruction. Neither the paper's equations nor code could be read, only its abstract and summaries: a vector of low
intrinsic dimension is searched without derivatives, and knowledge of source tasks comes in by multi-head attention over
their prompts. The rest is Black-Box Tuning (Sun et al., ICML 2022, https://arxiv.org/abs/2201.03514), its usual base:
A is a fixed random matrix, N(0, sigma_A^2) with sigma_A = alpha std(P_0) / sqrt(q), z starts at 0 and CMA-ES (step
size 1, population 20) searches it, on forward passes alone. z's last coordinate is the gate g.

Ours: the query is the mean of P_0 + A z, the keys the means of the frozen source prompts P_j, through fixed random A_Q,
A_K; all are measured in units of the table's std. The heads' A_V are orthogonal parts of one rotation and lead back by
their transpose, so that each head mixes the sources in a part of the space of its own, and even attention gives their
mean. P_0 is the source prompt that does best on the target's validation rows (``start`` "source"), or sampled words.
Trained prompts are several times as large as words, and a projection of the size of words hardly moves them: A is
measured in the std of P_0. On all-MiniLM-L6-v2 (trec6, seed 1) alpha of about 0.5, 1.4 and 3.4 came to a validation
accuracy of 0.615, 0.685 and 0.705 in 60 generations, and one of 0.1 to 0.595 in 75.
Source prompts are trained by plain prompt tuning, with gradients; the target is not.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ptviz.methods.base import (
    MethodCard,
    MethodTensor,
    PromptMethod,
    ReportedResult,
    Stage,
    StageContext,
    task_objective,
)
from ptviz.methods.diagram import MatrixProduct, MethodDiagram, RouterOutput, Sum, TensorNode
from ptviz.methods.glossary import EquationSymbol
from ptviz.methods.hyperparameters import Hyperparameter, Length
from ptviz.methods.static_prompt import StaticPrompt
from ptviz.prompt import Batch, Prompt, Spec

IntrinsicDimension = Annotated[int, Hyperparameter("q", "numbers that are searched, the gate among them", 2, 2000)]
Heads = Annotated[int, Hyperparameter("h", "attention heads over the source prompts", 1, 16)]
Alpha = Annotated[
    float, Hyperparameter("alpha", "size of the random projection, 1: that of the prompt it starts from", 0.01, 100.0)
]
PromptInit = Annotated[
    Literal["source", "words"],
    Hyperparameter("P_0", "where the prompt starts: at the best source prompt, or at sampled words"),
]


class CTPT(PromptMethod):
    """``z`` (q) is all that moves; ``A`` (m, d, q - 1), the attention's projections and the sources are fixed."""

    card = MethodCard(
        name="ctpt",
        title="CTPT (reconstruction)",
        citation="Xu, Zeng and Shen, Findings of EMNLP 2023",
        url="https://arxiv.org/abs/2310.14614",
        branch=("transfer", "encoder", "both"),
        equation=r"P = P_0 + A z + g \sum_h \mathrm{softmax}_j((\bar{P} A_Q^h)(\bar{P}_j A_K^h)^\top / \sqrt{d_h})"
        r" P_j A_V^h A_V^{h\top}",
        idea="Search a few hundred numbers without any gradient; a random projection turns them into a prompt, and"
        " attention brings in the prompts of other tasks.",
        differs="A reconstruction from summaries of the paper and from Black-Box Tuning: the equations are ours.",
        lesson="Some models can only be asked: nobody gets gradients out of them. CTPT searches a few hundred"
        " numbers by trial, as evolution does: it makes variants, lets the model answer with each, and moves"
        " towards those that did better. A fixed random matrix turns the numbers into a whole prompt, and"
        " attention brings in the prompts of other tasks. The paper's equations could not be read: this is a"
        " reconstruction.",
        suggested_experiment="put it in a race with Prompt Tuning: what does it cost to do without gradients?",
        reported_results=(
            ReportedResult(
                "Only a vector of low dimension is searched, without gradients; source tasks help with few"
                " examples and with none, on five data sets of emotions in conversation.",
                where="abstract",
                read="summary",
            ),
        ),
        symbols=(
            EquationSymbol("P", "the prompt"),
            EquationSymbol("P_0", "where the prompt starts: fixed", "P_0"),
            EquationSymbol("A", "a fixed random matrix"),
            EquationSymbol("z", "the few hundred numbers that are searched, without gradients"),
            EquationSymbol("g", "how much the source prompts count: the last number of z"),
            EquationSymbol("h", "an attention head"),
            EquationSymbol("j", "a source task"),
            EquationSymbol(r"\bar{P}", "the mean of the task's own prompt, P_0 + A z"),
            EquationSymbol("A_Q^h", "a fixed random projection to queries, of head h"),
            EquationSymbol(r"\bar{P}_j", "the mean of source prompt j"),
            EquationSymbol("A_K^h", "a fixed random projection to keys, of head h"),
            EquationSymbol("d_h", "width of a head"),
            EquationSymbol("P_j", "source prompt j: frozen", "P_k"),
            EquationSymbol("A_V^h", "a fixed random projection to values, of head h"),
            EquationSymbol(r"A_V^{h\top}", "the same projection, back to the embedding width"),
        ),
    )
    needs_source_prompts, uses_source_tasks = True, True

    def __init__(
        self,
        spec: Spec,
        m: Length = 10,
        q: IntrinsicDimension = 200,
        heads: Heads = 4,
        alpha: Alpha = 3.0,
        start: PromptInit = "source",
    ) -> None:
        super().__init__()
        d, k = spec.width, len(spec.source_tasks)
        self.slots = m
        self.start = start
        heads = min(heads, d)
        each = d // heads
        self.z = nn.Parameter(torch.zeros(q))
        usual = spec.embedding_table[spec.common_ids].float().std()
        self.std = nn.Buffer(usual.clone())
        self.A = nn.Buffer(torch.randn(m, d, q - 1) * (alpha * usual / math.sqrt(q - 1)))
        self.A_Q, self.A_K = (nn.Buffer(torch.randn(heads, d, each) / math.sqrt(d)) for _ in range(2))
        rotation = torch.linalg.qr(torch.randn(d, d))[0]
        self.A_V = nn.Buffer(rotation[:, : heads * each].reshape(d, heads, each).transpose(0, 1).contiguous())
        self.P_0 = nn.Buffer(spec.sample_embeddings(m))
        self.sources = nn.Buffer(torch.zeros(k, m, d))

    def task_prompt(self) -> Float[Tensor, "m d"]:
        """P_0 + A z, the prompt without other tasks."""
        return self.P_0 + self.A @ self.z[:-1]

    def source_attention(self) -> Float[Tensor, "e k"]:
        """How much each head looks at each source prompt."""
        query = torch.einsum("d,hde->he", self.task_prompt().mean(0) / self.std, self.A_Q)
        keys = torch.einsum("kd,hde->hke", self.sources.mean(1) / self.std, self.A_K)
        return (torch.einsum("he,hke->hk", query, keys) / math.sqrt(self.A_Q.shape[2])).softmax(-1)

    def cross_task_mixture(self) -> Float[Tensor, "m d"]:
        """C, the mixture of the source prompts."""
        return torch.einsum("hk,kmd,hde,hfe->mf", self.source_attention(), self.sources, self.A_V, self.A_V)

    def prompt(self) -> Float[Tensor, "m d"]:
        """P = P_0 + A z + g C."""
        return self.task_prompt() + self.z[-1] * self.cross_task_mixture()

    def forward(self, batch: Batch) -> Prompt:
        """P for every row, batch axis 1."""
        return Prompt(embeddings=self.prompt()[None])

    def stages(self) -> tuple[Stage, ...]:
        """One search."""
        return (Stage("search", task_objective(self), on_start=self.start_from_best_source, optimiser="evolution"),)

    @torch.no_grad()
    def start_from_best_source(self, probe: StageContext) -> None:
        """Copy the source prompts, and start from the one that does best on the target's validation rows."""
        for place, source in zip(self.sources, probe.source_prompts, strict=True):
            place.copy_(source.prompt)
        if self.start == "words" or not len(self.sources):
            return

        def score(prompt: Tensor) -> tuple[float, float]:
            self.P_0.copy_(prompt)
            accuracy, loss = probe.validation_score()
            return accuracy, -loss

        self.P_0.copy_(max(self.sources, key=score))
        self.A.mul_(self.P_0.std() / self.std)

    def merge(self) -> StaticPrompt:
        """P alone, without projections and sources."""
        return StaticPrompt(self.card, self.slots, self.prompt()[None])

    def stored_parameters(self) -> int:
        """P: m d."""
        return self.P_0.numel()

    def diagram(self) -> MethodDiagram:
        """P_0 + A z, and the source prompts by attention."""
        task = Sum((TensorNode("P_0"), MatrixProduct(TensorNode("A"), TensorNode("z"))))
        mixed = RouterOutput((TensorNode("P_k"),), (), "mix", task, "attention")
        remark = "z is searched without gradients; its last number weighs the attention. Not in the survey's figure"
        return MethodDiagram(Sum((task, mixed)), prompt_label="P", note=remark)

    def tensors(self) -> dict[str, MethodTensor]:
        """The vector z (q), A z, P_0, C and P (m, d), the source prompts P_k (k, m, d), the attention a (e, k)."""
        return {
            "z": MethodTensor(self.z, ("q",)),
            "A": MethodTensor(self.A, ("m", "d", "p")),
            "Az": MethodTensor(self.A @ self.z[:-1], ("m", "d")),
            "P_0": MethodTensor(self.P_0, ("m", "d")),
            "P_k": MethodTensor(self.sources, ("k", "m", "d")),
            "C": MethodTensor(self.cross_task_mixture(), ("m", "d")),
            "P": MethodTensor(self.prompt(), ("m", "d")),
            "a": MethodTensor(self.source_attention(), ("e", "k")),
        }
