r"""CTPT: a prompt from a few parameters, searched without gradients, that attends to the prompts of other tasks.

.. math:: P = P_0 + A z + g\,C, \qquad
          C = \sum_h \mathrm{softmax}_j\!\left( \frac{(\bar{P} A_Q^h)(\bar{P}_j A_K^h)^\top}{\sqrt{d_h}} \right)
          P_j A_V^h A_V^{h\top}

Xu, Zeng and Shen, "Efficient Cross-Task Prompt Tuning for Few-Shot Conversational Emotion Recognition", Findings of
EMNLP 2023. https://arxiv.org/abs/2310.14614

This is a reconstruction: only the abstract and summaries were available, not the equations or code. A vector of low
intrinsic dimension is searched without derivatives, and knowledge of source tasks enters by multi-head attention over
their prompts. The rest is Black-Box Tuning (Sun et al., ICML 2022, https://arxiv.org/abs/2201.03514):
A is a fixed random matrix, N(0, sigma_A^2) with sigma_A = alpha std(P_0) / sqrt(q), z starts at 0 and CMA-ES (step
size 1, population 20) searches it, on forward passes alone. z's last coordinate is the gate g.

Our choices: the query is the mean of P_0 + A z, the keys are the means of the frozen source prompts P_j, through fixed
random A_Q, A_K; all are in units of the table's std. The heads' A_V are orthogonal parts of one rotation and map back
by their transpose, so that each head mixes the sources in its own subspace, and uniform attention gives their mean. P_0
is the best source prompt on the target's validation examples (``start`` "source"), or sampled words. Trained prompts
are several times as large as words, and a projection of the size of words hardly changes them: A is in units of P_0's
std. On all-MiniLM-L6-v2 (trec6, seed 1) alpha of about 0.5, 1.4 and 3.4 reached a validation accuracy of 0.615, 0.685
and 0.705 in 60 generations, and one of 0.1 to 0.595 in 75. Source prompts are trained by plain prompt tuning, with
gradients; the target is not.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ptviz.methods.base import MethodTensor, PromptMethod, Stage, StageContext, task_objective
from ptviz.methods.card import MethodCard, ReportedResult
from ptviz.methods.diagram import MatrixProduct, MethodDiagram, RouterOutput, Sum, TensorNode
from ptviz.methods.equation_symbols import EquationSymbol
from ptviz.methods.hyperparameters import Hyperparameter, Length
from ptviz.methods.static_prompt import StaticPrompt
from ptviz.prompt import Batch, Prompt, Spec

IntrinsicDimension = Annotated[int, Hyperparameter("q", "parameters that are searched, including the gate", 2, 2000)]
Heads = Annotated[int, Hyperparameter("h", "attention heads over the source prompts", 1, 16)]
Alpha = Annotated[
    float, Hyperparameter("alpha", "size of the random projection relative to the initial prompt", 0.01, 100.0)
]
PromptInit = Annotated[
    Literal["source", "words"],
    Hyperparameter("P_0", "initialisation: the best source prompt, or sampled words"),
]


class CTPT(PromptMethod):
    """``z`` (q) is searched; ``A`` (m, d, q - 1), the attention's projections and the sources are fixed."""

    card = MethodCard(
        name="ctpt",
        title="CTPT (reconstruction)",
        citation="Xu, Zeng and Shen, Findings of EMNLP 2023",
        url="https://arxiv.org/abs/2310.14614",
        branch=("transfer", "encoder", "both"),
        equation=r"P = P_0 + A z + g \sum_h \mathrm{softmax}_j((\bar{P} A_Q^h)(\bar{P}_j A_K^h)^\top / \sqrt{d_h})"
        r" P_j A_V^h A_V^{h\top}",
        idea="Search a few hundred parameters without gradients; a random projection turns them into a prompt, and"
        " attention brings in the prompts of other tasks.",
        differs="A reconstruction from summaries of the paper and from Black-Box Tuning: the equations are ours. So are"
        " these choices: each generation of 20 is scored on one batch, and the result is the mean of the search that is"
        " best by validation. 200 steps are 4,000 calls; 400 are the 8,000 of Black-Box Tuning. For its few-shot search"
        " set shots to 16 and the batch size to all of them.",
        lesson="Some models give answers but no gradients. CTPT searches a few hundred"
        " parameters by trial, as evolution does: it makes variants, lets the model answer with each, and moves"
        " towards those that did better. A fixed random matrix turns these parameters into a whole prompt, and"
        " attention brings in the prompts of other tasks. The paper's equations could not be read: this is a"
        " reconstruction.",
        suggested_experiment="compare it with Prompt Tuning: what does it cost to train without gradients?",
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
            EquationSymbol("P_0", "the initial prompt: fixed", "P_0"),
            EquationSymbol("A", "a fixed random matrix"),
            EquationSymbol("z", "the few hundred parameters that are searched, without gradients"),
            EquationSymbol("g", "the weight of the source prompts: the last element of z"),
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
        """Return P_0 + A z, the prompt without other tasks."""
        return self.P_0 + self.A @ self.z[:-1]

    def source_attention(self) -> Float[Tensor, "e k"]:
        """Return the attention of each head on each source prompt."""
        query = torch.einsum("d,hde->he", self.task_prompt().mean(0) / self.std, self.A_Q)
        keys = torch.einsum("kd,hde->hke", self.sources.mean(1) / self.std, self.A_K)
        return (torch.einsum("he,hke->hk", query, keys) / math.sqrt(self.A_Q.shape[2])).softmax(-1)

    def cross_task_mixture(self) -> Float[Tensor, "m d"]:
        """Return C, the mixture of the source prompts."""
        return torch.einsum("hk,kmd,hde,hfe->mf", self.source_attention(), self.sources, self.A_V, self.A_V)

    def prompt(self) -> Float[Tensor, "m d"]:
        """Return P = P_0 + A z + g C."""
        return self.task_prompt() + self.z[-1] * self.cross_task_mixture()

    def forward(self, batch: Batch) -> Prompt:
        """Return P for every row, batch axis 1."""
        return Prompt(embeddings=self.prompt()[None])

    def stages(self) -> tuple[Stage, ...]:
        """Return one stage, the search."""
        return (Stage("search", task_objective(self), on_start=self.start_from_best_source, optimiser="evolution"),)

    @torch.no_grad()
    def start_from_best_source(self, context: StageContext) -> None:
        """Copy the source prompts, and set P_0 to the best one on the target's validation examples."""
        for row, source in zip(self.sources, context.source_prompts, strict=True):
            row.copy_(source.prompt)
        if self.start == "words" or not len(self.sources):
            return

        def score(prompt: Tensor) -> tuple[float, float]:
            self.P_0.copy_(prompt)
            accuracy, loss = context.validation_score()
            return accuracy, -loss

        self.P_0.copy_(max(self.sources, key=score))
        self.A.mul_(self.P_0.std() / self.std)

    def merge(self) -> StaticPrompt:
        """Return P without projections and sources."""
        return StaticPrompt(self.card, self.slots, self.prompt()[None])

    def stored_parameters(self) -> int:
        """Return the size of P, m d."""
        return self.P_0.numel()

    def diagram(self) -> MethodDiagram:
        """Return P_0 + A z plus the attention's mixture of source prompts."""
        task = Sum((TensorNode("P_0"), MatrixProduct(TensorNode("A"), TensorNode("z"))))
        mixed = RouterOutput((TensorNode("P_k"),), (), "mix", task, "attention")
        note = "z is searched without gradients; its last element weights the attention. Not in the survey's figure"
        return MethodDiagram(Sum((task, mixed)), prompt_label="P", note=note)

    def tensors(self) -> dict[str, MethodTensor]:
        """Return z (q), A z, P_0, C and P (m, d), the source prompts P_k (k, m, d), the attention a (e, k)."""
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
