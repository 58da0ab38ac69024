r"""SPoT, many sources at once: the target's prompt starts from one prompt that was tuned on a mixture of the sources.

.. math:: P^{\mathrm{mix}} = \arg\min_P \sum_s \frac{n_s}{\sum_u n_u}\, L_s(P), \qquad P \leftarrow P^{\mathrm{mix}}

Vu, Lester, Constant, Al-Rfou and Cer, "SPoT: Better Frozen Model Adaptation through Soft Prompt Transfer", ACL 2022,
section 2. https://aclanthology.org/2022.acl-long.346

Rows of the sources are drawn in proportion to the sources' sizes n_s (examples-proportional mixing); then the whole
prompt is tuned on the target, and nothing but the backbone is frozen. The released code
(https://github.com/google-research/prompt-tuning, prompt_tuning/spot) agrees: mixtures, and a start from a file.

Ours: the source prompt is the one after all source steps, not the best on the sources' validation rows; the paper's
cap of 2^19 rows per task is never reached, for the run's own limit on rows is far below it.
"""

from __future__ import annotations

import torch
from torch import nn

from ptviz.methods.base import Card, Claim, Part, Probe, PromptMethod, Stage, fit
from ptviz.methods.diagram import Anatomy, Examples, Symbol
from ptviz.methods.glossary import Term
from ptviz.methods.hyperparameters import Length
from ptviz.methods.static_prompt import Folded
from ptviz.prompt import Batch, Prompt, Spec


class SPoTMulti(PromptMethod):
    """``P`` (m, d), and what it started from, ``P_mix`` (m, d)."""

    card = Card(
        name="spot-multi",
        title="SPoT (multi-task)",
        citation="Vu et al., ACL 2022",
        url="https://aclanthology.org/2022.acl-long.346",
        branch=("transfer", "general", "mixed"),
        equation=r"P^{\mathrm{mix}} = \arg\min_P \sum_s \frac{n_s}{\sum_u n_u} L_s(P),"
        r" \quad P \leftarrow P^{\mathrm{mix}}",
        idea="Tune one prompt on several other tasks mixed together, and start the new task's prompt from it.",
        differs="The source prompt is the last one, not the best on the sources' validation rows.",
        lesson="Instead of choosing one task to start from, one prompt is trained on several at once: their rows are"
        " mixed, and larger tasks give more of them. So the prompt learns what the tasks have in common. Your"
        " task starts from it and trains as usual.",
        tries="choose source tasks that are unlike your own: does the start still help?",
        claims=(
            Claim(
                "T5-Base from a mixture of GLUE tasks: 82.8 on GLUE and 73.2 on SuperGLUE; prompt tuning 81.2 and"
                " 66.6.",
            ),
            Claim(
                "On SuperGLUE it is level with tuning the whole model or ahead from small (64.5 against 62.8) to"
                " largest (91.2 against 89.9), but for T5-Base (73.2 against 73.7).",
                where="figure 1",
            ),
            Claim("A mixture of everything helps less than one of related tasks: 67.9 on SuperGLUE with 56 data sets."),
        ),
        terms=(
            Term(r"P^{\mathrm{mix}}", "one prompt, trained on all source tasks together", "P_mix"),
            Term("P", "the target's prompt: it starts as a copy, then is trained"),
            Term("L_s", "the loss on source task s"),
            Term("n_s", "training rows of source task s"),
            Term("n_u", "training rows of each source task, to sum over"),
            Term("s", "a source task"),
            Term("u", "a source task, to sum over"),
            Term(r"\arg\min_P", "the prompt for which the sum is smallest"),
        ),
    )
    transfers = True

    def __init__(self, spec: Spec, m: Length = 10) -> None:
        super().__init__()
        self.slots = m
        self.P = nn.Parameter(spec.words(m))
        self.P_mix = nn.Buffer(torch.zeros(m, spec.width))

    def forward(self, batch: Batch) -> Prompt:
        """P for every row, batch axis 1."""
        return Prompt(embeddings=self.P[None])

    def stages(self) -> tuple[Stage, ...]:
        """One prompt for all sources, then the target from there."""
        return (
            Stage("source tuning", fit(self), tasks="sources", mixture="proportional"),
            Stage("transfer", fit(self), enter=self.remember),
        )

    @torch.no_grad()
    def remember(self, probe: Probe) -> None:
        """Keep the source prompt: P goes on from it."""
        self.P_mix.copy_(self.P)

    def anatomy(self) -> Anatomy:
        """P, started from the prompt that the sources' rows made."""
        mixture = Symbol("P_mix", start=Examples(), how="tuned on a mixture")
        return Anatomy(Symbol("P", start=mixture, how="starts as a copy"))

    def fold(self) -> Folded:
        """The prompt, without what it started from."""
        return Folded(self.card, self.slots, embeddings=self.P[None])

    def parts(self) -> dict[str, Part]:
        """P (m, d) and its start P_mix (m, d)."""
        return {"P": Part(self.P, ("m", "d")), "P_mix": Part(self.P_mix, ("m", "d"))}
