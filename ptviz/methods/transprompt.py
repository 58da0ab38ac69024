r"""TransPrompt: recurrent encoders write a prompt from shared and task-specific knowledge.

.. math:: P_k = \mathrm{MLP}\left(a\,\mathrm{LSTM}_*(E) + (1 - a)\,\mathrm{LSTM}_k(E)\right), \qquad
          L = \sum_i \omega_i L_i \mp \lambda \bar{H}, \qquad
          \omega = \mathrm{softmax}_i \Big( -\sum_p w_p \| z_i - c_p \| \Big)

Wang, Wang, Qiu, Huang and Gao, "TransPrompt: Towards an Automatic Transferable Prompting Framework for Few-shot Text
Classification", EMNLP 2021, section 3. https://aclanthology.org/2021.emnlp-main.221

Meta-knowledge stage: all tasks at once, target included; with few shots, as few of each. Before every epoch, and every
25 steps in longer ones, the prototype c_p of each (task, label) is set to the mean hidden state of its examples, of at
most 32 batches; examples near the prototypes have more weight, w being alpha = 0.5 for an example's own prototype and
uniform over the others. The entropy H (bits) of the answers is rewarded. Adaptation stage: the target only, entropy
penalised.

The original also tunes the whole language model; here it is frozen, as in the survey. The released code weights LSTM_*
by a = 0.2, the paper averages: ``mix`` selects one, by default the paper's. Other differences: z is read at the
answer's position (the code's [CLS]), in the second-to-last layer as in the code; omega has no gradient, or a prompt
could lower an example's weight instead of its loss; a step calls the objective once per task, so the softmax runs over
that task's examples of the batch, and tasks are averaged by examples; adaptation weights all examples equally. The
encoders are ``hidden`` wide per direction (0: d, as in the code: 42 million scalars each in RoBERTa-large).
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Annotated, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ptviz.methods.base import MethodTensor, PromptMethod, Stage, StageContext
from ptviz.methods.card import MethodCard, ReportedResult
from ptviz.methods.diagram import EncoderOutput, MethodDiagram, Sum, TensorNode
from ptviz.methods.equation_symbols import EquationSymbol
from ptviz.methods.hyperparameters import Hyperparameter, Length
from ptviz.methods.static_prompt import StaticPrompt
from ptviz.prompt import Batch, ForwardFn, Output, Prompt, Spec

MAX_CLASSES = 160
"""Most labels of one task; the largest built-in task has 150."""

Hidden = Annotated[int, Hyperparameter("q", "width of an encoder per direction; 0: the code's, d", 0, 1024)]
EncoderMix = Annotated[
    Literal["paper", "code"], Hyperparameter("a", "share of the universal encoder: half, or 0.2 as in the code")
]
OwnPrototypeWeight = Annotated[
    float, Hyperparameter("alpha", "weight of an example's own prototype among all prototypes", 0.0, 1.0)
]
Lambda = Annotated[float, Hyperparameter("lambda", "weight of the answers' entropy in both stages", 0.0, 1.0)]


class TransPrompt(PromptMethod):
    """Pseudo tokens ``E`` (m, d), an encoder for each task and a universal one, followed by the ``MLP``."""

    card = MethodCard(
        name="transprompt",
        title="TransPrompt (frozen LM)",
        citation="Wang et al., EMNLP 2021",
        url="https://aclanthology.org/2021.emnlp-main.221",
        branch=("transfer", "encoder", "input"),
        equation=r"P_k = \mathrm{MLP}(a\,\mathrm{LSTM}_*(E) + (1-a)\,\mathrm{LSTM}_k(E)), \quad"
        r" L = \sum_i \omega_i L_i \mp \lambda \bar{H}",
        idea="Learn all tasks together, what they share in one encoder and what is their own in another, and trust"
        " typical examples more; then adapt to the target.",
        differs="Ours keeps the language model frozen; the original tunes all of it. Encoders are narrower, the prompt"
        " is longer than the released one's single token, and example weights are a softmax over one task's examples,"
        " taken at the answer and without gradients.",
        lesson="All tasks are learned together at first, your own among them. Two recurrent networks read the same"
        " trained vectors, one of the task's own and one that all tasks share, and the mean of both becomes"
        " the prompt: so the shared one gathers what helps everywhere. Examples near the middle of their class"
        " count more than odd ones. Then training continues on your task only. The original also trains the language"
        " model; here it stays frozen.",
        suggested_experiment="set mix to code: the shared network then counts for a fifth instead of a half.",
        reported_results=(
            ReportedResult(
                "It beats learning one task, and other ways of learning across tasks, with few examples and with"
                " all; tasks that it never saw gain too.",
                where="abstract",
                read="summary",
            ),
            ReportedResult(
                "One seed of the authors: accuracy 0.931 on SST-2, 0.876 on MR, 0.915 on CR, with the"
                " language model tuned too.",
                where="log in the repository",
                read="code",
            ),
        ),
        symbols=(
            EquationSymbol("P_k", "the prompt of task k"),
            EquationSymbol("a", "the weight of the universal encoder"),
            EquationSymbol(r"\mathrm{LSTM}_*", "the universal encoder, shared by all tasks, trained"),
            EquationSymbol(r"\mathrm{LSTM}_k", "task k's own encoder, trained"),
            EquationSymbol("E", "trained vectors that both encoders read"),
            EquationSymbol("i", "a training example"),
            EquationSymbol(r"\omega_i", "the weight of example i: higher for typical ones"),
            EquationSymbol("L_i", "the loss of example i"),
            EquationSymbol(r"\lambda", "the weight of the entropy"),
            EquationSymbol(r"\bar{H}", "mean entropy of the answers: how uncertain they are"),
            EquationSymbol("k", "a task: one of the sources, or the target"),
        ),
    )
    uses_source_tasks = True

    def __init__(
        self,
        spec: Spec,
        m: Length = 10,
        hidden: Hidden = 64,
        mix: EncoderMix = "paper",
        alpha: OwnPrototypeWeight = 0.5,
        lam: Lambda = 0.01,
    ) -> None:
        super().__init__()
        d, tasks = spec.width, len(spec.source_tasks) + 1
        q = hidden or d

        def encoder() -> nn.LSTM:
            return nn.LSTM(d, q, num_layers=2, bidirectional=True)

        self.slots = m
        self.E = nn.Parameter(torch.randn(m, d))
        self.universal = encoder()
        self.encoders = nn.ModuleList(encoder() for _ in range(tasks))
        self.MLP = nn.Sequential(nn.Linear(2 * q, d), nn.ReLU(), nn.Linear(d, d))
        self.prototypes = nn.Buffer(torch.zeros(tasks, MAX_CLASSES, d))
        self.rows = nn.Buffer(torch.zeros(tasks, MAX_CLASSES))
        self.universal_share = 0.2 if mix == "code" else 0.5
        self.alpha = alpha
        self.lam = lam

    def prompt(self, k: int) -> Float[Tensor, "m d"]:
        """Return the prompt of task k; the target's is the last."""
        if self.E.is_meta:  # An LSTM is slow on the meta device, and the shape is known.
            return torch.empty_like(self.E)
        own, shared = self.encoders[k](self.E)[0], self.universal(self.E)[0]
        written: Tensor = self.MLP(self.universal_share * shared + (1 - self.universal_share) * own)
        return written

    def forward(self, batch: Batch) -> Prompt:
        """Return the target's prompt for every row, batch axis 1."""
        return Prompt(embeddings=self.prompt(-1)[None])

    def stages(self) -> tuple[Stage, ...]:
        """Return training on all tasks together, then on the target."""
        own = {name: 1.0 for name in ("E", "universal", "MLP", f"encoders.{len(self.encoders) - 1}")}
        return (
            Stage(
                "meta-knowledge",
                self.meta_knowledge_objective,
                tasks="all",
                on_epoch=self.update_prototypes,
                few_shot_sources=True,
                needs_hidden_states=True,
                step_fraction=0.5,
            ),
            Stage("adaptation", self.adaptation_objective, lr_scales=own, step_fraction=0.5),
        )

    @torch.no_grad()
    def update_prototypes(self, context: StageContext) -> None:
        """Set the prototypes to the mean hidden state of each label of each task."""
        total, seen = torch.zeros_like(self.prototypes), torch.zeros_like(self.rows)
        for batch, output in context.iterate_outputs():
            if int(batch.labels.max()) >= MAX_CLASSES:
                raise ValueError(f"TransPrompt supports at most {MAX_CLASSES} labels per task; got a task with more")
            index = (batch.task_ids, batch.labels)
            total.index_put_(index, answer_hidden_states(output), accumulate=True)
            seen.index_put_(index, seen.new_ones(len(batch)), accumulate=True)
        self.prototypes.copy_(total / seen.clamp(min=1)[..., None])
        self.rows.copy_(seen)

    def example_weights(self, batch: Batch, z: Float[Tensor, "B d"]) -> Float[Tensor, " B"]:
        """Return omega, each row's weight by its distance to the prototypes; uniform without prototypes."""
        known = self.rows > 0
        count = int(known.sum())
        task, label = known.nonzero(as_tuple=True)
        own = (batch.task_ids[:, None] == task) & (batch.labels[:, None] == label)
        distances = (z[:, None] - self.prototypes[known]).norm(dim=-1)
        w = torch.full_like(distances, (1 - self.alpha) / max(1, count - 1)).masked_fill(own, self.alpha)
        w = w / w.sum(1, keepdim=True).clamp(min=1e-12)  # A row without an own prototype weights the others.
        score: Tensor = -(w * distances).sum(1)
        return score.softmax(0)

    def meta_knowledge_objective(self, batch: Batch, run: ForwardFn) -> tuple[Float[Tensor, ""], Prompt, Output]:
        """Return the weighted loss of one task's examples, minus the entropy of their answers."""
        prompt = Prompt(embeddings=self.prompt(int(batch.task_ids[0]))[None])
        output = run(prompt)
        weights = self.example_weights(batch, answer_hidden_states(output).detach()).detach()
        prompt = replace(prompt, losses={"entropy": -self.lam * answer_entropy(output)})
        output = replace(output, nll=len(batch) * weights * output.nll)
        return output.loss + prompt.losses["entropy"], prompt, output

    def adaptation_objective(self, batch: Batch, run: ForwardFn) -> tuple[Float[Tensor, ""], Prompt, Output]:
        """Return the target's loss, plus the entropy of its answers."""
        prompt = self(batch)
        output = run(prompt)
        prompt = replace(prompt, losses={"entropy": self.lam * answer_entropy(output)})
        return output.loss + prompt.losses["entropy"], prompt, output

    def merge(self) -> StaticPrompt:
        """Return the target's prompt without encoders."""
        return StaticPrompt(self.card, self.slots, self.prompt(-1)[None])

    def stored_parameters(self) -> int:
        """Return the size of the target's prompt, m d."""
        return self.E.numel()

    def diagram(self) -> MethodDiagram:
        """Return the mixture of the target's own and the universal encoder's output, through the MLP."""
        own = EncoderOutput(TensorNode("E"), (f"encoders.{len(self.encoders) - 1}",), "own LSTM")
        shared = EncoderOutput(TensorNode("E"), ("universal",), "universal LSTM")
        written = EncoderOutput(Sum((own, shared), mean=self.universal_share == 0.5), ("MLP",), "MLP")
        return MethodDiagram(written, prompt_label="P", note="the original tunes the language model as well")

    def tensors(self) -> dict[str, MethodTensor]:
        """Return E (m, d), prompts P_k (k, m, d) and prototypes c (k, c, d) by task, target last, and encoders.

        An LSTM's rows hold its four gates (axis g, 4 q long) under PyTorch's names; p is the input width of a layer.
        """
        found = {
            "E": MethodTensor(self.E, ("m", "d")),
            "P_k": MethodTensor(torch.stack([self.prompt(k) for k in range(len(self.encoders))]), ("k", "m", "d")),
            "c": MethodTensor(self.prototypes, ("k", "c", "d")),
            "n": MethodTensor(self.rows, ("k", "c")),
        }
        for index, lstm in (("*", self.universal), *((str(k), e) for k, e in enumerate(self.encoders))):
            for name, weight in lstm.named_parameters():
                inner = "q" if name.startswith("weight_hh") else "d" if "_l0" in name else "p"
                found[f"LSTM_{index}.{name}"] = MethodTensor(weight, ("g", inner)[: weight.ndim])
        linear = [layer for layer in self.MLP if isinstance(layer, nn.Linear)]
        for i, layer in enumerate(linear):
            found[f"W_{i + 1}"] = MethodTensor(layer.weight, ("d", "d" if i else "p"))
            found[f"b_{i + 1}"] = MethodTensor(layer.bias, ("d",))
        return found


def answer_hidden_states(output: Output) -> Float[Tensor, "B d"]:
    """Return z, the second-to-last layer's hidden states at the answer's position.

    Raises:
        ValueError: if the output has no hidden states.
    """
    if output.hidden_states is None:
        raise ValueError("TransPrompt needs hidden states; run the backbone with hidden=True")
    return output.hidden_states[-2].float()


def answer_entropy(output: Output) -> Float[Tensor, ""]:
    """Return the mean entropy of the answers, in bits."""
    logs = output.logits.log_softmax(-1)
    return -(logs.exp() * logs).sum(-1).mean() / math.log(2)
