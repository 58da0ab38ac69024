"""Evaluation without gradients, of a trained prompt or of the bare backbone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ptviz.backbones import Backbone
from ptviz.methods.base import PromptMethod
from ptviz.prompt import Prompt
from ptviz.tasks import Example, Task
from ptviz.training.batches import EncodedExamples
from ptviz.training.config import TrainConfig
from ptviz.training.events import Baselines


@dataclass(frozen=True)
class EvaluationScores:
    """Mean loss in nats, accuracy from 0 to 1, and the class probabilities of every example, in order."""

    loss: float
    accuracy: float
    probabilities: Float[Tensor, "N c"]


@torch.no_grad()
def evaluate(method: PromptMethod | None, rows: EncodedExamples) -> EvaluationScores:
    """Score examples with a method's prompt, or without one; the method's training mode is restored."""
    logits = torch.zeros(len(rows), len(rows.readout.label_words))
    training = method is not None and method.training
    if method is not None:
        method.eval()
    for indices, batch in rows.inference_batches():
        prompt = Prompt() if method is None else method(batch)
        logits[indices] = rows.backbone(batch, prompt, rows.readout).logits.float().cpu()
    if method is not None:
        method.train(training)
    loss = float(F.cross_entropy(logits, rows.labels)) if len(rows) else float("nan")
    accuracy = float((logits.argmax(-1) == rows.labels).double().mean()) if len(rows) else float("nan")
    return EvaluationScores(loss, accuracy, logits.softmax(-1))


def measure_baselines(backbone: Backbone, task: Task, config: TrainConfig) -> Baselines:
    """Measure majority class and zero-shot accuracy on the validation examples of a run with this config."""
    task = subsample_task(task, config)
    bare = EncodedExamples(backbone, task, task.validation, 0, config.length)
    scores = evaluate(None, bare)
    return Baselines(task.majority_accuracy("validation"), scores.accuracy, scores.loss)


def subsample_task(task: Task, config: TrainConfig) -> Task:
    """Return the task with only the examples that a run with this config uses."""
    return task.subsample(config.train_rows, config.validation_rows, config.test_rows, config.shots, config.seed)


def predict(
    method: PromptMethod | None, backbone: Backbone, task: Task, texts: Sequence[str], length: int = 64
) -> Float[Tensor, "n c"]:
    """Return class probabilities (n, c) of texts with a trained prompt, or without one (zero-shot).

    Raises:
        ValueError: if a text is empty.
    """
    refuse_empty_texts(texts)
    slots = 0 if method is None else method.slots
    rows = EncodedExamples(backbone, task, [Example(text, 0) for text in texts], slots, length)
    return evaluate(method, rows).probabilities


def clone_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a copy of a state dict that later updates do not change."""
    return {name: tensor.detach().cpu().clone() for name, tensor in state.items()}


def refuse_empty_texts(texts: Sequence[str]) -> None:
    """Raise an error for the first text without words.

    Raises:
        ValueError: naming the text by its number.
    """
    for index, text in enumerate(texts):
        if not text.strip():
            raise ValueError(f"text {index + 1} of {len(texts)}: expected some words, got none")
