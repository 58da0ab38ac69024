"""What a finished run is asked: its score, where it started, how it routes, what its prompt is worth when pruned."""

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
from ptviz.training.batches import EncodedExamples, make_task_readout
from ptviz.training.evaluation import evaluate, subsample_task
from ptviz.training.importance_scores import measure_token_importance

IMPORTANCE_BATCHES = 32
"""Training batches that importance scores are averaged over."""


def _test_accuracy(run: Run) -> float:
    done = run.history().finished
    if done is None:
        raise StoreError(f"run {run.id} has not finished")
    return done.test


def _initial_accuracy(run: Run) -> float:
    """Validation accuracy before the first update of the last stage."""
    told = run.history().evaluations
    last = [evaluation for evaluation in told if evaluation.stage == told[-1].stage]
    return last[0].accuracy


def _encode_split(run: Run, warm: ModelCache, split: str, slots: int) -> EncodedExamples:
    config = run.config
    backbone, task = warm.backbone(config), warm.task(config)
    chosen = getattr(subsample_task(task, config.training), split)
    return EncodedExamples(backbone, task, chosen, slots, config.training.length, make_task_readout(backbone, task))


@torch.no_grad()
def _count_used_experts(run: Run, warm: ModelCache) -> float:
    """How many experts the test texts go to: exp of the entropy of their shares."""
    method = load_run_prompt(run, warm).method
    counts = torch.zeros(1)
    for _, batch in _encode_split(run, warm, "test", method.slots).inference_batches():
        routing = method(batch).routing
        if routing is None:
            raise StoreError(f"run {run.id} of {run.config.method} has no experts to count")
        counts = counts + torch.bincount(routing.argmax(-1).cpu(), minlength=routing.shape[1])
    shares = counts / counts.sum()
    return float(torch.special.entr(shares).sum().exp())


def _static_embeddings(method: PromptMethod) -> Float[Tensor, "1 m d"]:
    """The prompt of a method that gives the same to every text."""
    folded = method.merge()
    prompt = getattr(folded, "embeddings", None)
    if prompt is None:
        prompt = next((p[None] for p in folded.parameters() if p.ndim == 2 and len(p) == method.slots), None)
    if prompt is None or prompt.shape[:2] != (1, method.slots):
        raise StoreError(f"{method.card.title} has no prompt of its own in the input that could be pruned")
    return prompt.detach()


def _make_pruned_accuracy(which: str) -> Callable[[Run, ModelCache], float]:
    """Test accuracy with half of the tokens: the most or the least important, or any."""

    def measure(run: Run, warm: ModelCache) -> float:
        method, training = load_run_prompt(run, warm).method, run.config.training
        prompt = _static_embeddings(method)
        m = prompt.shape[1]
        if which == "random":
            order = torch.randperm(m, generator=torch.Generator().manual_seed(training.seed))
        else:
            rows = _encode_split(run, warm, "train", method.slots)
            scores = measure_token_importance(
                rows, lambda batch: Prompt(embeddings=prompt), training.batch, training.seed, IMPORTANCE_BATCHES
            )
            order = scores.argsort(descending=which == "high").cpu()
        keep = torch.zeros(m, dtype=torch.bool)
        keep[order[: (m + 1) // 2]] = True
        # A pruned token stays as a vector of zero, as in the paper.
        pruned = StaticPrompt(method.card, m, embeddings=prompt * keep.to(prompt.device)[None, :, None])
        return evaluate(pruned, _encode_split(run, warm, "test", m)).accuracy

    return measure


def _count_trainable(run: Run, warm: ModelCache) -> float:
    known = run.environment().get("trained")
    return float(known) if known is not None else float(load_run_prompt(run, warm).method.trainable_parameters())


METRICS: dict[str, Callable[[Run, ModelCache], float]] = {
    "test": lambda run, warm: _test_accuracy(run),
    "start": lambda run, warm: _initial_accuracy(run),
    "trained": _count_trainable,
    "experts": _count_used_experts,
    "kept_high": _make_pruned_accuracy("high"),
    "kept_low": _make_pruned_accuracy("low"),
    "kept_random": _make_pruned_accuracy("random"),
}
"""Metrics of a finished run by name: accuracies from 0 to 1, or counts."""
COUNT_METRICS = ("trained", "experts")
"""Those that count things, and are no accuracies."""
