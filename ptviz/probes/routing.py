"""Other routings than a method's own, measured: every text to one expert, softer or sharper weights, other tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ptviz.engine.loaded_prompt import Opened
from ptviz.engine.model_cache import Warm
from ptviz.methods.base import Routes
from ptviz.prompt import Batch, Prompt
from ptviz.runs.atomic_io import StoreError
from ptviz.tasks import Row, Task
from ptviz.training.batches import Rows, readout_of
from ptviz.training.evaluation import limited

FACTORS = (0.0, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 10.0, None)
"""Multiples of the trained temperature that are measured; 0 gives everything to the largest, None the same to all."""
_PASSES, _FEWEST, _MOST = 500, 20, 100
"""Texts run for one answer, and the rows of one measurement: training waits meanwhile."""


def rows_within(settings: int) -> int:
    """How many validation rows each of so many settings is measured on: fewer, the more there are to measure."""
    return max(_FEWEST, min(_MOST, _PASSES // settings))


def encoded(at: Opened, task: Task, rows: Sequence[Row]) -> Rows:
    """Rows of a task as the method of a run reads them."""
    return Rows(at.backbone, task, rows, at.method.slots, at.config.training.length, readout_of(at.backbone, task))


def forced(at: Opened, warm: Warm) -> dict[str, Any]:
    """What each validation text would cost if it went to each expert in turn.

    Where the largest weights alone enter the prompt, the forced expert trades places with the largest, so that its
    prompt is as loud as the chosen one's; a mixture takes the forced one alone.

    Returns:
        ``{"weights": (n, k), "losses": (n, k) nats, "right": (n, k), "loss": [n], "hit": [n], "texts", "labels",
        "classes"}``; ``loss`` and ``hit`` are those of the method's own routing.

    Raises:
        StoreError: if the method routes nothing.
    """
    method = _router(at)
    task = limited(at.task, at.config.training)
    k = method.route(encoded(at, task, task.validation[:1]).batch([0])).shape[1]
    rows = task.validation[: rows_within(k + 1)]
    data = encoded(at, task, rows)
    weights = torch.zeros(len(rows), k)
    losses, right = torch.zeros(len(rows), k + 1), torch.zeros(len(rows), k + 1, dtype=torch.bool)
    for places, batch in data.large():
        own = method.route(batch)
        weights[places] = own.float().cpu()
        tried = [own, *(_to(own, expert, method.mixes) for expert in range(k))]
        for column, routing in enumerate(tried):
            losses[places, column], right[places, column] = scored(data, batch, method.routed(batch, routing))
    return {
        "weights": weights.tolist(),
        "losses": losses[:, 1:].tolist(),
        "right": right[:, 1:].tolist(),
        "loss": losses[:, 0].tolist(),
        "hit": right[:, 0].tolist(),
        "texts": [row.text for row in rows],
        "labels": [row.label for row in rows],
        "classes": list(task.classes),
    }


def tempered(at: Opened, warm: Warm) -> dict[str, Any]:
    r"""Loss and accuracy of a mixture at multiples of its trained temperature, measured on validation rows.

    Weights that are a softmax at temperature tau become those at f tau as :math:`a_j^{1/f} / \sum_i a_i^{1/f}`.

    Returns:
        ``{"factors": FACTORS, "loss": nats, "accuracy", "rows": int}``.

    Raises:
        StoreError: if the method routes nothing, or its prompt is no mixture.
    """
    method = _router(at)
    if not method.mixes:
        raise StoreError("this method gives each input one prompt and mixes none, so no temperature can change the mix")
    task = limited(at.task, at.config.training)
    rows = task.validation[: rows_within(len(FACTORS))]
    data = encoded(at, task, rows)
    loss, hits = torch.zeros(len(FACTORS)), torch.zeros(len(FACTORS))
    for _, batch in data.large():
        own = method.route(batch)
        for place, factor in enumerate(FACTORS):
            nll, right = scored(data, batch, method.routed(batch, at_temperature(own, factor)))
            loss[place] += nll.sum()
            hits[place] += right.sum()
    return {
        "factors": list(FACTORS),
        "loss": (loss / len(rows)).tolist(),
        "accuracy": (hits / len(rows)).tolist(),
        "rows": len(rows),
    }


def by_task(at: Opened, warm: Warm) -> dict[str, Any]:
    """Mean weights that the texts of each source task and of the target give, under the target's trained method.

    Returns:
        ``{"tasks": names, the target last, "weights": (tasks, k), "rows": texts of each}``.

    Raises:
        StoreError: if the method routes nothing.
    """
    method = _router(at)
    means, counts = [], []
    tasks = [*warm.sources(at.config), at.task]
    for task in tasks:
        rows = limited(task, at.config.training).validation[:_MOST]
        found = [method.route(batch).float() for _, batch in encoded(at, task, rows).large()]
        means.append(torch.cat(found).mean(0).tolist())
        counts.append(len(rows))
    return {"tasks": [task.name for task in tasks], "weights": means, "rows": counts}


def at_temperature(weights: Float[Tensor, "B k"], factor: float | None) -> Float[Tensor, "B k"]:
    """Softmax weights as they would be at ``factor`` times their temperature; 0: one-hot, None: even."""
    if factor is None:
        return torch.full_like(weights, 1 / weights.shape[1])
    if factor == 0:
        return _one_hot(weights, weights.argmax(1))
    tempered: Tensor = (weights.float().log() / factor).softmax(-1).to(weights.dtype)
    return tempered


def _to(own: Float[Tensor, "B k"], expert: int, mixes: bool) -> Float[Tensor, "B k"]:
    """The weights under which everything goes to one expert."""
    if mixes:
        return _one_hot(own, torch.full((len(own),), expert, device=own.device))
    rows, largest = torch.arange(len(own), device=own.device), own.argmax(1)
    traded = own.clone()
    traded[rows, largest], traded[:, expert] = own[:, expert], own.amax(1)
    return traded


def _one_hot(like: Float[Tensor, "B k"], places: Tensor) -> Float[Tensor, "B k"]:
    return torch.zeros_like(like).scatter(1, places[:, None], 1.0)


def scored(rows: Rows, batch: Batch, prompt: Prompt) -> tuple[Tensor, Tensor]:
    """Loss in nats, and whether the answer is right, of each row."""
    output = rows.backbone(batch, prompt, rows.readout)
    return output.nll.float().cpu(), (output.logits.argmax(-1) == batch.labels).cpu()


def _router(at: Opened) -> Routes:
    method: object = at.method
    if not isinstance(method, Routes):
        raise StoreError("this method routes nothing: every input gets the same prompt")
    return method
