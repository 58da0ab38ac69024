"""What a method may ask of its stage's data between stages or epochs."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ptviz.methods.base import Probe, PromptMethod, Stage
from ptviz.prompt import Batch, Output
from ptviz.training.rows import Rows

BATCHES = 32
"""Batches a probe looks at, at most: importance scores settle long before."""


def probe(method: PromptMethod, stage: Stage, rows: Rows, size: int, seed: int) -> Probe:
    """A look at ``stage``'s training rows in batches of ``size``."""
    count = min(BATCHES, max(1, -(-len(rows) // size)))

    def measured(batch: Batch) -> tuple[Tensor, Output]:
        loss, _, output = stage.objective(batch, lambda prompt: rows.backbone(batch, prompt, rows.readout, hidden=True))
        return loss, output

    def gradients(parameters: list[Tensor]) -> list[Tensor]:
        total = [torch.zeros_like(p) for p in parameters]
        for step in range(count):
            loss, _ = measured(rows.training(step, size, seed))
            for sum_, gradient in zip(total, torch.autograd.grad(loss, parameters), strict=True):
                sum_ += gradient.abs() / count
        return total

    def outputs() -> Iterator[tuple[Batch, Output]]:
        for step in range(count):
            batch = rows.training(step, size, seed)
            with torch.no_grad():
                yield batch, measured(batch)[1]

    return Probe(gradients, outputs)
