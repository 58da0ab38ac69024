"""Evaluation without gradients, of a trained prompt or of the bare backbone."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ptviz.backbones import Backbone
from ptviz.methods.base import PromptMethod
from ptviz.prompt import Prompt
from ptviz.tasks import Example, Task
from ptviz.tasks.compute_metrics import score_each_text, score_labels, score_texts
from ptviz.tasks.metrics import Metric
from ptviz.training.batches import EncodedExamples
from ptviz.training.config import TrainConfig
from ptviz.training.task_outputs import generate_outputs


@dataclass(frozen=True)
class EvaluationScores:
    """Mean loss in nats, the score by the task's metric, and the answer to every example, in order.

    ``probabilities`` are those of the classes, or of the choices (0 past an example's last one); for a text-to-text
    task they have no columns, and ``written`` holds the outputs. The loss of target texts is a mean over their tokens.
    ``margin`` is what a mean of scores of generated texts may differ by chance: one standard error, at least one
    example.
    """

    loss: float
    score: float
    probabilities: Float[Tensor, "N c"]
    written: tuple[str, ...] = ()
    margin: float = 0.0


@torch.no_grad()
def evaluate(method: PromptMethod | None, rows: EncodedExamples) -> EvaluationScores:
    """Score examples with a method's prompt, or without one; the method's training mode is restored."""
    training = method is not None and method.training
    if method is not None:
        method.eval()
    found = {"classes": _evaluate_classes, "choices": _evaluate_choices, "texts": _evaluate_texts}[rows.scoring](
        method, rows
    )
    if method is not None:
        method.train(training)
    return found


def _evaluate_classes(method: PromptMethod | None, rows: EncodedExamples) -> EvaluationScores:
    logits = torch.zeros(len(rows), len(rows.readout.label_words))
    for indices, batch in rows.inference_batches():
        prompt = Prompt() if method is None else method(batch)
        logits[indices] = rows.backbone(batch, prompt, rows.readout).logits.float().cpu()
    loss = float(F.cross_entropy(logits, rows.labels)) if len(rows) else float("nan")
    return EvaluationScores(loss, _score_classes(logits, rows), logits.softmax(-1))


def _score_classes(scores: Float[Tensor, "N c"], rows: EncodedExamples) -> float:
    if not len(rows):
        return float("nan")
    return score_labels(rows.task.scorer, scores.argmax(-1).tolist(), rows.labels.tolist(), scores.shape[1])


def _evaluate_choices(method: PromptMethod | None, rows: EncodedExamples) -> EvaluationScores:
    """Score each choice by the mean log-likelihood of its tokens."""
    scores = torch.full((len(rows), max(map(len, rows.choices), default=0)), -torch.inf)
    for indices, batch in rows.inference_batches():
        found = score_choices(rows, indices, Prompt() if method is None else method(batch))
        scores[indices, : found.shape[1]] = found
    right = scores[torch.arange(len(rows)), rows.labels]
    loss = -float(right.mean()) if len(rows) else float("nan")
    return EvaluationScores(loss, _score_classes(scores, rows), scores.softmax(-1))


@torch.no_grad()
def score_choices(rows: EncodedExamples, indices: Sequence[int], prompt: Prompt) -> Float[Tensor, "n c"]:
    """Return the mean log-likelihood of the tokens of each choice of some examples; -inf past an example's last one."""
    scores = torch.full((len(indices), max(len(rows.choices[i]) for i in indices)), -torch.inf)
    for choice in range(scores.shape[1]):
        nll = rows.backbone(rows.make_batch(indices, choice), prompt, rows.readout).nll.float().cpu()
        real = torch.tensor([choice < len(rows.choices[i]) for i in indices])
        scores[real, choice] = -nll[real]
    return scores


def _evaluate_texts(method: PromptMethod | None, rows: EncodedExamples) -> EvaluationScores:
    written = generate_outputs(method, rows)
    references = [example.targets for example in rows.sources]
    score = score_texts(rows.task.scorer, written, references) if written else float("nan")
    margin = _margin(rows.task.scorer, written, references)
    return EvaluationScores(mean_target_loss(method, rows), score, torch.zeros(len(rows), 0), tuple(written), margin)


def _margin(metric: Metric, written: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    if not metric.is_row_mean or len(written) < 2:
        return 0.0
    scores = [one for one in score_each_text(metric, written, references) if one is not None]
    # A little more, because a difference of one example is not exactly that in floating point.
    return 1.001 * max(statistics.stdev(scores) / math.sqrt(len(scores)), 1 / len(scores))


@torch.no_grad()
def mean_target_loss(method: PromptMethod | None, rows: EncodedExamples) -> float:
    """Return the mean negative log-likelihood, in nats, of all target tokens of the examples."""
    total, tokens = 0.0, sum(len(row.target) for row in rows.examples)
    for indices, batch in rows.inference_batches():
        prompt = Prompt() if method is None else method(batch)
        nll = rows.backbone(batch, prompt, rows.readout).nll.tolist()
        total += sum(mean * len(rows.examples[i].target) for i, mean in zip(indices, nll, strict=True))
    return total / tokens if tokens else float("nan")


def subsample_task(task: Task, config: TrainConfig) -> Task:
    """Return the task with only the examples that a run with this config uses."""
    return task.subsample(config.train_rows, config.validation_rows, config.test_rows, config.shots, config.seed)


def predict(
    method: PromptMethod | None, backbone: Backbone, task: Task, texts: Sequence[str], length: int = 64
) -> Float[Tensor, "n c"]:
    """Return class probabilities (n, c) of texts with a trained prompt, or without one (zero-shot).

    The texts of several fields are joined by " | ".

    Raises:
        ValueError: if a text is empty, has not one text for each field, or the task has no classes.
    """
    if task.kind != "classification":
        raise ValueError(f"{task.name} has no classes: its answers are {task.kind}s; use ptviz generate")
    refuse_empty_texts(texts)
    slots = 0 if method is None else method.slots
    rows = EncodedExamples(backbone, task, [task.split_text(text) for text in texts], slots, length)
    return evaluate(method, rows).probabilities


def answer_examples(
    method: PromptMethod | None, backbone: Backbone, task: Task, examples: Sequence[Example], length: int = 64
) -> list[Any]:
    """Return the answer to each example: a list of probabilities of its classes or choices, or the generated text."""
    rows = EncodedExamples(backbone, task, examples, 0 if method is None else method.slots, length)
    return generate_outputs(method, rows) if task.kind == "text" else evaluate(method, rows).probabilities.tolist()


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
