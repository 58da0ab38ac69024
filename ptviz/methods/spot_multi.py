r"""SPoT, many sources at once: the target's prompt starts from one prompt that was tuned on a mixture of the sources.

.. math:: P^{\mathrm{mix}} = \arg\min_P \sum_s \frac{n_s}{\sum_u n_u}\, L_s(P), \qquad P \leftarrow P^{\mathrm{mix}}

Vu, Lester, Constant, Al-Rfou and Cer, "SPoT: Better Frozen Model Adaptation through Soft Prompt Transfer", ACL 2022,
section 2. https://aclanthology.org/2022.acl-long.346

Examples of the sources are drawn in proportion to the sources' sizes n_s (examples-proportional mixing); then the whole
prompt is tuned on the target, with only the backbone frozen. The released code
(https://github.com/google-research/prompt-tuning, prompt_tuning/spot) does the same.

Differences: the source prompt is the one after all source steps, not the best on the sources' validation examples; the
paper's limit of 2^19 examples per task is never reached, because the run's own limit is far below it.
"""

from __future__ import annotations

import torch
from torch import nn

from ptviz.methods.base import MethodTensor, PromptMethod, Stage, StageContext, task_objective
from ptviz.methods.card import MethodCard, ReportedResult
from ptviz.methods.diagram import MethodDiagram, SourceExamples, TensorNode
from ptviz.methods.equation_symbols import EquationSymbol
from ptviz.methods.hyperparameters import Length
from ptviz.methods.static_prompt import StaticPrompt
from ptviz.prompt import Batch, Prompt, Spec


class SPoTMulti(PromptMethod):
    """``P`` (m, d), and its initial value ``P_mix`` (m, d)."""

    card = MethodCard(
        name="spot-multi",
        title="SPoT (multi-task)",
        citation="Vu et al., ACL 2022",
        url="https://aclanthology.org/2022.acl-long.346",
        branch=("transfer", "general", "mixed"),
        equation=r"P^{\mathrm{mix}} = \arg\min_P \sum_s \frac{n_s}{\sum_u n_u} L_s(P),"
        r" \quad P \leftarrow P^{\mathrm{mix}}",
        idea="Tune one prompt on several other tasks mixed together, and start the new task's prompt from it.",
        differs="The source prompt is the last one, not the best on the sources' validation examples.",
        lesson="Instead of choosing one task to start from, one prompt is trained on several at once: their examples"
        " are mixed, and larger tasks give more of them. So the prompt learns what the tasks have in common. Your"
        " task starts from it and trains as usual.",
        suggested_experiment="choose source tasks that are unlike your own: does the start still help?",
        reported_results=(
            ReportedResult(
                "T5-Base from a mixture of GLUE tasks: 82.8 on GLUE and 73.2 on SuperGLUE; prompt tuning 81.2 and"
                " 66.6.",
            ),
            ReportedResult(
                "On SuperGLUE it is level with tuning the whole model or ahead from small (64.5 against 62.8) to"
                " largest (91.2 against 89.9), but for T5-Base (73.2 against 73.7).",
                where="figure 1",
            ),
            ReportedResult(
                "A mixture of everything helps less than one of related tasks: 67.9 on SuperGLUE with 56 data sets."
            ),
        ),
        symbols=(
            EquationSymbol(r"P^{\mathrm{mix}}", "one prompt, trained on all source tasks together", "P_mix"),
            EquationSymbol("P", "the target's prompt: it starts as a copy, then is trained"),
            EquationSymbol("L_s", "the loss on source task s"),
            EquationSymbol("n_s", "training examples of source task s"),
            EquationSymbol("n_u", "training examples of each source task, to sum over"),
            EquationSymbol("s", "a source task"),
            EquationSymbol("u", "a source task, to sum over"),
            EquationSymbol(r"\arg\min_P", "the prompt for which the sum is smallest"),
        ),
    )
    uses_source_tasks = True

    def __init__(self, spec: Spec, m: Length = 10) -> None:
        super().__init__()
        self.slots = m
        self.P = nn.Parameter(spec.sample_embeddings(m))
        self.P_mix = nn.Buffer(torch.zeros(m, spec.width))

    def forward(self, batch: Batch) -> Prompt:
        """Return P for every row, batch axis 1."""
        return Prompt(embeddings=self.P[None])

    def stages(self) -> tuple[Stage, ...]:
        """Return training of one prompt on all sources, then training on the target."""
        return (
            Stage("source tuning", task_objective(self), tasks="sources", mixture="proportional"),
            Stage("transfer", task_objective(self), on_start=self.copy_mixture_prompt),
        )

    @torch.no_grad()
    def copy_mixture_prompt(self, context: StageContext) -> None:
        """Store the source prompt, from which P is trained further."""
        self.P_mix.copy_(self.P)

    def diagram(self) -> MethodDiagram:
        """Return P, initialised from the prompt of the sources."""
        mixture = TensorNode("P_mix", initial_node=SourceExamples(), init_label="tuned on a mixture")
        return MethodDiagram(TensorNode("P", initial_node=mixture, init_label="starts as a copy"))

    def merge(self) -> StaticPrompt:
        """Return the prompt without its initial value."""
        return StaticPrompt(self.card, self.slots, embeddings=self.P[None])

    def tensors(self) -> dict[str, MethodTensor]:
        """Return P (m, d) and its initial value P_mix (m, d)."""
        return {"P": MethodTensor(self.P, ("m", "d")), "P_mix": MethodTensor(self.P_mix, ("m", "d"))}
