r"""DePT: a shorter prompt, and the saved parameters as a low-rank shift of the word embeddings by position.

.. math:: [\,P_s;\; E(X) + A B\,], \qquad P_s \in \mathbb{R}^{m \times d},\;
          A \in \mathbb{R}^{s \times r},\; B \in \mathbb{R}^{r \times d}

Shi and Lipani, "DePT: Decomposed Prompt Tuning for Parameter-Efficient Fine-tuning", ICLR 2024, section 2.
https://openreview.net/forum?id=KjegfPGRde

Two learning rates: P_s at the run's rate, A and B at ``ratio`` times it. A starts uniform in +-1/sqrt(r) and B at 0,
as in the released code, so that DePT starts as prompt tuning with m tokens. The released code multiplies A B by
8/sqrt(r), the paper's formula does not: ``scale`` chooses, the paper's by default. The released code indexes A by the
padded slot; here row i of A B belongs to the i-th real token, whatever side is padded.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Annotated, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ptviz.methods.base import Card, Claim, Part, PromptMethod, Stage, fit
from ptviz.methods.diagram import Anatomy
from ptviz.methods.glossary import Term
from ptviz.methods.hyperparameters import Init, Knob, Length, Rank, Text
from ptviz.methods.initializers import given, start
from ptviz.methods.static_prompt import Folded
from ptviz.prompt import Batch, Prompt, Spec

Ratio = Annotated[float, Knob("alpha_2/alpha_1", "learning rate of A and B as a share of the prompt's", 0.0, 10.0)]
Scale = Annotated[Literal["paper", "code"], Knob("scale", "A B as in the paper, or times 8/sqrt(r) as in the code")]


class DePT(PromptMethod):
    """``P_s`` (m, d), and the shift ``A B`` of shape (s, d) where s is the longest input."""

    card = Card(
        name="dept",
        title="DePT",
        citation="Shi and Lipani, ICLR 2024",
        url="https://openreview.net/forum?id=KjegfPGRde",
        branch=("direct", "decomposition", "input prompt"),
        equation=r"[P_s;\; E(X) + A B], \quad P_s \in \mathbb{R}^{m \times d}, A \in \mathbb{R}^{s \times r},"
        r" B \in \mathbb{R}^{r \times d}",
        idea="Halve the prompt and spend the saved parameters on a low-rank nudge of every word embedding, by place.",
        differs="A is indexed by the position among real tokens, so padding does not move it; no 8/sqrt(r) by default.",
        lesson="Long prompts make every input longer, and so slower. DePT keeps a short prompt and spends the"
        " numbers that it saves on the words: each place of the text gets a shift, which is added to whatever"
        " word stands there. The shifts are the product of two thin factors, so they are cheap. The prompt"
        " learns fast, the shifts slowly.",
        tries="set ratio to 0: the shifts stay zero, and only the short prompt is left.",
        claims=(
            Claim(
                "T5-Base with 76.8 thousand numbers: 85.9 on GLUE and 76.5 on SuperGLUE; prompt tuning of the same"
                " size 84.9 and 73.3.",
                read="summary",
            ),
            Claim(
                "Training takes over 20 % less time and memory than a prompt of 100 tokens, more so for larger models.",
                read="summary",
            ),
            Claim("The prompt wants a large learning rate, the low-rank pair a small one.", read="summary"),
            Claim("Without the short prompt, the low-rank shift alone loses about 20 points.", read="summary"),
        ),
        terms=(
            Term("P_s", "a short prompt, trained"),
            Term("E", "looks tokens up in the frozen embedding table"),
            Term("X", "the text: its own tokens"),
            Term("A", "the tall factor, trained: one row for each place in the text"),
            Term("B", "the wide factor, trained"),
            Term("s", "the longest text in tokens"),
        ),
    )

    def __init__(
        self,
        spec: Spec,
        m: Length = 12,
        r: Rank = 8,
        ratio: Ratio = 0.1,
        scale: Scale = "paper",
        init: Init = "vocabulary",
        text: Text = "",
    ) -> None:
        super().__init__()
        self.slots = m
        self.P = nn.Parameter(start(spec, m, init, text))
        self.A = nn.Parameter((2 * torch.rand(spec.length, r) - 1) / math.sqrt(r))
        self.B = nn.Parameter(torch.zeros(r, spec.width))
        self.ratio = ratio
        self.scale = 8 / math.sqrt(r) if scale == "code" else 1.0

    def shift(self) -> Float[Tensor, "s d"]:
        """A B, the shift of each position's word embedding."""
        return self.scale * self.A @ self.B

    def begin_with(self, first: Prompt) -> None:
        """P_s is the prompt that was trained before; A B is still 0."""
        with torch.no_grad():
            self.P.copy_(given(first, *self.P.shape))

    def forward(self, batch: Batch) -> Prompt:
        """P_s for every row, and row i of A B for the i-th real token."""
        position = (batch.text.cumsum(1) - 1).clamp(0, len(self.A) - 1)
        return Prompt(embeddings=self.P[None], delta=self.shift()[position] * batch.text[..., None])

    def stages(self) -> tuple[Stage, ...]:
        """One stage at two rates."""
        return (Stage("tune", fit(self), trains={"P": 1.0, "A": self.ratio, "B": self.ratio}),)

    def fold(self) -> Folded:
        """P_s and A B, multiplied out into a table of shifts; A and B themselves take less room."""
        return Folded(self.card, self.slots, embeddings=self.P[None], shift=self.shift())

    def anatomy(self) -> Anatomy:
        """P_s, and the shift of the words, as their axes tell."""
        return replace(super().anatomy(), remark="row i of A shifts the i-th word, whichever word it is")

    def parts(self) -> dict[str, Part]:
        """P_s (m, d), A (T, r), B (r, d) and their product (T, d)."""
        return {
            "P_s": Part(self.P, ("m", "d")),
            "A": Part(self.A, ("T", "r")),
            "B": Part(self.B, ("r", "d")),
            "AB": Part(self.shift(), ("T", "d")),
        }
