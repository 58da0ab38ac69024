r"""Prompt tuning: m trainable vectors in front of the input of a frozen model.

.. math:: \Pr_{\theta;\theta_P}(Y \mid [P; X]), \qquad P \in \mathbb{R}^{m \times d}

Lester, Al-Rfou and Constant, "The Power of Scale for Parameter-Efficient Prompt Tuning", EMNLP 2021, section 2.
https://aclanthology.org/2021.emnlp-main.243

Follows the paper, also for uniform initialisation from [-0.5, 0.5], where its code uses [0, 0.5).

With a sentence ``toward`` and ``gamma`` above 0, the prompt is pulled towards the words of the sentence, to test
whether a prompt that solves the task can have unrelated nearest words:

.. math:: \ell'(P) = \ell(P) + \gamma \, \tfrac{1}{m} \sum_{i=1}^{m} \lVert P_i - D_i \rVert^2

Khashabi et al., "Prompt Waywardness: The Curious Case of Discretized Interpretation of Continuous Prompts", NAACL 2022,
section 4. https://aclanthology.org/2022.naacl-main.266 The distance is that of their code, ``run.py`` of
https://github.com/Alrope123/prompt-waywardness. There m is the number of the sentence's tokens and the prompt is
initialised as the sentence; here the sentence is cut or repeated to m tokens, and the initialisation is a separate
hyperparameter.
"""

from __future__ import annotations

from typing import Annotated

import torch
from torch import nn

from ptviz.methods.base import MethodTensor, PromptMethod
from ptviz.methods.card import MethodCard, ReportedResult
from ptviz.methods.diagram import MethodDiagram, TensorNode
from ptviz.methods.equation_symbols import EquationSymbol
from ptviz.methods.hyperparameters import Hyperparameter, Init, Length, Text
from ptviz.methods.initializers import init_prompt, prompt_embeddings_of
from ptviz.methods.static_prompt import StaticPrompt
from ptviz.prompt import Batch, Prompt, Spec

Toward = Annotated[
    str, Hyperparameter("toward", "sentence to pull the prompt to, with strength gamma; cut or repeated to m tokens")
]
Gamma = Annotated[
    float,
    Hyperparameter(
        "gamma",
        "strength of the pull to the sentence toward: weight of the squared distance to its words; 0: none",
        0.0,
        100.0,
    ),
]


class PromptTuning(PromptMethod):
    """``P`` of shape (m, d), the same for every input."""

    card = MethodCard(
        name="prompt-tuning",
        title="Prompt Tuning",
        citation="Lester, Al-Rfou and Constant, EMNLP 2021",
        url="https://aclanthology.org/2021.emnlp-main.243",
        branch=("direct", "general", "token embeddings"),
        equation=r"\Pr_{\theta;\theta_P}(Y \mid [P; X]), \quad P \in \mathbb{R}^{m \times d}",
        idea="Put m free vectors in front of the text, freeze the whole model, and train only those vectors.",
        differs="The prompt starts from sampled words, the paper's from class labels. The paper puts it before"
        " everything; on encoders it stands right after [CLS], on decoders after a start token and what opens a chat.",
        lesson="A language model turns every word into a vector, a list of d numbers, before it reads anything."
        " Prompt tuning puts m more vectors in front of those of your text. They stand for no word: they start"
        " as copies of a few and are then moved a little at every step, so that the frozen model's answers to"
        " your examples get better. Many tasks can share one model, because a task only needs its m"
        " vectors.",
        suggested_experiment="train it with 1, 5 and 20 prompt tokens: how many does your task need?",
        reported_results=(
            ReportedResult(
                "Prompt tuning is far behind tuning the whole model on small T5s and catches up as they grow: at"
                " 11 billion parameters both are level on SuperGLUE.",
            ),
            ReportedResult(
                "Longer prompts help up to about 20 tokens, little beyond; more than 100 slightly hurts large"
                " models, and the largest does well with a single token.",
            ),
            ReportedResult(
                "Starting from class labels beats sampled words, which beat random values; at the largest size"
                " the initialisation no longer matters.",
            ),
            ReportedResult(
                "Short prompts learn sooner: on BoolQ the largest T5 needs 21 minutes with 1 token and 3:51 hours"
                " with 100.",
            ),
            ReportedResult(
                "It transfers better to other domains: trained on SQuAD and tested on TextbookQA, F1 is 66.8"
                " against 54.3 for the tuned model.",
            ),
            ReportedResult("A hundred tokens for the largest T5 are 0.0037% of its parameters.", where="table 4"),
        ),
        symbols=(
            EquationSymbol("P", "the prompt: m trained vectors, as wide as a word's embedding"),
            EquationSymbol(r"\theta_P", "what is trained: the prompt alone"),
        ),
    )

    def __init__(
        self,
        spec: Spec,
        m: Length = 10,
        init: Init = "vocabulary",
        text: Text = "",
        toward: Toward = "",
        gamma: Gamma = 0.0,
    ) -> None:
        super().__init__()
        if gamma and not toward.strip():
            raise ValueError("gamma pulls the prompt towards the words in the hyperparameter `toward`; got none")
        self.slots, self.gamma = m, gamma
        self.P = nn.Parameter(init_prompt(spec, m, init, text))
        self.D = nn.Buffer(init_prompt(spec, m, "text", toward)) if toward.strip() else None

    def init_from_prompt(self, first: Prompt) -> None:
        """Set P to a trained prompt."""
        with torch.no_grad():
            self.P.copy_(prompt_embeddings_of(first, *self.P.shape))

    def forward(self, batch: Batch) -> Prompt:
        """Return P for every row, batch axis 1; with gamma above 0, also the loss of its distance to the sentence."""
        if not self.gamma or self.D is None:
            return Prompt(embeddings=self.P[None])
        distance = (self.P - self.D).square().sum() / self.slots
        return Prompt(embeddings=self.P[None], losses={"waywardness": self.gamma * distance})

    def merge(self) -> PromptMethod:
        """Return P without the sentence."""
        return self if self.D is None else StaticPrompt(self.card, self.slots, embeddings=self.P[None])

    def diagram(self) -> MethodDiagram:
        """Return P; the sentence only affects training."""
        return MethodDiagram(prompt=TensorNode("P"))

    def tensors(self) -> dict[str, MethodTensor]:
        """Return P (m, d), and the words D (m, d) of the sentence, if there is one."""
        sentence = {} if self.D is None else {"D": MethodTensor(self.D, ("m", "d"))}
        return {"P": MethodTensor(self.P, ("m", "d")), **sentence}
