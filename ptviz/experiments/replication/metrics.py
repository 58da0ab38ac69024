"""Metrics of a finished run: accuracies, experts in use, trainable parameters, accuracy after pruning."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from ptviz.engine.loaded_prompt import load_run_prompt
from ptviz.engine.model_cache import ModelCache
from ptviz.methods.base import PromptMethod
from ptviz.methods.static_prompt import StaticPrompt
from ptviz.prompt import Prompt
from ptviz.runs.atomic_io import StoreError
from ptviz.runs.run import Run
from ptviz.training.batches import EncodedExamples
from ptviz.training.evaluation import evaluate, subsample_task
from ptviz.training.importance_scores import measure_token_importance

IMPORTANCE_BATCHES = 32
"""Training batches over which importance scores are averaged."""


def _test_accuracy(run: Run) -> float:
    finished = run.history().finished
    if finished is None:
        raise StoreError(f"run {run.id} has not finished")
    return finished.test


def _initial_accuracy(run: Run) -> float:
    """Return the validation accuracy before the first update of the last stage."""
    evaluations = run.history().evaluations
    return next(found.accuracy for found in evaluations if found.stage == evaluations[-1].stage)


def _encode_split(run: Run, model_cache: ModelCache, split: str, slots: int) -> EncodedExamples:
    config = run.config
    backbone, task = model_cache.backbone(config), model_cache.task(config)
    chosen = getattr(subsample_task(task, config.training), split)
    return EncodedExamples(backbone, task, chosen, slots, config.training.length)


@torch.no_grad()
def _count_used_experts(run: Run, model_cache: ModelCache) -> float:
    """Return how many experts the test texts use: exp of the entropy of their shares."""
    method = load_run_prompt(run, model_cache).method
    counts = torch.zeros(1)
    for _, batch in _encode_split(run, model_cache, "test", method.slots).inference_batches():
        routing = method(batch).routing
        if routing is None:
            raise StoreError(f"run {run.id} of {run.config.method} has no experts to count")
        counts = counts + torch.bincount(routing.argmax(-1).cpu(), minlength=routing.shape[1])
    shares = counts / counts.sum()
    return float(torch.special.entr(shares).sum().exp())


def _static_embeddings(method: PromptMethod) -> Float[Tensor, "1 m d"]:
    """Return the prompt of a method that uses the same one for every text."""
    merged = method.merge()
    prompt = getattr(merged, "embeddings", None)
    if prompt is None:
        prompt = next((p[None] for p in merged.parameters() if p.ndim == 2 and len(p) == method.slots), None)
    if prompt is None or prompt.shape[:2] != (1, method.slots):
        raise StoreError(f"{method.card.title} has no input prompt of its own that could be pruned")
    return prompt.detach()


def _make_pruned_accuracy(which: str) -> Callable[[Run, ModelCache], float]:
    """Return a metric: test accuracy with half of the tokens, of the highest or lowest importance or at random."""

    def measure(run: Run, model_cache: ModelCache) -> float:
        method, training = load_run_prompt(run, model_cache).method, run.config.training
        prompt = _static_embeddings(method)
        m = prompt.shape[1]
        if which == "random":
            order = torch.randperm(m, generator=torch.Generator().manual_seed(training.seed))
        else:
            rows = _encode_split(run, model_cache, "train", method.slots)
            scores = measure_token_importance(
                rows, lambda batch: Prompt(embeddings=prompt), training.batch, training.seed, IMPORTANCE_BATCHES
            )
            order = scores.argsort(descending=which == "high").cpu()
        keep = torch.zeros(m, dtype=torch.bool)
        keep[order[: (m + 1) // 2]] = True
        # As in the paper, a pruned token becomes a zero vector.
        pruned = StaticPrompt(method.card, m, embeddings=prompt * keep.to(prompt.device)[None, :, None])
        return evaluate(pruned, _encode_split(run, model_cache, "test", m)).score

    return measure


def _count_trainable(run: Run, model_cache: ModelCache) -> float:
    known = run.environment().get("trained")
    return float(known) if known is not None else float(load_run_prompt(run, model_cache).method.trainable_parameters())


METRICS: dict[str, Callable[[Run, ModelCache], float]] = {
    "test": lambda run, model_cache: _test_accuracy(run),
    "start": lambda run, model_cache: _initial_accuracy(run),
    "trained": _count_trainable,
    "experts": _count_used_experts,
    "kept_high": _make_pruned_accuracy("high"),
    "kept_low": _make_pruned_accuracy("low"),
    "kept_random": _make_pruned_accuracy("random"),
}
"""Metrics of a finished run by name: accuracies from 0 to 1, or counts."""
COUNT_METRICS = ("trained", "experts")
"""Metrics that are counts, not accuracies."""
