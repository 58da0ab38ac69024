"""A method that uses all features of a stage: start and epoch hooks, learning-rate scales, buffers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from ptviz.methods import REGISTRY, MethodCard, MethodTensor, PromptMethod, Stage, StageContext, task_objective
from ptviz.prompt import Batch, Prompt, Spec

CARD = MethodCard(
    "two-stages", "Two stages", "nobody 2000", "https://example.org", ("direct", "test", "test"), "P", "A test."
)


@pytest.fixture
def two_stages(monkeypatch: pytest.MonkeyPatch) -> type[PromptMethod]:
    """Return the method's class; it leaves the registry with the test."""
    monkeypatch.setitem(REGISTRY, CARD.name, PromptMethod)

    class TwoStages(PromptMethod):
        """A noisy prompt; the second stage keeps the half that the context finds important, and also trains a shift."""

        card = CARD
        slots = 4

        def __init__(self, spec: Spec) -> None:
            super().__init__()
            self.P = nn.Parameter(spec.sample_embeddings(self.slots))
            self.shift = nn.Linear(1, spec.width, bias=False)
            self.keep = nn.Buffer(torch.ones(self.slots, dtype=torch.bool))
            self.epochs = nn.Buffer(torch.zeros(()))
            self.seen: list[Tensor] = []

        def forward(self, batch: Batch) -> Prompt:
            noise = 0.1 * torch.randn_like(self.P) if self.training else 0.0
            return Prompt(embeddings=(self.P + noise + self.shift.weight[:, 0])[None], keep=self.keep)

        def prune(self, context: StageContext) -> None:
            (gradient,) = context.mean_gradients([self.P])
            self.seen.append(gradient)
            self.keep.copy_(gradient.sum(1) >= gradient.sum(1).median())
            with torch.no_grad():
                self.P.mul_(1.1)  # entering a stage twice would show

        def count(self, context: StageContext) -> None:
            self.epochs += 1 + 1e-3 * torch.rand(())

        def stages(self) -> tuple[Stage, ...]:
            shares = {"P": 0.5, "shift": 1.0}
            return (
                Stage("whole", task_objective(self), lr_scales={"P": 1.0}, on_epoch=self.count, step_fraction=0.5),
                Stage(
                    "pruned",
                    task_objective(self),
                    lr_scales=shares,
                    on_start=self.prune,
                    on_epoch=self.count,
                    step_fraction=0.5,
                ),
            )

        def tensors(self) -> dict[str, MethodTensor]:
            return {"P": MethodTensor(self.P, ("m", "d"))}

    return TwoStages
