"""What a finished run is asked: its score, where it started, how it routes, what its prompt is worth when pruned."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from ptviz.engine.model_cache import Warm
from ptviz.methods.base import PromptMethod
from ptviz.methods.static_prompt import Folded
from ptviz.prompt import Prompt
from ptviz.runs.atomic_io import StoreError
from ptviz.runs.load_state import load
from ptviz.runs.run import Run
from ptviz.training.batches import Rows, readout_of
from ptviz.training.evaluation import evaluate, limited
from ptviz.training.importance_scores import importance

BATCHES = 32
"""Training batches that importance scores are averaged over."""


def _finished(run: Run) -> float:
    done = run.curve().finished
    if done is None:
        raise StoreError(f"run {run.id} has not finished")
    return done.test


def _start(run: Run) -> float:
    """Validation accuracy before the first update of the last stage."""
    told = run.curve().evaluations
    last = [evaluation for evaluation in told if evaluation.stage == told[-1].stage]
    return last[0].accuracy


def _rows(run: Run, warm: Warm, split: str, slots: int) -> Rows:
    config = run.config
    backbone, task = warm.backbone(config), warm.task(config)
    chosen = getattr(limited(task, config.training), split)
    return Rows(backbone, task, chosen, slots, config.training.length, readout_of(backbone, task))


def _trained(run: Run, warm: Warm) -> PromptMethod:
    """The run's method with its best prompt."""
    config = run.config.checked()
    method = warm.engine.build(config, warm.backbone(config), warm.task(config))
    load(method, run.prompt())
    return method.eval()


@torch.no_grad()
def _experts(run: Run, warm: Warm) -> float:
    """How many experts the test texts go to: exp of the entropy of their shares."""
    method = _trained(run, warm)
    counts = torch.zeros(1)
    for _, batch in _rows(run, warm, "test", method.slots).large():
        routing = method(batch).routing
        if routing is None:
            raise StoreError(f"run {run.id} of {run.config.method} has no experts to count")
        counts = counts + torch.bincount(routing.argmax(-1).cpu(), minlength=routing.shape[1])
    shares = counts / counts.sum()
    return float(torch.special.entr(shares).sum().exp())


def _static(method: PromptMethod) -> Float[Tensor, "1 m d"]:
    """The prompt of a method that gives the same to every text."""
    folded = method.fold()
    prompt = getattr(folded, "embeddings", None)
    if prompt is None:
        prompt = next((p[None] for p in folded.parameters() if p.ndim == 2 and len(p) == method.slots), None)
    if prompt is None or prompt.shape[:2] != (1, method.slots):
        raise StoreError(f"{method.card.title} has no prompt of its own in the input that could be pruned")
    return prompt.detach()


def _kept(which: str) -> Callable[[Run, Warm], float]:
    """Test accuracy with half of the tokens: the most or the least important, or any."""

    def measure(run: Run, warm: Warm) -> float:
        method, training = _trained(run, warm), run.config.training
        prompt = _static(method)
        m = prompt.shape[1]
        if which == "random":
            order = torch.randperm(m, generator=torch.Generator().manual_seed(training.seed))
        else:
            rows = _rows(run, warm, "train", method.slots)
            scores = importance(rows, lambda batch: Prompt(embeddings=prompt), training.batch, training.seed, BATCHES)
            order = scores.argsort(descending=which == "high").cpu()
        keep = torch.zeros(m, dtype=torch.bool)
        keep[order[: (m + 1) // 2]] = True
        # A pruned token stays as a vector of zero, as in the paper.
        pruned = Folded(method.card, m, embeddings=prompt * keep.to(prompt.device)[None, :, None])
        return evaluate(pruned, _rows(run, warm, "test", m)).accuracy

    return measure


def _size(run: Run, warm: Warm) -> float:
    known = run.environment().get("trained")
    return float(known) if known is not None else float(_trained(run, warm).trained())


METRICS: dict[str, Callable[[Run, Warm], float]] = {
    "test": lambda run, warm: _finished(run),
    "start": lambda run, warm: _start(run),
    "trained": _size,
    "experts": _experts,
    "kept_high": _kept("high"),
    "kept_low": _kept("low"),
    "kept_random": _kept("random"),
}
"""Metrics of a finished run by name: accuracies from 0 to 1, or counts."""
COUNTS = ("trained", "experts")
"""Those that count things, and are no accuracies."""
