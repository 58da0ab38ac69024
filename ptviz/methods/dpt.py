r"""DPT: the soft prompt is a product of two thin matrices, so it can have no more than rank r.

.. math:: P = A B, \qquad A \in \mathbb{R}^{m \times r},\; B \in \mathbb{R}^{r \times d}

Xiao, Xu, Li, Lu and Li, "Decomposed Prompt Tuning via Low-Rank Reparameterization", Findings of EMNLP 2023, section 3.
https://aclanthology.org/2023.findings-emnlp.890

The paper writes the transpose (embedding size first) and b for r; the order of the released code is used here
(https://github.com/XYaoooo/DPT). Both factors start uniform in [-0.5, 0.5] there: init ``uniform``. The product then
has a standard deviation of sqrt(r)/12, tiny compared with T5's embeddings but larger than a sentence encoder's.
Difference: the other initialisations factor a prompt made of words and use its r largest directions, so that the scale
is the backbone's. After training A and B are merged into P.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ptviz.methods.base import MethodTensor, PromptMethod
from ptviz.methods.card import MethodCard, ReportedResult
from ptviz.methods.equation_symbols import EquationSymbol
from ptviz.methods.hyperparameters import Init, Length, Rank, Text
from ptviz.methods.initializers import init_prompt, prompt_embeddings_of, svd_factors
from ptviz.methods.static_prompt import StaticPrompt
from ptviz.prompt import Batch, Prompt, Spec


class DPT(PromptMethod):
    """``A`` (m, r) times ``B`` (r, d): the same prompt for every input."""

    card = MethodCard(
        name="dpt",
        title="Decomposed Prompt Tuning (DPT)",
        citation="Xiao et al., Findings of EMNLP 2023",
        url="https://aclanthology.org/2023.findings-emnlp.890",
        branch=("direct", "decomposition", "soft prompt"),
        equation=r"P = A B, \quad A \in \mathbb{R}^{m \times r}, B \in \mathbb{R}^{r \times d}",
        idea="Prompts seem to lose rank as they train, so write the prompt as a tall matrix times a wide one.",
        differs="Starts from factored words by default; init uniform draws both factors from [-0.5, 0.5] as the code"
        " does, which suits the larger embeddings of T5.",
        lesson="A prompt is a table: m tokens of d numbers each. If its rows are mostly mixtures of a few patterns,"
        " it need not be stored in full. DPT writes the prompt as a product: a wide factor holds r patterns, a"
        " tall one says how much of each pattern a token takes. Only the two factors are trained, r (m + d)"
        " parameters instead of m d.",
        suggested_experiment="lower r to 1: how far does a single pattern get?",
        reported_results=(
            ReportedResult(
                "As good as prompt tuning or better with about a ninth of its parameters: 11.2 thousand on T5-Large"
                " at rank 10.",
                read="summary",
            ),
            ReportedResult(
                "The rank of a soft prompt falls while it trains: singular values that pass through a threshold go"
                " to zero.",
                read="summary",
            ),
            ReportedResult(
                "T5-Base at rank 10: 84.6 on GLUE and 71.7 on SuperGLUE, slightly below prompt tuning's 84.9 and 73.3.",
                by="the ULPT paper's replication",
            ),
        ),
        symbols=(
            EquationSymbol("P", "the soft prompt: the product"),
            EquationSymbol("A", "the tall factor, trained"),
            EquationSymbol("B", "the wide factor, trained"),
        ),
    )

    def __init__(self, spec: Spec, m: Length = 10, r: Rank = 4, init: Init = "vocabulary", text: Text = "") -> None:
        super().__init__()
        self.slots = m
        if init == "uniform":
            A, B = torch.rand(m, r) - 0.5, torch.rand(r, spec.width) - 0.5
        else:
            A, B = svd_factors(init_prompt(spec, m, init, text), r)
        self.A, self.B = nn.Parameter(A), nn.Parameter(B)

    def prompt(self) -> Float[Tensor, "m d"]:
        """Return A B, the soft prompt."""
        return self.A @ self.B

    def init_from_prompt(self, first: Prompt) -> None:
        """Set A B to the best approximation of rank r of a trained prompt."""
        with torch.no_grad():
            A, B = svd_factors(prompt_embeddings_of(first, *self.prompt().shape), self.A.shape[1])
            self.A.copy_(A)
            self.B.copy_(B)

    def forward(self, batch: Batch) -> Prompt:
        """Return A B for every row, batch axis 1."""
        return Prompt(embeddings=self.prompt()[None])

    def merge(self) -> StaticPrompt:
        """Return the product A B."""
        return StaticPrompt(self.card, self.slots, embeddings=self.prompt()[None])

    def stored_parameters(self) -> int:
        """Return the size of the merged prompt, m d."""
        return self.slots * self.B.shape[1]

    def tensors(self) -> dict[str, MethodTensor]:
        """Return A (m, r), B (r, d) and their product P (m, d)."""
        return {
            "A": MethodTensor(self.A, ("m", "r")),
            "B": MethodTensor(self.B, ("r", "d")),
            "P": MethodTensor(self.prompt(), ("m", "d")),
        }
