r"""MPT: one prompt shared by all tasks, and a rank-one factor for each task that scales its rows and columns.

.. math:: \hat{P}_k = P^* \circ (u_k v_k^\top), \qquad
          L = L_{task} + \lambda \left( \mathrm{KL}\big[p(y|x; P_k) \,\|\, p(y|x; \hat{P}_k)\big]
          + \| H_k - \hat{H}_k \|^2 \right)

Wang, Panda, Karlinsky, Feris, Sun and Kim, "Multitask Prompt Tuning Enables Parameter-Efficient Transfer Learning",
ICLR 2023, section 3. https://arxiv.org/abs/2303.02861

The teachers P_k are plain prompts, one for each source task. The student P^*, u_k, v_k learns from the source rows and
from its teachers' answers and hidden states, on a stochastic mixture of the tasks. On the target u and v start at the
average of the sources' and both P^* and (u, v) are trained, at two learning rates; all is then merged into one prompt.
Several target tasks share P^*, and each has its own (u, v).

Our choices where the paper does not say: u = v = 1 at first, so that MPT starts as prompt tuning (``fast`` "normal"
draws them from N(1, 0.02); PEFT draws from N(0, 0.02), where the prompt starts near 0 and learns slowly); lambda is
0.9, one weight for both losses; hidden states are those at the answer's position, and their squared distance is a mean
over layers and coordinates, or it would dominate the task loss of wide backbones; (u, v) have the learning rate of P^*
times ``ratio`` (the paper has two rates; 0.3 and 0.4 are not verified). ``lam`` 0 trains without teachers.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ptviz.methods.base import (
    MethodTensor,
    PromptMethod,
    Stage,
    StageContext,
    copy_per_target,
    task_objective,
)
from ptviz.methods.card import MethodCard, ReportedResult
from ptviz.methods.diagram import ElementwiseProduct, MatrixProduct, MethodDiagram, SourceExamples, TensorNode
from ptviz.methods.equation_symbols import EquationSymbol
from ptviz.methods.hyperparameters import Hyperparameter, Init, Length, Text
from ptviz.methods.initializers import init_prompt
from ptviz.methods.static_prompt import StaticPrompt
from ptviz.prompt import Batch, ForwardFn, Output, Prompt, Spec

Lambda = Annotated[float, Hyperparameter("lambda", "weight of both distillation losses; 0: no teachers", 0.0, 100.0)]
Ratio = Annotated[
    float, Hyperparameter("alpha_2/alpha_1", "learning rate of u and v as a share of the prompt's", 0.0, 10.0)
]
FastWeightInit = Annotated[
    Literal["ones", "normal"], Hyperparameter("W_0", "initial u and v: 1, or drawn from N(1, 0.02)")
]


class MPT(PromptMethod):
    """``P`` (m, d) shared, ``U`` (k, m) and ``V`` (k, d) for the sources, ``u`` (m) and ``v`` (d) for the target."""

    card = MethodCard(
        name="mpt",
        title="MPT",
        citation="Wang et al., ICLR 2023",
        url="https://arxiv.org/abs/2303.02861",
        branch=("transfer", "decomposition", "soft prompt"),
        equation=r"\hat{P}_k = P^* \circ (u_k v_k^\top), \quad L = L_{task} + \lambda (L_{logits} + L_{hidden})",
        idea="Distil the prompts of many tasks into one shared prompt and a rank-one scaling for each task; a new task"
        " starts from the average scaling.",
        differs="u and v start at 1. Hidden states are compared at the answer's position, averaged over layers and"
        " coordinates; the two learning rates are equal by default.",
        lesson="Each source task has a plain prompt of its own, its teacher. MPT learns one prompt that all tasks"
        " share and, for each task, two short lists: one scales the tokens, the other the coordinates. Shared"
        " prompt and lists together must answer as the teachers do, so what is common goes into the one and"
        " what is special into the others. Your task starts from the shared prompt and the average of the"
        " lists.",
        suggested_experiment="set lam to 0: without teachers, does the shared prompt still help?",
        reported_results=(
            ReportedResult(
                "Over 23 data sets it tunes 0.035% of the parameters per task and beats tuning the whole model on GLUE"
                " and SuperGLUE; on question answering (MRQA) a clear gap remains.",
                read="summary",
            ),
            ReportedResult("Decomposition and distillation both help.", read="summary"),
            ReportedResult(
                "Writing text with T5-Large gains 3.03% BLEU on E2E and 6.25% on WebNLG over prompt tuning.",
                read="summary",
            ),
        ),
        symbols=(
            EquationSymbol(r"\hat{P}_k", "the prompt of task k"),
            EquationSymbol("P^*", "the prompt that all tasks share, trained", "P*"),
            EquationSymbol("u_k", "task k's scale of each token, trained"),
            EquationSymbol(r"v_k^\top", "task k's scale of each coordinate, trained", "v_k"),
            EquationSymbol("L_{task}", "the loss of the answers"),
            EquationSymbol(r"\lambda", "the weight of the teachers"),
            EquationSymbol("L_{logits}", "how far the student's answers are from its teacher's"),
            EquationSymbol("L_{hidden}", "how far the student's hidden states are from its teacher's"),
            EquationSymbol("k", "a source task"),
        ),
    )
    needs_source_prompts, uses_source_tasks = True, True
    per_target = ("u", "v")

    def __init__(
        self,
        spec: Spec,
        m: Length = 10,
        lam: Lambda = 0.9,
        ratio: Ratio = 1.0,
        fast: FastWeightInit = "ones",
        init: Init = "vocabulary",
        text: Text = "",
    ) -> None:
        super().__init__()
        k, d = len(spec.source_tasks), spec.width
        spread = 0.02 if fast == "normal" else 0.0
        self.slots = m
        self.P = nn.Parameter(init_prompt(spec, m, init, text))
        self.U, self.V = (nn.Parameter(1 + spread * torch.randn(k, size)) for size in (m, d))
        self.u, self.v = (copy_per_target(spec, 1 + spread * torch.randn(size)) for size in (m, d))
        self.teachers = nn.Buffer(torch.zeros(k, m, d))
        self.lam = lam
        self.ratio = ratio

    def student_prompt(self, k: int) -> Float[Tensor, "m d"]:
        """Return the prompt of source task k: P* o (u_k v_k^T)."""
        return self.P * torch.outer(self.U[k], self.V[k])

    def target_prompt(self, batch: Batch | None = None) -> Float[Tensor, "m d"]:
        """Return P* o (u v^T) of the target: of several that of the batch's task, the first's without a batch."""
        if self.u.ndim == 1:
            return self.P * torch.outer(self.u, self.v)
        target = 0 if batch is None else batch.task_of_all_rows() - len(self.U)
        return self.P * torch.outer(self.u[target], self.v[target])

    def forward(self, batch: Batch) -> Prompt:
        """Return the target's prompt for every row, batch axis 1."""
        return Prompt(embeddings=self.target_prompt(batch)[None])

    def stages(self) -> tuple[Stage, ...]:
        """Return distillation on the source tasks, then training on the target."""
        fast = self.ratio
        return (
            Stage(
                "distil", self.distillation_objective, tasks="sources", mixture="stochastic",
                on_start=self.copy_teachers, needs_hidden_states=self.lam > 0,
                lr_scales={"P": 1.0, "U": fast, "V": fast},
            ),
            Stage(
                "target", task_objective(self), on_start=self.average_source_factors,
                lr_scales={"P": 1.0, "u": fast, "v": fast},
            ),
        )  # fmt: skip

    @torch.no_grad()
    def copy_teachers(self, context: StageContext) -> None:
        """Copy the source prompts, which are the teachers."""
        for teacher, source in zip(self.teachers, context.source_prompts, strict=True):
            teacher.copy_(source.prompt)

    @torch.no_grad()
    def average_source_factors(self, context: StageContext) -> None:
        """Initialise the target's u and v with the average of the sources'."""
        self.u.copy_(self.U.mean(0))
        self.v.copy_(self.V.mean(0))

    def distillation_objective(self, batch: Batch, run: ForwardFn) -> tuple[Float[Tensor, ""], Prompt, Output]:
        """Return the task loss of one source task's examples plus the distance to its teacher."""
        k = int(batch.task_ids[0])
        prompt = Prompt(embeddings=self.student_prompt(k)[None])
        output = run(prompt)
        if self.lam > 0:
            with torch.no_grad():
                teacher = run(Prompt(embeddings=self.teachers[k][None]))
            logits, hidden = distillation_losses(teacher, output)
            prompt = replace(prompt, losses={"logits": self.lam * logits, "hidden": self.lam * hidden})
        return output.loss + sum(prompt.losses.values()), prompt, output

    def merge(self) -> StaticPrompt:
        """Return the target's prompt as a product."""
        return StaticPrompt(self.card, self.slots, self.target_prompt()[None])

    def stored_parameters(self) -> int:
        """Return the size of the targets' prompts, m d each."""
        return self.P.numel() * (len(self.u) if self.u.ndim == 2 else 1)

    def diagram(self) -> MethodDiagram:
        """Return P* o (u v^T); P* is distilled from the teachers, or without them trained on the source examples."""
        teachers = TensorNode("P_k") if self.lam > 0 else SourceExamples()
        shared = TensorNode("P*", teachers, "distilled" if self.lam > 0 else "tuned")
        u, v = (TensorNode(name, TensorNode(f"{name}_k"), "average") for name in ("u", "v"))
        return MethodDiagram(
            ElementwiseProduct(shared, MatrixProduct(u, v)),
            prompt_label="P",
            note="on the target, P*, u and v are trained further",
        )

    def tensors(self) -> dict[str, MethodTensor]:
        """Return P* and the target's prompt (m, d), u (m), v (d); by source u_k (k, m), v_k (k, d) and both prompts.

        Of several targets, u (t, m), v (t, d) and the prompts (t, m, d).
        """
        several = ("t",) if self.u.ndim == 2 else ()
        prompts = self.P * self.u[..., :, None] * self.v[..., None, :] if several else self.target_prompt()
        students = self.P * self.U[:, :, None] * self.V[:, None, :]
        return {
            "P*": MethodTensor(self.P, ("m", "d")),
            "u": MethodTensor(self.u, (*several, "m")),
            "v": MethodTensor(self.v, (*several, "d")),
            "P": MethodTensor(prompts, (*several, "m", "d")),
            "u_k": MethodTensor(self.U, ("k", "m")),
            "v_k": MethodTensor(self.V, ("k", "d")),
            "P_k": MethodTensor(self.teachers, ("k", "m", "d")),
            "P^_k": MethodTensor(students, ("k", "m", "d")),
        }


def distillation_losses(teacher: Output, student: Output) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Return KL(teacher || student) in nats, a mean over rows; and the mean squared distance of hidden states.

    Raises:
        ValueError: if an output has no hidden states.
    """
    if teacher.hidden_states is None or student.hidden_states is None:
        raise ValueError("distillation needs hidden states; run the backbone with hidden=True")
    kl = F.kl_div(
        student.logits.log_softmax(-1), teacher.logits.log_softmax(-1), reduction="batchmean", log_target=True
    )
    return kl, F.mse_loss(student.hidden_states, teacher.hidden_states)
