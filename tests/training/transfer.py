"""A method that transfers: source prompts, a stochastic mixture, source and target together, and a search."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ptviz.methods import REGISTRY, Card, Part, Probe, PromptMethod, Stage, fit
from ptviz.methods.hyperparameters import Length
from ptviz.prompt import Batch, Prompt, Spec

CARD = Card(
    "toy-transfer", "Toy transfer", "nobody 2000", "https://example.org", ("transfer", "test", "test"), "P", "A test."
)


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> type[PromptMethod]:
    """The method's class; it leaves the registry with the test."""
    monkeypatch.setitem(REGISTRY, CARD.name, PromptMethod)

    class Toy(PromptMethod):
        """Starts at the mean of its source prompts; counts the rows it sees of every task."""

        card = CARD
        transfers = library = True

        def __init__(self, spec: Spec, m: Length = 4) -> None:
            super().__init__()
            self.slots = m
            self.P = nn.Parameter(spec.words(m))
            self.S = nn.Buffer(torch.zeros(len(spec.sources), m, spec.width))
            self.seen = nn.Buffer(torch.zeros(3, len(spec.sources) + 1))
            self.at = nn.Buffer(torch.zeros((), dtype=torch.long))

        def forward(self, batch: Batch) -> Prompt:
            if self.training:
                self.seen[self.at].index_add_(0, batch.tasks, torch.ones(len(batch)))
            return Prompt(embeddings=self.P[None])

        def take(self, probe: Probe) -> None:
            self.S.copy_(torch.stack([source.prompt for source in probe.sources]))
            with torch.no_grad():
                self.P.copy_(self.S.mean(0))

        def turn(self, probe: Probe) -> None:
            assert not probe.sources
            self.at += 1

        def stages(self) -> tuple[Stage, ...]:
            return (
                Stage("mixture", fit(self), tasks="sources", mixture="stochastic", enter=self.take),
                Stage("together", fit(self), tasks="all", enter=self.turn, share=0.5),
                Stage("search", fit(self), enter=self.turn, share=0.5, optimiser="evolution"),
            )

        def parts(self) -> dict[str, Part]:
            return {"P": Part(self.P, ("m", "d"))}

    return Toy
