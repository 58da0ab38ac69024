r"""Prompt tuning: m trainable vectors in front of the input of a frozen model.

.. math:: \Pr_{\theta;\theta_P}(Y \mid [P; X]), \qquad P \in \mathbb{R}^{m \times d}

Lester, Al-Rfou and Constant, "The Power of Scale for Parameter-Efficient Prompt Tuning", EMNLP 2021, section 2.
https://aclanthology.org/2021.emnlp-main.243

Follows the paper. Its code draws uniform starts from [0, 0.5) where the paper says [-0.5, 0.5]: the paper's is used.
"""

from __future__ import annotations

from torch import nn

from ptviz.methods.base import Card, Part, PromptMethod
from ptviz.methods.knobs import Init, Length, Text
from ptviz.methods.starts import start
from ptviz.prompt import Batch, Prompt, Spec


class PromptTuning(PromptMethod):
    """``P`` of shape (m, d), the same for every input."""

    card = Card(
        name="prompt-tuning",
        title="Prompt Tuning",
        citation="Lester, Al-Rfou and Constant, EMNLP 2021",
        url="https://aclanthology.org/2021.emnlp-main.243",
        branch=("direct", "general", "token embeddings"),
        equation=r"\Pr_{\theta;\theta_P}(Y \mid [P; X]), \quad P \in \mathbb{R}^{m \times d}",
        idea="Put m free vectors in front of the text, freeze the whole model, and train only those vectors.",
        differs="The paper puts the prompt before everything; on encoders it stands right after [CLS].",
    )

    def __init__(self, spec: Spec, m: Length = 10, init: Init = "vocabulary", text: Text = "") -> None:
        super().__init__()
        self.slots = m
        self.P = nn.Parameter(start(spec, m, init, text))

    def forward(self, batch: Batch) -> Prompt:
        """P for every row, batch axis 1."""
        return Prompt(embeddings=self.P[None])

    def parts(self) -> dict[str, Part]:
        """P (m, d)."""
        return {"P": Part(self.P, ("m", "d"))}
