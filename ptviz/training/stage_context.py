"""What a method may ask of its stage's data between stages or epochs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ptviz.methods.base import PromptMethod, Stage, StageContext
from ptviz.methods.source_prompts import SourcePrompt
from ptviz.prompt import Batch, Output
from ptviz.training.batches import EncodedExamples
from ptviz.training.config import TrainConfig
from ptviz.training.evaluation import evaluate
from ptviz.training.importance_scores import mean_absolute_gradients
from ptviz.training.mixture import TaskMixture

MAX_BATCHES = 32
"""Batches a probe looks at, at most: importance scores settle long before."""


def make_stage_context(
    method: PromptMethod,
    stage: Stage,
    mixture: TaskMixture,
    config: TrainConfig,
    validation: EncodedExamples,
    sources: Sequence[SourcePrompt],
) -> StageContext:
    """A look at ``stage``'s training rows in batches of the config's size, and at the target's validation rows."""
    count = min(MAX_BATCHES, max(1, -(-len(mixture) // config.batch)))

    def batches() -> Iterator[tuple[EncodedExamples, Batch]]:
        for step in range(count):
            yield from mixture.step_batches(step, config.batch, config.seed)

    def measured(rows: EncodedExamples, batch: Batch) -> tuple[Tensor, Output]:
        loss, _, output = stage.objective(batch, rows.make_forward_fn(batch, hidden=True))
        return loss, output

    def gradients(parameters: list[Tensor]) -> list[Tensor]:
        return mean_absolute_gradients((measured(rows, batch)[0] for rows, batch in batches()), parameters)

    def outputs() -> Iterator[tuple[Batch, Output]]:
        for rows, batch in batches():
            with torch.no_grad():
                yield batch, measured(rows, batch)[1]

    def score() -> tuple[float, float]:
        scores = evaluate(method, validation)
        return scores.accuracy, scores.loss

    return StageContext(gradients, outputs, score, tuple(sources))
