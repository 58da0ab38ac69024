"""Evaluation without gradients, of a trained prompt or of the bare backbone."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ptviz.backbones import Backbone
from ptviz.backbones.generation import GenerationSettings, generate
from ptviz.methods.base import PromptMethod
from ptviz.prompt import Batch, Prompt
from ptviz.tasks import Example, SplitName, Task
from ptviz.tasks.metrics import Metric
from ptviz.tasks.scoring import score_each_text, score_labels, score_texts
from ptviz.training.batches import EncodedExamples
from ptviz.training.config import TrainConfig
from ptviz.training.events import MAX_SHOWN_CHARACTERS, Baselines

SHOWN_EXAMPLES = 6
"""Validation examples of a text-to-text task whose outputs are recorded at every evaluation."""
IN_CONTEXT_EXAMPLES = 4
"""Training examples before the input, in the baseline without a prompt."""
GENERATION_POSITIONS = 4096
"""Input and output positions in one batch of texts to be written."""
MAX_NEW_TOKENS = 512


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


@torch.no_grad()
def generate_outputs(
    method: Callable[[Batch], Prompt] | None,
    rows: EncodedExamples,
    settings: GenerationSettings | None = None,
    on_text: Callable[[str], None] | None = None,
) -> list[str]:
    """Return what the backbone writes after each example, up to the task's end of a text; greedily by default.

    ``on_text`` gets the text so far whenever a token is chosen; it needs a single example and no beams.
    """
    seen: list[int] = []

    def decode(ids: list[int]) -> str:
        return str(rows.backbone.tokeniser.decode(ids, skip_special_tokens=True)).strip()

    def stream(token: int) -> None:
        seen.append(token)
        if on_text is not None:
            on_text(decode(seen))

    return [decode(ids) for ids in generate_token_ids(method, rows, settings, stream if on_text else None)]


@torch.no_grad()
def generate_token_ids(
    method: Callable[[Batch], Prompt] | None,
    rows: EncodedExamples,
    settings: GenerationSettings | None = None,
    on_token: Callable[[int], None] | None = None,
) -> list[list[int]]:
    """Return the ids of the tokens generated after each example, without the end; see ``generate_outputs``.

    ``on_token`` gets each token as it is chosen; it needs a single example and no beams.
    """
    settings = settings_of_task(rows, settings)
    written: list[list[int]] = [[]] * len(rows)
    for indices, batch in rows.inference_batches(GENERATION_POSITIONS // settings.beams, settings.max_new_tokens):
        batch = replace(batch, targets=None)
        prompt = Prompt() if method is None else method(batch)
        found = generate(rows.backbone, batch, prompt, settings, on_token)
        for index, ids in zip(indices, found, strict=True):
            written[index] = ids
    return written


def settings_of_task(rows: EncodedExamples, settings: GenerationSettings | None = None) -> GenerationSettings:
    """Return how texts of these examples' task are written: up to the task's end of a text; greedily by default."""
    settings = settings or GenerationSettings(longest_target(rows))
    return replace(
        settings,
        stop_at_newline=settings.stop_at_newline or rows.ends_with_line,
        stop=rows.end if rows.task.chat else settings.stop,
    )


def longest_target(rows: EncodedExamples) -> int:
    """Return the tokens of the longest target of the training rows and four more: the most that is written."""
    texts = [text for row in rows.task.train for text in (*row.targets, *row.choices)]
    longest = max(len(ids) for ids in rows.template.encode_targets(texts, rows.backbone.tokeniser, rows.end))
    return min(longest + 4, MAX_NEW_TOKENS)


def measure_baselines(backbone: Backbone, task: Task, config: TrainConfig) -> Baselines:
    """Measure what is reached without a prompt on the validation examples of a run with this config."""
    task = subsample_task(task, config)
    bare = EncodedExamples(backbone, task, task.validation, 0, config.length)
    scores = evaluate(None, bare)
    if task.kind != "text":
        return Baselines(majority_score(task, "validation"), scores.score, scores.loss)
    references = [row.targets for row in task.validation]
    shown = task.train[:IN_CONTEXT_EXAMPLES]
    ahead, context = bare.in_context(shown, config.length), None
    places = getattr(backbone.model.config, "max_position_embeddings", None)
    # An encoder with learned positions has no more of them.
    if backbone.family == "decoder" or places is None or max(len(row.ids) for row in ahead.examples) <= places:
        context = score_texts(task.scorer, generate_outputs(None, ahead), references)
    some = task.validation[:SHOWN_EXAMPLES]
    return Baselines(
        majority_score(task, "validation"),
        scores.score,
        scores.loss,
        score_texts(task.scorer, [" ".join(row.texts or (row.text,)) for row in task.validation], references),
        context,
        len(shown) if context is not None else 0,
        shown_texts(row.text for row in some),
        shown_texts(row.targets[0] for row in some),
        shown_texts(scores.written[:SHOWN_EXAMPLES]),
    )


def shown_texts(texts: Iterable[str]) -> tuple[str, ...]:
    """Return texts as events record them, cut to ``MAX_SHOWN_CHARACTERS``."""
    return tuple(text[:MAX_SHOWN_CHARACTERS] for text in texts)


def majority_score(task: Task, split: SplitName) -> float:
    """Return the score on a split of always giving the commonest class, place or target of the training rows."""
    rows = task.examples(split)
    if task.kind == "text":
        return score_texts(task.scorer, [task.commonest_target()] * len(rows), [row.targets for row in rows])
    count = len(task.classes) or max(len(row.choices) for row in rows)
    return score_labels(task.scorer, [task.commonest_label()] * len(rows), [row.label for row in rows], count)


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
