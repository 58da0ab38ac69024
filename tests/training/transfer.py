"""A transfer method: source prompts, a stochastic mixture, source and target together, and a search."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ptviz.methods import REGISTRY, MethodCard, MethodTensor, PromptMethod, Stage, StageContext, task_objective
from ptviz.methods.hyperparameters import Length
from ptviz.prompt import Batch, Prompt, Spec

CARD = MethodCard(
    "toy-transfer", "Toy transfer", "nobody 2000", "https://example.org", ("transfer", "test", "test"), "P", "A test."
)


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> type[PromptMethod]:
    """Return the method's class; it leaves the registry with the test."""
    monkeypatch.setitem(REGISTRY, CARD.name, PromptMethod)

    class Toy(PromptMethod):
        """Starts at the mean of its source prompts; counts the rows of every task it trains on."""

        card = CARD
        uses_source_tasks = needs_source_prompts = True

        def __init__(self, spec: Spec, m: Length = 4) -> None:
            super().__init__()
            self.slots = m
            self.P = nn.Parameter(spec.sample_embeddings(m))
            self.S = nn.Buffer(torch.zeros(len(spec.source_tasks), m, spec.width))
            self.seen = nn.Buffer(torch.zeros(3, len(spec.source_tasks) + 1))
            self.at = nn.Buffer(torch.zeros((), dtype=torch.long))

        def forward(self, batch: Batch) -> Prompt:
            if self.training:
                self.seen[self.at].index_add_(0, batch.task_ids, torch.ones(len(batch)))
            return Prompt(embeddings=self.P[None])

        def take(self, context: StageContext) -> None:
            self.S.copy_(torch.stack([source.prompt for source in context.source_prompts]))
            with torch.no_grad():
                self.P.copy_(self.S.mean(0))

        def turn(self, context: StageContext) -> None:
            assert not context.source_prompts
            self.at += 1

        def stages(self) -> tuple[Stage, ...]:
            return (
                Stage("mixture", task_objective(self), tasks="sources", mixture="stochastic", on_start=self.take),
                Stage("together", task_objective(self), tasks="all", on_start=self.turn, step_fraction=0.5),
                Stage("search", task_objective(self), on_start=self.turn, step_fraction=0.5, optimiser="evolution"),
            )

        def tensors(self) -> dict[str, MethodTensor]:
            return {"P": MethodTensor(self.P, ("m", "d"))}

    return Toy
