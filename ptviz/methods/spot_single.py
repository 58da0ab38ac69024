r"""SPoT, one source at a time: the target's prompt starts from the prompts of the most similar source tasks.

.. math:: \mathrm{sim}(t, s) = \cos\Big(\frac{1}{m} \sum_i e^t_i,\; \frac{1}{m} \sum_j e^s_j\Big), \qquad
          P \leftarrow \sum_r \alpha_r P^{s_r}, \qquad
          \alpha_r = \frac{\mathrm{sim}(t, s_r)}{\sum_{l \le k} \mathrm{sim}(t, s_l)}

Vu, Lester, Constant, Al-Rfou and Cer, "SPoT: Better Frozen Model Adaptation through Soft Prompt Transfer", ACL 2022,
sections 2 and 3. https://aclanthology.org/2022.acl-long.346

A task's embedding e is its prompt after a fixed number of steps of plain prompt tuning, not its best prompt: those of
the sources are read after as many steps as the target's, which has their learning rate and schedule. What is
transferred is the source's best prompt P^s. ``similarity`` is the cosine of the mean tokens, or "per-token" the mean
cosine of all pairs of tokens: 1/m^2 sum_ij cos(e^t_i, e^s_j). ``retrieval`` of the k most similar sources is the
paper's: "best" tunes from each of the k in turn and uses the best by validation; "weighted" starts from their average
above; "mixture" first tunes a new prompt on the examples of the k sources and of the target together.

The released code (https://github.com/google-research/prompt-tuning, prompt_tuning/spot) has data sets and
initialisation from a file, but no similarity and no retrieval: those follow the paper. Differences: embedding, mixture
and candidates share the run's steps, where the paper gives each of them all; negative similarities have weight 0 in the
average (the paper does not say; equal weights if none is positive); a step of "mixture" draws from all sources, and
examples of sources that were not selected have weight 0, so the mixture uses fewer examples per step than a run on the
k sources. The paper's limit of 2^19 examples per task is never reached: the run's own limit is far below it. All source
prompts have the same initial words, the target's those of its own run; the paper averages similarities over pairs of
seeds.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ptviz.methods.base import MethodTensor, PromptMethod, Stage, StageContext, task_objective
from ptviz.methods.card import MethodCard, ReportedResult
from ptviz.methods.diagram import MethodDiagram, SourceExamples, TensorNode
from ptviz.methods.equation_symbols import EquationSymbol
from ptviz.methods.hyperparameters import Hyperparameter, Length
from ptviz.methods.static_prompt import StaticPrompt
from ptviz.prompt import Batch, ForwardFn, Output, Prompt, Spec

EMBEDDING_STEP_FRACTION = 0.3
"""Share of the target's steps for its task embedding."""

TopSources = Annotated[int, Hyperparameter("k", "most similar source tasks to transfer from", 1, 32)]
SourceSimilarity = Annotated[
    Literal["average", "per-token"],
    Hyperparameter("sim", "cosine of the mean tokens, or mean cosine of all pairs of tokens"),
]
Retrieval = Annotated[
    Literal["best", "weighted", "mixture"],
    Hyperparameter(
        "retrieval", "tune from each of the top k and keep the best, start from their average, or tune on all first"
    ),
]


def average_similarity(target: Float[Tensor, "m d"], sources: Float[Tensor, "k m d"]) -> Float[Tensor, " k"]:
    """Return the cosine of the mean tokens with each source."""
    return F.cosine_similarity(target.mean(0), sources.mean(1), dim=-1)


def per_token_similarity(target: Float[Tensor, "m d"], sources: Float[Tensor, "k m d"]) -> Float[Tensor, " k"]:
    """Return the mean cosine of all pairs of tokens with each source, the product of mean unit vectors."""
    return F.normalize(sources, dim=-1).mean(1) @ F.normalize(target, dim=-1).mean(0)


SIMILARITY_FUNCTIONS = {"average": average_similarity, "per-token": per_token_similarity}


