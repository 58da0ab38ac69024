"""Measurements of changed routing: every text to one expert, softer or sharper weights, texts of other tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ptviz.engine.loaded_prompt import LoadedPrompt
from ptviz.engine.model_cache import ModelCache
from ptviz.methods.base import RoutedMethod
from ptviz.methods.listing import NO_ROUTING
from ptviz.prompt import NO_TARGET, Batch, Prompt
from ptviz.runs.run_file_io import StoreError
from ptviz.training.batches import EncodedExamples
from ptviz.training.evaluation import score_choices, subsample_task

TEMPERATURE_FACTORS = (0.0, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 10.0, None)
"""Measured multiples of the trained temperature; 0 is one-hot, None uniform."""
_MAX_PASSES, _MIN_ROWS, _MAX_ROWS = 500, 20, 100
"""Forward passes of one answer, and examples of one measurement: training waits for them."""


def rows_per_setting(settings: int) -> int:
    """Return the number of validation examples for each of several settings: more settings, fewer examples."""
    return max(_MIN_ROWS, min(_MAX_ROWS, _MAX_PASSES // settings))


def measure_forced_routing(loaded: LoadedPrompt, model_cache: ModelCache) -> dict[str, Any]:
    """Measure the loss of each validation text at each expert.

    If only the largest weights enter the prompt, the forced expert swaps its weight with the largest, so that its
    prompt has the same scale; a mixture uses only the forced expert.

    Returns:
        ``{"weights": (n, k), "losses": (n, k) nats, "right": (n, k), "loss": [n], "hit": [n], "texts", "labels",
        "classes"}``; ``loss`` and ``hit`` are those of the method's own routing, ``labels`` are empty without classes.

    Raises:
        StoreError: if the method has no routing.
    """
    method = _require_routed_method(loaded)
    task = loaded.subsampled_task()
    k = method.routing_weights(loaded.encode(task, task.validation[:1]).make_batch([0])).shape[1]
    rows = task.validation[: rows_per_setting(k + 1)]
    data = loaded.encode(task, rows)
    weights = torch.zeros(len(rows), k)
    losses, right = torch.zeros(len(rows), k + 1), torch.zeros(len(rows), k + 1, dtype=torch.bool)
    for indices, batch in data.inference_batches():
        own = method.routing_weights(batch)
        weights[indices] = own.float().cpu()
        tried = [own, *(_route_to_expert(own, expert, method.soft_routing) for expert in range(k))]
        for column, routing in enumerate(tried):
            prompt = method.prompt_for(batch, routing)
            losses[indices, column], right[indices, column] = score_batch(data, indices, batch, prompt)
    return {
        "weights": weights.tolist(),
        "losses": losses[:, 1:].tolist(),
        "right": right[:, 1:].tolist(),
        "loss": losses[:, 0].tolist(),
        "hit": right[:, 0].tolist(),
        "texts": [row.text for row in rows],
        "labels": [row.label for row in rows] if task.classes else [],
        "classes": list(task.classes),
    }


def measure_temperatures(loaded: LoadedPrompt, model_cache: ModelCache) -> dict[str, Any]:
    r"""Measure loss and accuracy of a mixture at multiples of its temperature, on validation examples.

    Weights that are a softmax at temperature tau become those at f tau as :math:`a_j^{1/f} / \sum_i a_i^{1/f}`.

    Returns:
        ``{"factors": FACTORS, "loss": nats, "accuracy", "rows": int}``.

    Raises:
        StoreError: if the method has no routing, or its prompt is not a mixture.
    """
    method = _require_routed_method(loaded)
    if not method.soft_routing:
        raise StoreError("this method selects prompts instead of mixing them, so it has no temperature to change")
    task = loaded.subsampled_task()
    rows = task.validation[: rows_per_setting(len(TEMPERATURE_FACTORS))]
    data = loaded.encode(task, rows)
    loss, hits = torch.zeros(len(TEMPERATURE_FACTORS)), torch.zeros(len(TEMPERATURE_FACTORS))
    for indices, batch in data.inference_batches():
        own = method.routing_weights(batch)
        for index, factor in enumerate(TEMPERATURE_FACTORS):
            prompt = method.prompt_for(batch, rescale_routing_temperature(own, factor))
            nll, right = score_batch(data, indices, batch, prompt)
            loss[index] += nll.sum()
            hits[index] += right.sum()
    return {
        "factors": list(TEMPERATURE_FACTORS),
        "loss": (loss / len(rows)).tolist(),
        "accuracy": (hits / len(rows)).tolist(),
        "rows": len(rows),
    }


def measure_routing_by_task(loaded: LoadedPrompt, model_cache: ModelCache) -> dict[str, Any]:
    """Return the mean weights of the texts of each source task and the target, under the trained method.

    Returns:
        ``{"tasks": names, the target last, "weights": (tasks, k), "rows": texts of each}``.

    Raises:
        StoreError: if the method has no routing.
    """
    method = _require_routed_method(loaded)
    means, counts = [], []
    tasks = [*model_cache.source_tasks(loaded.config), loaded.task]
    for task in tasks:
        rows = subsample_task(task, loaded.config.training).validation[:_MAX_ROWS]
        found = [method.routing_weights(batch).float() for _, batch in loaded.encode(task, rows).inference_batches()]
        means.append(torch.cat(found).mean(0).tolist())
        counts.append(len(rows))
    return {"tasks": [task.name for task in tasks], "weights": means, "rows": counts}


def rescale_routing_temperature(weights: Float[Tensor, "B k"], factor: float | None) -> Float[Tensor, "B k"]:
    """Return softmax weights at ``factor`` times their temperature; 0 is one-hot, None uniform."""
    if factor is None:
        return torch.full_like(weights, 1 / weights.shape[1])
    if factor == 0:
        return _one_hot(weights, weights.argmax(1))
    rescaled: Tensor = (weights.float().log() / factor).softmax(-1).to(weights.dtype)
    return rescaled


def _route_to_expert(own: Float[Tensor, "B k"], expert: int, mixes: bool) -> Float[Tensor, "B k"]:
    """Return the weights that route every input to one expert."""
    if mixes:
        return _one_hot(own, torch.full((len(own),), expert, device=own.device))
    rows, largest = torch.arange(len(own), device=own.device), own.argmax(1)
    swapped = own.clone()
    swapped[rows, largest], swapped[:, expert] = own[:, expert], own.amax(1)
    return swapped


def _one_hot(like: Float[Tensor, "B k"], experts: Tensor) -> Float[Tensor, "B k"]:
    return torch.zeros_like(like).scatter(1, experts[:, None], 1.0)


def score_batch(
    rows: EncodedExamples, indices: Sequence[int], batch: Batch, prompt: Prompt
) -> tuple[Float[Tensor, " n"], Bool[Tensor, " n"]]:
    """Return the loss in nats of each example of a batch, and whether its answer is right.

    A text is right if every token of its target is the likeliest one: then greedy decoding writes exactly the target.
    """
    output = rows.backbone(batch, prompt, rows.readout)
    nll, likeliest = output.nll.float().cpu(), output.logits.argmax(-1)
    if rows.scoring == "choices":
        return nll, score_choices(rows, indices, prompt).argmax(-1) == rows.labels[list(indices)]
    if batch.targets is None:
        return nll, (likeliest == batch.labels).cpu()
    real = batch.targets != NO_TARGET
    wrong = real.new_zeros(real.shape).masked_scatter(real, likeliest != batch.targets[real])
    return nll, ~wrong.any(1).cpu()


def _require_routed_method(loaded: LoadedPrompt) -> RoutedMethod:
    method: object = loaded.method
    if not isinstance(method, RoutedMethod):
        raise StoreError(NO_ROUTING)
    return method
