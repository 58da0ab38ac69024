r"""Scaled prompt tuning: one prompt, and a trained scale for each of its tokens.

.. math:: \mathrm{diag}(s) P

An example of a method in a package of its own. https://example.org/scaled
"""

from typing import Annotated

import torch
from torch import nn

from ptviz.methods import MethodCard, MethodTensor, PromptMethod, ReportedResult
from ptviz.methods.hyperparameters import Hyperparameter, Length
from ptviz.methods.initializers import init_prompt
from ptviz.prompt import Batch, Prompt, Spec

Scale = Annotated[float, Hyperparameter("s_0", "the first value of every scale", 0.01, 10.0)]


class ScaledPrompt(PromptMethod):
    """``diag(s) P``: a prompt P (m, d) and one scale per token s (m,)."""

    card = MethodCard(
        name="scaled",
        title="Scaled Prompt",
        citation="Example, 2026",
        url="https://example.org/scaled",
        branch=("direct", "general", "token embeddings"),
        equation=r"\mathrm{diag}(s) P",
        idea="Train a prompt and how much each of its tokens counts.",
        differs="There is no paper: this is an example.",
        lesson="A prompt is a few vectors in front of the text. Here each has a scale. A scale near 0 mutes a token.",
        suggested_experiment="start with a scale of 0.1 and see which tokens grow.",
        reported_results=(ReportedResult("Nothing was measured."),),
    )

    def __init__(self, spec: Spec, m: Length = 10, scale: Scale = 1.0) -> None:
        super().__init__()
        self.slots = m
        self.P = nn.Parameter(init_prompt(spec, m, "vocabulary"))
        self.s = nn.Parameter(torch.full((m,), scale))

    def forward(self, batch: Batch) -> Prompt:
        """Return the scaled prompt, the same for every row (batch axis 1)."""
        return Prompt(embeddings=(self.s[:, None] * self.P)[None])

    def tensors(self) -> dict[str, MethodTensor]:
        """Return P (m, d) and s (m,)."""
        return {"P": MethodTensor(self.P, ("m", "d")), "s": MethodTensor(self.s, ("m",))}