class SPoTSingle(PromptMethod):
    """``P`` (m, d), initialised from the prompts ``P_s`` (k, m, d) by the task embeddings ``e`` (m, d), ``e_s``."""

    card = MethodCard(
        name="spot-single",
        title="SPoT (single-task)",
        citation="Vu et al., ACL 2022",
        url="https://aclanthology.org/2022.acl-long.346",
        branch=("transfer", "general", "selective"),
        equation=r"P \leftarrow \sum_r \alpha_r P^{s_r}, \quad"
        r" \alpha_r = \frac{\mathrm{sim}(t, s_r)}{\sum_{l \le k} \mathrm{sim}(t, s_l)}",
        idea="Tune a prompt a little, look up which known tasks ended up close by, and start again from theirs.",
        differs="The task embedding and all candidates share the run's steps; no similarity code was released.",
        lesson="There may already be a prompt for a task like yours. SPoT tunes a new prompt on your"
        " task for a short time and uses it as the task's embedding: the closer it is to another task's"
        " prompt, the more similar the two tasks are. Then training starts again from the closest one. Nothing"
        " else changes: the result is a plain prompt with a better start.",
        suggested_experiment="compare it with Prompt Tuning on 16 examples a class, where a good start matters most.",
        reported_results=(
            ReportedResult(
                "Ten targets, T5-Base: 74.7 without transfer; from the most similar source 76.2, from the best of"
                " the three most similar 77.4, from the best of all 48 prompts 80.7.",
            ),
            ReportedResult(
                "How similar two prompts are predicts how well one transfers, significantly so on 4 of 10 targets"
                " (STS-B: r = 0.708).",
                where="figure 5",
            ),
            ReportedResult("Related tasks have similar prompts: they cluster by type.", where="figure 4"),
            ReportedResult("A prompt of MNLI raises the score on CB from 92.7 to 97.0.", where="matrix of transfer"),
        ),
        symbols=(
            EquationSymbol("P", "the target's prompt: it starts as a mix of source prompts, then is trained"),
            EquationSymbol("P^{s_r}", "the prompt of the source at rank r, trained before", "P_s"),
            EquationSymbol(r"\alpha_r", "the weight of the source at rank r", "alpha"),
            EquationSymbol("r", "rank by similarity, from 1, the most similar, to k"),
            EquationSymbol("s_r", "the source task at rank r"),
            EquationSymbol("s_l", "the source task at rank l"),
            EquationSymbol("t", "the target task: a prompt tuned on it for a short time", "e"),
            EquationSymbol("l", "the same ranks, to sum over"),
            EquationSymbol("k", "how many of the most similar sources are taken"),
        ),
    )
    uses_source_tasks = True
    needs_source_prompts = True

    def __init__(
        self,
        spec: Spec,
        m: Length = 10,
        k: TopSources = 1,
        retrieval: Retrieval = "best",
        similarity: SourceSimilarity = "average",
    ) -> None:
        super().__init__()
        self.slots = m
        self.source_tasks = spec.source_tasks
        self.top_k = max(1, min(k, len(spec.source_tasks)))
        self.retrieval, self.similarity_metric = retrieval, similarity
        self.P = nn.Parameter(spec.sample_embeddings(m))
        self.P_0 = nn.Buffer(self.P.detach().clone())
        self.e = nn.Buffer(torch.zeros(m, spec.width))
        self.e_s, self.P_s = (nn.Buffer(torch.zeros(len(spec.source_tasks), m, spec.width)) for _ in range(2))
        self.similarity, self.alpha = (nn.Buffer(torch.zeros(len(spec.source_tasks))) for _ in range(2))

    def forward(self, batch: Batch) -> Prompt:
        """Return P for every row, batch axis 1."""
        return Prompt(embeddings=self.P[None])

    def stages(self) -> tuple[Stage, ...]:
        """Return training of the target's embedding, then training from the source prompts."""
        loss, share, left = task_objective(self), EMBEDDING_STEP_FRACTION, 1 - EMBEDDING_STEP_FRACTION
        embed = Stage("task embedding", loss, on_start=self.copy_source_prompts, step_fraction=share, as_source=True)
        if self.retrieval == "weighted":
            return embed, Stage("transfer", loss, on_start=self.start_from_average, step_fraction=left)
        if self.retrieval == "mixture":
            restart, half = self.restart_for_mixture, left / 2
            mixed = Stage("mixture", self.mixture_objective, tasks="all", on_start=restart, step_fraction=half)
            return embed, mixed, Stage("transfer", loss, step_fraction=half)
        return embed, *(
            Stage(
                "transfer" if rank == 0 else f"transfer from source {rank + 1}", loss,
                on_start=partial(self.start_from_rank, rank), step_fraction=left / self.top_k,
                keeps_previous_best=rank > 0,
            )
            for rank in range(self.top_k)
        )  # fmt: skip

    @torch.no_grad()
    def copy_source_prompts(self, context: StageContext) -> None:
        """Copy each source's best prompt, and its embedding: the prompt after as many steps as this stage makes.

        Raises:
            ValueError: if the run has no source tasks.
        """
        if not self.source_tasks:
            raise ValueError(f"{self.card.title} needs at least one source task; this run has none: add some")
        for prompt, embedding, source in zip(self.P_s, self.e_s, context.source_prompts, strict=True):
            prompt.copy_(source.prompt)
            embedding.copy_(source.embedding_after(context.steps))

    def measure_similarity(self) -> Tensor:
        """Set the target's embedding to the current prompt; return the rows of the top k sources."""
        self.e.copy_(self.P)
        self.similarity.copy_(SIMILARITY_FUNCTIONS[self.similarity_metric](self.e, self.e_s))
        return self.top_sources()

    def top_sources(self) -> Tensor:
        """Return the rows of the top k sources, most similar first."""
        return self.similarity.argsort(descending=True, stable=True)[: self.top_k]

    @torch.no_grad()
    def start_from_rank(self, rank: int, context: StageContext) -> None:
        """Set P to the prompt of the source at this rank ("best")."""
        row = (self.measure_similarity() if rank == 0 else self.top_sources())[rank]
        self.alpha.zero_()[row] = 1.0
        self.P.copy_(self.P_s[row])

    @torch.no_grad()
    def start_from_average(self, context: StageContext) -> None:
        """Set P to the average of the top k, weighted by similarity ("weighted")."""
        top = self.measure_similarity()
        weights = self.similarity[top].clamp(min=0.0)
        weights = weights if weights.sum() > 0 else torch.ones_like(weights)
        self.alpha.zero_()[top] = weights / weights.sum()
        self.P.copy_(torch.einsum("k,kmd->md", self.alpha, self.P_s))

    @torch.no_grad()
    def restart_for_mixture(self, context: StageContext) -> None:
        """Select the top k, and reset P to the sampled words ("mixture")."""
        self.alpha.zero_()[self.measure_similarity()] = 1 / self.top_k
        self.P.copy_(self.P_0)

    def mixture_objective(self, batch: Batch, run: ForwardFn) -> tuple[Tensor, Prompt, Output]:
        """Return the task loss on examples of the target and the selected sources; those of the others do not count."""
        task = int(batch.task_ids[0])
        if task == len(self.source_tasks) or self.alpha[task] > 0:
            return task_objective(self)(batch, run)
        none = self.alpha.new_zeros(0)
        return 0.0 * self.P.sum(), self(batch), Output(none[:, None], none)

    def diagram(self) -> MethodDiagram:
        """Return P, initialised from the most similar source prompts, or trained on their examples first."""
        if self.retrieval == "mixture":
            label = "tuned first on the most similar and the target"
            return MethodDiagram(TensorNode("P", SourceExamples(), label))
        labels = {"best": "starts from the most similar", "weighted": "starts from the average of the most similar"}
        note = "similarity is that of a prompt tuned on the target for a short time"
        return MethodDiagram(TensorNode("P", TensorNode("P_s"), labels[self.retrieval]), note=note)

    def merge(self) -> StaticPrompt:
        """Return the prompt without the source prompts."""
        return StaticPrompt(self.card, self.slots, embeddings=self.P[None])

    def tensors(self) -> dict[str, MethodTensor]:
        """Return P (m, d), e (m, d), e_s and P_s (k, m, d), sim (k) and alpha (k)."""
        return {
            "P": MethodTensor(self.P, ("m", "d")),
            "e": MethodTensor(self.e, ("m", "d")),
            "e_s": MethodTensor(self.e_s, ("k", "m", "d")),
            "P_s": MethodTensor(self.P_s, ("k", "m", "d")),
            "sim": MethodTensor(self.similarity, ("k",)),
            "alpha": MethodTensor(self.alpha, ("k",)),
        }
