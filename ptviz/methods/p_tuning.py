r"""P-Tuning: a recurrent encoder writes the prompt, so that its tokens depend on one another during training.

.. math:: h_i = \mathrm{MLP}\left([\overrightarrow{\mathrm{LSTM}}(P_{0:i});\;
          \overleftarrow{\mathrm{LSTM}}(P_{i:m})]\right), \qquad [\,h_1 \dots h_m;\; X\,]

Liu, Zheng, Du, Ding, Qian, Yang and Tang, "GPT Understands, Too", 2021 (AI Open 2024), section 2.2.
https://arxiv.org/abs/2103.10385

The released code has two variants. This follows its LAMA part, where the language model is frozen as in the survey: P ~
N(0, 1), two bidirectional layers of width d/2 per direction, then Linear-ReLU-Linear. Its SuperGLUE part, which gives
the paper's main results, also fine-tunes the model and uses an LSTM of width d; here the model is never tuned.
``encoder`` "mlp" replaces the LSTM by the three linear layers of P-Tuning in Hugging Face's PEFT (the SuperGLUE part's
"mlp" has two); with one prompt token the LSTM is equivalent to an MLP. The template sets the positions of the prompt
tokens in the text. After training only h is stored. Our additions: the initialisations other than N(0, 1).
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ptviz.methods.base import MethodTensor, PromptMethod
from ptviz.methods.card import MethodCard, ReportedResult
from ptviz.methods.diagram import EncoderOutput, MethodDiagram, TensorNode
from ptviz.methods.equation_symbols import EquationSymbol
from ptviz.methods.hyperparameters import Hyperparameter, Length, Text
from ptviz.methods.initializers import init_prompt
from ptviz.methods.static_prompt import StaticPrompt
from ptviz.prompt import Batch, Prompt, Spec

Hidden = Annotated[
    int, Hyperparameter("q", "the encoder's width; 0: the code's, d/2 per LSTM direction or d for the MLP", 0, 1024)
]
Encoder = Annotated[
    Literal["lstm", "mlp"], Hyperparameter("encoder", "the network between P and the prompt: LSTM and MLP, or MLP")
]
PromptInit = Annotated[
    Literal["normal", "vocabulary", "labels", "uniform", "text"],
    Hyperparameter(
        "init", "initial P: N(0, 1) as in the code, sampled vocabulary, class labels, uniform noise, or a text"
    ),
]


class PTuning(PromptMethod):
    """``P`` (m, d), an optional ``LSTM`` and an ``MLP`` as encoder, and its output ``h`` (m, d)."""

    card = MethodCard(
        name="p-tuning",
        title="P-Tuning",
        citation="Liu et al., AI Open 2024 (arXiv 2021)",
        url="https://arxiv.org/abs/2103.10385",
        branch=("direct", "encoder", "token embeddings"),
        equation=r"h_i = \mathrm{MLP}([\overrightarrow{\mathrm{LSTM}}(P_{0:i});"
        r" \overleftarrow{\mathrm{LSTM}}(P_{i:m})]), \quad [h_1 \dots h_m;\; X]",
        idea="Compute the prompt tokens with a small recurrent network, so that each depends on the others; after"
        " training only its output is used.",
        differs="The prompt stands together before the text; the paper's stands in several places around it, as the"
        " template field {prompt:3} can. The backbone stays frozen, as in the paper's LAMA part; its SuperGLUE results"
        " tune the model as well.",
        lesson="If every prompt vector is trained by itself, it is independent of the others, and training may settle"
        " on a poor prompt. P-Tuning lets a small recurrent network read a row of trained vectors in both"
        " directions and compute the prompt from them, so that each token depends on its neighbours. After"
        " training only the output of the network is stored.",
        suggested_experiment="set encoder to mlp: does it learn as fast without the recurrent part?",
        reported_results=(
            ReportedResult(
                "Facts asked of a frozen model (LAMA-34k): 43.3% right with hand-written prompts, 50.6% with"
                " P-Tuning; with MegatronLM of 11 billion parameters (LAMA-29k) 45.2% and 64.2%.",
                read="summary",
            ),
            ReportedResult(
                "With P-Tuning GPT-2 base beats BERT base on six of seven SuperGLUE tasks; there the model is"
                " tuned as well.",
                read="summary",
            ),
            ReportedResult(
                "Without the LSTM, small models learn more slowly and end at a similar score; large ones end lower.",
                where="issue 5 of the repository",
                read="code",
            ),
        ),
        symbols=(
            EquationSymbol("h_i", "prompt token i as the network computes it", "h"),
            EquationSymbol("h_1", "the first prompt token as the network computes it"),
            EquationSymbol("h_m", "the last prompt token as the network computes it"),
            EquationSymbol("P_{0:i}", "the trained vectors up to token i: the network reads them forwards", "P"),
            EquationSymbol("P_{i:m}", "the trained vectors from token i on: the network reads them backwards", "P"),
        ),
    )

    def __init__(
        self,
        spec: Spec,
        m: Length = 10,
        hidden: Hidden = 0,
        encoder: Encoder = "lstm",
        init: PromptInit = "normal",
        text: Text = "",
    ) -> None:
        super().__init__()
        d = spec.width
        self.slots = m
        self.P = nn.Parameter(torch.randn(m, d) if init == "normal" else init_prompt(spec, m, init, text))
        if encoder == "lstm":
            q = hidden or max(1, d // 2)
            self.LSTM: nn.LSTM | None = nn.LSTM(d, q, num_layers=2, bidirectional=True)
            self.MLP = nn.Sequential(nn.Linear(2 * q, 2 * q), nn.ReLU(), nn.Linear(2 * q, d))
        else:
            q = hidden or d
            self.LSTM = None
            self.MLP = nn.Sequential(nn.Linear(d, q), nn.ReLU(), nn.Linear(q, q), nn.ReLU(), nn.Linear(q, d))

    def prompt(self) -> Float[Tensor, "m d"]:
        """Return the prompt h, the output of the encoder."""
        if self.P.is_meta:  # An LSTM is slow on the meta device, and the shape is known.
            return torch.empty_like(self.P)
        states = self.P if self.LSTM is None else self.LSTM(self.P)[0]
        h: Tensor = self.MLP(states)
        return h

    def forward(self, batch: Batch) -> Prompt:
        """Return the prompt h for every row, batch axis 1."""
        return Prompt(embeddings=self.prompt()[None])

    def merge(self) -> StaticPrompt:
        """Return the prompt without its encoder."""
        return StaticPrompt(self.card, self.slots, self.prompt()[None])

    def stored_parameters(self) -> int:
        """Return the size of the prompt h, m d."""
        return self.P.numel()

    def diagram(self) -> MethodDiagram:
        """Return P through the encoder."""
        label = "MLP" if self.LSTM is None else "BiLSTM + MLP"
        note = "the template sets the positions of the prompt among the words"
        return MethodDiagram(EncoderOutput(TensorNode("P"), ("LSTM", "MLP"), label), prompt_label="h", note=note)

    def tensors(self) -> dict[str, MethodTensor]:
        """Return P and h (m, d), and the encoder's weights by layer.

        The LSTM's rows hold its four gates (axis g, 4 q long) under PyTorch's names; p is the input width of a layer.
        """
        found = {"P": MethodTensor(self.P, ("m", "d")), "h": MethodTensor(self.prompt(), ("m", "d"))}
        if self.LSTM is not None:
            for name, weight in self.LSTM.named_parameters():
                inner = ("q",) if name.startswith("weight_hh") else ("d",) if "_l0" in name else ("p",)
                found[f"LSTM.{name}"] = MethodTensor(weight, ("g", *inner)[: weight.ndim])
        linear = [layer for layer in self.MLP if isinstance(layer, nn.Linear)]
        widths = ("p", "p", "d") if self.LSTM is not None else ("d", *("q" * (len(linear) - 1)), "d")
        for i, layer in enumerate(linear):
            found[f"W_{i + 1}"] = MethodTensor(layer.weight, (widths[i + 1], widths[i]))
            found[f"b_{i + 1}"] = MethodTensor(layer.bias, (widths[i + 1],))
        return found
