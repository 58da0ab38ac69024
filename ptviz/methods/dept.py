r"""DePT: a shorter prompt, and the saved parameters as a low-rank shift of the word embeddings by position.

.. math:: [\,P_s;\; E(X) + A B\,], \qquad P_s \in \mathbb{R}^{m \times d},\;
          A \in \mathbb{R}^{s \times r},\; B \in \mathbb{R}^{r \times d}

Shi and Lipani, "DePT: Decomposed Prompt Tuning for Parameter-Efficient Fine-tuning", ICLR 2024, section 2.
https://openreview.net/forum?id=KjegfPGRde

There are two learning rates: P_s has the run's, A and B ``ratio`` times it. A starts uniform in +-1/sqrt(r) and B at 0,
as in the released code, so that DePT starts as prompt tuning with m tokens. The released code multiplies A B by
8/sqrt(r), the paper does not: ``scale`` selects one, by default the paper's. The released code indexes A by the padded
position; here row i of A B belongs to the i-th real token, special tokens and the template's words counted, whichever
side is padded. Tokens beyond the s rows are not shifted. The share of the two rates, 0.1, is ours: the released scripts
search 0.3 to 0.5 for P_s and 0.0001 to 0.005 for A and B.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Annotated, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ptviz.methods.base import MethodTensor, PromptMethod, Stage, task_objective
from ptviz.methods.card import MethodCard, ReportedResult
from ptviz.methods.diagram import MethodDiagram
from ptviz.methods.equation_symbols import EquationSymbol
from ptviz.methods.hyperparameters import Hyperparameter, Init, Length, Rank, Text
from ptviz.methods.initializers import init_prompt, prompt_embeddings_of
from ptviz.methods.static_prompt import StaticPrompt
from ptviz.prompt import Batch, Prompt, Spec

Ratio = Annotated[
    float, Hyperparameter("alpha_2/alpha_1", "learning rate of A and B as a share of the prompt's", 0.0, 10.0)
]
Scale = Annotated[
    Literal["paper", "code"], Hyperparameter("scale", "A B as in the paper, or times 8/sqrt(r) as in the code")
]


class DePT(PromptMethod):
    """``P_s`` (m, d), and the shift ``A B`` of shape (s, d) where s is the longest input."""

    card = MethodCard(
        name="dept",
        title="DePT",
        citation="Shi and Lipani, ICLR 2024",
        url="https://openreview.net/forum?id=KjegfPGRde",
        branch=("direct", "decomposition", "input prompt"),
        equation=r"[P_s;\; E(X) + A B], \quad P_s \in \mathbb{R}^{m \times d}, A \in \mathbb{R}^{s \times r},"
        r" B \in \mathbb{R}^{r \times d}",
        idea="Halve the prompt and spend the saved parameters on a low-rank shift of each word embedding.",
        differs="A is indexed by the position among real tokens, regardless of padding. Its s rows are the longest"
        " text: what the template adds behind a text of that length is not shifted. No 8/sqrt(r) by default. The"
        " default share of the two learning rates, 0.1, is ours. So are the sizes: m = 12 and r = 8 are more parameters"
        " than the ten tokens of prompt tuning here; the paper splits an equal number.",
        lesson="Long prompts make every input longer, and so slower. DePT uses a short prompt and spends the"
        " parameters that it saves on the words: each position of the text has a shift, which is added to the"
        " embedding of the word there. The shifts are the product of two thin factors, so they are cheap. The"
        " prompt learns fast, the shifts slowly.",
        suggested_experiment="set ratio to 0: the shifts stay zero, and only the short prompt is left.",
        reported_results=(
            ReportedResult(
                "T5-Base with 76.8 thousand parameters: 85.9 on GLUE and 76.5 on SuperGLUE; prompt tuning of the same"
                " size 84.9 and 73.3.",
                read="summary",
            ),
            ReportedResult(
                "Training takes over 20% less time and memory than a prompt of 100 tokens, more so for larger models.",
                read="summary",
            ),
            ReportedResult("The prompt needs a large learning rate, the low-rank pair a small one.", read="summary"),
            ReportedResult("Without the short prompt, the low-rank shift alone loses about 20 points.", read="summary"),
        ),
        symbols=(
            EquationSymbol("P_s", "a short prompt, trained"),
            EquationSymbol("E", "looks tokens up in the frozen embedding table"),
            EquationSymbol("X", "the text: its own tokens"),
            EquationSymbol("A", "the tall factor, trained: one row for each position in the text"),
            EquationSymbol("B", "the wide factor, trained"),
            EquationSymbol("s", "the maximum length of a text in tokens"),
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
        self.P = nn.Parameter(init_prompt(spec, m, init, text))
        self.A = nn.Parameter((2 * torch.rand(spec.length, r) - 1) / math.sqrt(r))
        self.B = nn.Parameter(torch.zeros(r, spec.width))
        self.ratio = ratio
        self.scale = 8 / math.sqrt(r) if scale == "code" else 1.0

    def shift(self) -> Float[Tensor, "s d"]:
        """Return A B, the shift of each position's word embedding."""
        return self.scale * self.A @ self.B

    def init_from_prompt(self, first: Prompt) -> None:
        """Set P_s to a trained prompt; A B is still 0."""
        with torch.no_grad():
            self.P.copy_(prompt_embeddings_of(first, *self.P.shape))

    def forward(self, batch: Batch) -> Prompt:
        """Return P_s for every row, and row i of A B for the i-th real token."""
        position = batch.text_mask.cumsum(1) - 1
        shifted = batch.text_mask & (position < len(self.A))
        rows = self.shift()[position.clamp(0, len(self.A) - 1)]
        return Prompt(embeddings=self.P[None], delta=rows * shifted[..., None])

    def stages(self) -> tuple[Stage, ...]:
        """Return one stage with two learning rates."""
        return (Stage("tune", task_objective(self), lr_scales={"P": 1.0, "A": self.ratio, "B": self.ratio}),)

    def merge(self) -> StaticPrompt:
        """Return P_s and the product A B, a table of shifts that is larger than A and B."""
        return StaticPrompt(self.card, self.slots, embeddings=self.P[None], shift=self.shift())

    def diagram(self) -> MethodDiagram:
        """Return P_s and the shift of the words, as derived from their axes."""
        return replace(super().diagram(), note="row i of A shifts the i-th word, whichever word it is")

    def tensors(self) -> dict[str, MethodTensor]:
        """Return P_s (m, d), A (T, r), B (r, d) and their product (T, d)."""
        return {
            "P_s": MethodTensor(self.P, ("m", "d")),
            "A": MethodTensor(self.A, ("T", "r")),
            "B": MethodTensor(self.B, ("r", "d")),
            "AB": MethodTensor(self.shift(), ("T", "d")),
        }
