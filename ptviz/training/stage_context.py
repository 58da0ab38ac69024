"""The stage context: what a method may compute from its training data between stages or epochs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ptviz.methods.base import PromptMethod, Stage, StageContext
from ptviz.methods.source_prompt import SourcePrompt
from ptviz.prompt import Batch, Output
from ptviz.training.batches import EncodedExamples
from ptviz.training.config import TrainConfig
from ptviz.training.evaluation import evaluate, mean_target_loss
from ptviz.training.importance_scores import mean_absolute_gradients
from ptviz.training.mixture import TaskMixture

MAX_BATCHES = 32
"""Most batches that one computation uses: importance scores converge long before."""


def make_stage_context(
    method: PromptMethod,
    stage: Stage,
    mixture: TaskMixture,
    config: TrainConfig,
    validation: Sequence[EncodedExamples],
    sources: Sequence[SourcePrompt],
    steps: int = 0,
) -> StageContext:
    """Return the context of a stage: its training batches, and the validation examples of each target task."""
    count = min(MAX_BATCHES, max(1, -(-len(mixture) // config.batch)))

    def batches() -> Iterator[tuple[EncodedExamples, Batch]]:
        for step in range(count):
            yield from mixture.step_batches(step, config.batch, config.seed)

    def compute(examples: EncodedExamples, batch: Batch) -> tuple[Tensor, Output]:
        loss, _, output = stage.objective(batch, examples.make_forward_fn(batch, hidden=True))
        return loss, output

    def gradients(parameters: list[Tensor]) -> list[Tensor]:
        return mean_absolute_gradients((compute(examples, batch)[0] for examples, batch in batches()), parameters)

    def outputs() -> Iterator[tuple[Batch, Output]]:
        for examples, batch in batches():
            with torch.no_grad():
                yield batch, compute(examples, batch)[1]

    def score_one(examples: EncodedExamples) -> tuple[float, float]:
        if examples.task.kind == "text":  # Many candidates are compared, and writing is slow.
            return 0.0, mean_target_loss(method, examples)
        scores = evaluate(method, examples)
        return scores.score, scores.loss

    def score() -> tuple[float, float]:
        scores, losses = zip(*map(score_one, validation), strict=True)
        return sum(scores) / len(scores), sum(losses) / len(losses)

    return StageContext(gradients, outputs, score, tuple(sources), steps)
