"""Other routings than a method's own, measured: every text to one expert, softer or sharper weights, other tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ptviz.engine.loaded_prompt import LoadedPrompt
from ptviz.engine.model_cache import ModelCache
from ptviz.methods.base import RoutedMethod
from ptviz.prompt import Batch, Prompt
from ptviz.runs.atomic_io import StoreError
from ptviz.tasks import Example, Task
from ptviz.training.batches import EncodedExamples, make_task_readout
from ptviz.training.evaluation import subsample_task

TEMPERATURE_FACTORS = (0.0, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 10.0, None)
"""Multiples of the trained temperature that are measured; 0 gives everything to the largest, None the same to all."""
_MAX_PASSES, _MIN_ROWS, _MAX_ROWS = 500, 20, 100
"""Texts run for one answer, and the rows of one measurement: training waits meanwhile."""


def rows_per_setting(settings: int) -> int:
    """How many validation rows each of so many settings is measured on: fewer, the more there are to measure."""
    return max(_MIN_ROWS, min(_MAX_ROWS, _MAX_PASSES // settings))


def encode_examples(loaded: LoadedPrompt, task: Task, rows: Sequence[Example]) -> EncodedExamples:
    """Rows of a task as the method of a run reads them."""
    return EncodedExamples(
        loaded.backbone,
        task,
        rows,
        loaded.method.slots,
        loaded.config.training.length,
        make_task_readout(loaded.backbone, task),
    )


def measure_forced_routing(loaded: LoadedPrompt, model_cache: ModelCache) -> dict[str, Any]:
    """What each validation text would cost if it went to each expert in turn.

    Where the largest weights alone enter the prompt, the forced expert trades places with the largest, so that its
    prompt is as loud as the chosen one's; a mixture takes the forced one alone.

    Returns:
        ``{"weights": (n, k), "losses": (n, k) nats, "right": (n, k), "loss": [n], "hit": [n], "texts", "labels",
        "classes"}``; ``loss`` and ``hit`` are those of the method's own routing.

    Raises:
        StoreError: if the method routes nothing.
    """
    method = _require_routed_method(loaded)
    task = subsample_task(loaded.task, loaded.config.training)
    k = method.routing_weights(encode_examples(loaded, task, task.validation[:1]).make_batch([0])).shape[1]
    rows = task.validation[: rows_per_setting(k + 1)]
    data = encode_examples(loaded, task, rows)
    weights = torch.zeros(len(rows), k)
    losses, right = torch.zeros(len(rows), k + 1), torch.zeros(len(rows), k + 1, dtype=torch.bool)
    for places, batch in data.inference_batches():
        own = method.routing_weights(batch)
        weights[places] = own.float().cpu()
        tried = [own, *(_route_to_expert(own, expert, method.soft_routing) for expert in range(k))]
        for column, routing in enumerate(tried):
            losses[places, column], right[places, column] = score_batch(data, batch, method.prompt_for(batch, routing))
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


def measure_temperatures(loaded: LoadedPrompt, model_cache: ModelCache) -> dict[str, Any]:
    r"""Loss and accuracy of a mixture at multiples of its trained temperature, measured on validation rows.

    Weights that are a softmax at temperature tau become those at f tau as :math:`a_j^{1/f} / \sum_i a_i^{1/f}`.

    Returns:
        ``{"factors": FACTORS, "loss": nats, "accuracy", "rows": int}``.

    Raises:
        StoreError: if the method routes nothing, or its prompt is no mixture.
    """
    method = _require_routed_method(loaded)
    if not method.soft_routing:
        raise StoreError("this method gives each input one prompt and mixes none, so no temperature can change the mix")
    task = subsample_task(loaded.task, loaded.config.training)
    rows = task.validation[: rows_per_setting(len(TEMPERATURE_FACTORS))]
    data = encode_examples(loaded, task, rows)
    loss, hits = torch.zeros(len(TEMPERATURE_FACTORS)), torch.zeros(len(TEMPERATURE_FACTORS))
    for _, batch in data.inference_batches():
        own = method.routing_weights(batch)
        for place, factor in enumerate(TEMPERATURE_FACTORS):
            nll, right = score_batch(data, batch, method.prompt_for(batch, rescale_routing_temperature(own, factor)))
            loss[place] += nll.sum()
            hits[place] += right.sum()
    return {
        "factors": list(TEMPERATURE_FACTORS),
        "loss": (loss / len(rows)).tolist(),
        "accuracy": (hits / len(rows)).tolist(),
        "rows": len(rows),
    }


def measure_routing_by_task(loaded: LoadedPrompt, model_cache: ModelCache) -> dict[str, Any]:
    """Mean weights that the texts of each source task and of the target give, under the target's trained method.

    Returns:
        ``{"tasks": names, the target last, "weights": (tasks, k), "rows": texts of each}``.

    Raises:
        StoreError: if the method routes nothing.
    """
    method = _require_routed_method(loaded)
    means, counts = [], []
    tasks = [*model_cache.source_tasks(loaded.config), loaded.task]
    for task in tasks:
        rows = subsample_task(task, loaded.config.training).validation[:_MAX_ROWS]
        found = [
            method.routing_weights(batch).float()
            for _, batch in encode_examples(loaded, task, rows).inference_batches()
        ]
        means.append(torch.cat(found).mean(0).tolist())
        counts.append(len(rows))
    return {"tasks": [task.name for task in tasks], "weights": means, "rows": counts}


def rescale_routing_temperature(weights: Float[Tensor, "B k"], factor: float | None) -> Float[Tensor, "B k"]:
    """Softmax weights as they would be at ``factor`` times their temperature; 0: one-hot, None: even."""
    if factor is None:
        return torch.full_like(weights, 1 / weights.shape[1])
    if factor == 0:
        return _one_hot(weights, weights.argmax(1))
    tempered: Tensor = (weights.float().log() / factor).softmax(-1).to(weights.dtype)
    return tempered


def _route_to_expert(own: Float[Tensor, "B k"], expert: int, mixes: bool) -> Float[Tensor, "B k"]:
    """The weights under which everything goes to one expert."""
    if mixes:
        return _one_hot(own, torch.full((len(own),), expert, device=own.device))
    rows, largest = torch.arange(len(own), device=own.device), own.argmax(1)
    traded = own.clone()
    traded[rows, largest], traded[:, expert] = own[:, expert], own.amax(1)
    return traded


def _one_hot(like: Float[Tensor, "B k"], places: Tensor) -> Float[Tensor, "B k"]:
    return torch.zeros_like(like).scatter(1, places[:, None], 1.0)


def score_batch(rows: EncodedExamples, batch: Batch, prompt: Prompt) -> tuple[Tensor, Tensor]:
    """Loss in nats, and whether the answer is right, of each row."""
    output = rows.backbone(batch, prompt, rows.readout)
    return output.nll.float().cpu(), (output.logits.argmax(-1) == batch.labels).cpu()


def _require_routed_method(loaded: LoadedPrompt) -> RoutedMethod:
    method: object = loaded.method
    if not isinstance(method, RoutedMethod):
        raise StoreError("this method routes nothing: every input gets the same prompt")
    return method
