"""Baselines without a prompt: the most frequent answer, zero-shot, copying the input, and examples in the context."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ptviz.backbones import Backbone
from ptviz.chat_template import ChatTemplateError
from ptviz.tasks import Example, SplitName, Task
from ptviz.tasks.compute_metrics import score_labels, score_texts
from ptviz.training.batches import EncodedExamples
from ptviz.training.config import TrainConfig
from ptviz.training.evaluation import evaluate, subsample_task
from ptviz.training.events import MAX_SHOWN_CHARACTERS, Baselines
from ptviz.training.task_outputs import generate_outputs, longest_target

SHOWN_EXAMPLES = 6
"""Validation examples of a text-to-text task whose outputs are recorded at every evaluation."""
IN_CONTEXT_EXAMPLES = 4
"""Training examples before the input, in the baseline without a prompt."""


def measure_baselines(backbone: Backbone, task: Task, config: TrainConfig) -> Baselines:
    """Measure what is reached without a prompt on the validation examples of a run with this config."""
    task = subsample_task(task, config)
    bare = EncodedExamples(backbone, task, task.validation, 0, config.length)
    scores = evaluate(None, bare)
    if task.kind != "text":
        return Baselines(majority_score(task, "validation"), scores.score, scores.loss)
    references = [row.targets for row in task.validation]
    shown = task.train[:IN_CONTEXT_EXAMPLES]
    ahead = _in_context(bare, shown, config.length)
    context = None if ahead is None else score_texts(task.scorer, generate_outputs(None, ahead), references)
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


def _in_context(bare: EncodedExamples, shown: Sequence[Example], length: int) -> EncodedExamples | None:
    """Return the examples after others, None if the model has too few positions or its chat no earlier turns."""
    try:
        ahead = bare.in_context(shown, length)
    except ChatTemplateError:
        return None
    places = getattr(bare.backbone.model.config, "max_position_embeddings", None)
    written = longest_target(ahead) if bare.backbone.family == "decoder" else 0  # which a decoder writes behind them
    fits = places is None or max(len(row.ids) for row in ahead.examples) + written <= places
    return ahead if fits else None


def shown_texts(texts: Iterable[str]) -> tuple[str, ...]:
    """Return texts as events record them, cut to ``MAX_SHOWN_CHARACTERS``."""
    return tuple(text[:MAX_SHOWN_CHARACTERS] for text in texts)


def majority_score(task: Task, split: SplitName) -> float:
    """Return the score on a split of always giving the most frequent class, place or target of the training rows."""
    rows = task.examples(split)
    if task.kind == "text":
        return score_texts(task.scorer, [task.most_frequent_target()] * len(rows), [row.targets for row in rows])
    count = len(task.classes) or max(len(row.choices) for row in rows)
    return score_labels(task.scorer, [task.most_frequent_label()] * len(rows), [row.label for row in rows], count)
