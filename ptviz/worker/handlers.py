"""Answers to requests about a run or a saved prompt: a new kind is one function here and its entry in ``HANDLERS``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from msgspec.structs import asdict

from ptviz.checkpoints import open_checkpoint
from ptviz.engine.loaded_prompt import LoadedPrompt, load_run_prompt, load_saved_prompt
from ptviz.engine.measured_speed import measure_speed
from ptviz.engine.model_cache import ModelCache
from ptviz.engine.predictions import add_zero_shot, answer_texts
from ptviz.engine.text_generation import load_checkpoint_text_generator, load_text_generator
from ptviz.methods.listing import NO_ROUTING
from ptviz.probes.attention import measure_attention
from ptviz.probes.decompositions import measure_embedding_shift, measure_low_rank, measure_saliency
from ptviz.probes.edit_effects import PromptEditor
from ptviz.probes.generated_tokens import measure_generated_tokens
from ptviz.probes.logit_lens import lens_refusal, measure_logit_lens
from ptviz.probes.neurons import find_neurons
from ptviz.probes.routing_counterfactuals import measure_forced_routing, measure_routing_by_task, measure_temperatures
from ptviz.prompt import Batch
from ptviz.runs.config import RunConfig
from ptviz.runs.embedding_table import save_vocabulary
from ptviz.runs.failure_messages import failure_reason, is_out_of_memory
from ptviz.runs.run import Run
from ptviz.runs.run_file_io import StoreError
from ptviz.runs.saved_prompts import SAVED_PREFIX
from ptviz.runs.store import Store
from ptviz.runs.target_run import TARGET_MARK
from ptviz.training.evaluation import subsample_task
from ptviz.worker.partial_texts import partial_texts
from ptviz.worker.projection_queue import ProjectionQueue

MAX_ROUTED_EXAMPLES = 200
"""Validation examples in one routing answer: enough for a heat map, few enough between two training steps."""


@dataclass(frozen=True, eq=False)
class HandlerContext:
    """What handlers share: the store, the models in memory, and the queue of projections."""

    store: Store
    model_cache: ModelCache
    prompt_editor: PromptEditor = field(init=False)
    projection_queue: ProjectionQueue = field(init=False, default_factory=ProjectionQueue)

    def __post_init__(self) -> None:
        """Create the prompt editor on the same store and models."""
        object.__setattr__(self, "prompt_editor", PromptEditor(self.store, self.model_cache))

    def clear(self) -> None:
        """Free all models and encoded examples."""
        self.model_cache.clear()
        self.prompt_editor.clear()

    def load_prompt(self, run: str, stage: int | None, step: int | None, task: str) -> LoadedPrompt:
        """Load a run at a step, or a saved prompt (``SAVED_PREFIX`` and its id) with the texts of ``task``.

        Raises:
            StoreError: if there is no such prompt.
        """
        if run.startswith(SAVED_PREFIX):
            return load_saved_prompt(self.store, self.model_cache, run.removeprefix(SAVED_PREFIX), task)
        return load_run_prompt(self.store.get(run), self.model_cache, stage, step)


Handler = Callable[..., dict[str, Any]]
"""Takes the ``HandlerContext`` and the fields of the request as keywords; returns the reply, as plain JSON values."""


def predict(
    context: HandlerContext,
    run: str,
    texts: list[str],
    stage: int | None = None,
    step: int | None = None,
    stream: str = "",
) -> dict[str, Any]:
    """Return the answers to texts with and without a run's prompt: class probabilities, or generated texts.

    A single text that is being written can be read under the name ``stream`` (see ``ptviz.worker.partial_texts``).

    Returns:
        The answer of ``ptviz.engine.predictions.answer_texts``.

    Raises:
        StoreError: if the run has no such prompt, or each example of its task has choices of its own.
        ValueError: if a text is empty.
    """
    with partial_texts(context.store, stream) as on_text:
        loaded = load_run_prompt(context.store.get(run), context.model_cache, stage, step)
        return answer_texts(loaded, context.model_cache.backend, texts, on_text)


def generate(
    context: HandlerContext,
    texts: list[str],
    run: str = "",
    stage: int | None = None,
    step: int | None = None,
    path: str = "",
    prompt: str | None = None,
    backbone: str = "",
    template: str = "",
    stream: str = "",
    **settings: Any,
) -> dict[str, Any]:
    """Return what the backbone writes after each text, with and without a prompt.

    The prompt is that of a run or a saved prompt, or of the checkpoint at ``path`` in front of ``backbone``.
    ``settings`` are those of ``GenerationSettings``. A single text that is being written can be read under the name
    ``stream``.

    Returns:
        The answer of ``ptviz.engine.text_generation.TextGenerator.generate``.

    Raises:
        StoreError: if there is no such prompt, or it does not fit.
        ValueError: for a bad setting or template, or an empty text.
    """
    with partial_texts(context.store, stream) as on_text:
        if path:
            bundle = open_checkpoint(Path(path))
            generator = load_checkpoint_text_generator(bundle, backbone, context.model_cache, prompt, template)
        else:
            generator = load_text_generator(context.store, context.model_cache, run, stage, step, template)
        return generator.generate(texts, generator.make_settings(**settings), on_text)


def write_vocabulary(context: HandlerContext, run: str = "", backbone: str = "") -> dict[str, Any]:
    """Write the embedding table of a run's backbone, or of a named one, where ``ptviz.runs.embedding_table`` finds it.

    Returns:
        ``{"place": path of the folder}``.
    """
    config = RunConfig(backbone=backbone) if backbone else context.store.get(run).config.checked()
    return {"place": str(save_vocabulary(context.model_cache.backbone(config)))}


def write_zero_shot(context: HandlerContext, run: str) -> dict[str, Any]:
    """Add the answers without a prompt to the predictions of a run of an earlier version; ``RUN@TASK`` means all of it.

    Raises:
        StoreError: if the run has no predictions, is being written, or its folder cannot be written.
    """
    add_zero_shot(context.store.get(run.partition(TARGET_MARK)[0]), context.model_cache)
    return {}


@torch.no_grad()
def route(
    context: HandlerContext, run: str, texts: list[str], stage: int | None = None, step: int | None = None
) -> dict[str, Any]:
    """Return routing weights of texts under a run's prompt; of up to 200 validation examples if there are none.

    Returns:
        ``{"weights": (n, k), "texts": [n], "labels": [n], "classes": [c names], "mixes": bool, "stage": int,
        "step": int}``; ``labels`` is empty for given texts and for tasks without classes.

    Raises:
        StoreError: if the method has no routing.
        ValueError: if a text has not one part for each field of the task.
    """
    loaded = load_run_prompt(context.store.get(run), context.model_cache, stage, step)
    task = loaded.task
    examples = [task.split_text(text) for text in texts] or [*loaded.subsampled_task().validation[:MAX_ROUTED_EXAMPLES]]
    weights: list[list[float]] = [[]] * len(examples)
    for indices, batch in loaded.encode(task, examples).inference_batches():
        for index, weight in zip(indices, _batch_routing_weights(loaded.method, batch), strict=True):
            weights[index] = weight
    return {
        "weights": weights,
        "texts": [example.text for example in examples],
        "labels": [example.label for example in examples] if task.classes and not texts else [],
        "classes": list(task.classes),
        "mixes": bool(getattr(loaded.method, "soft_routing", False)),
        **loaded.position,
    }


def _batch_routing_weights(method: torch.nn.Module, batch: Batch) -> list[list[float]]:
    routing = method(batch).routing
    if routing is None:
        raise StoreError(NO_ROUTING)
    weights: list[list[float]] = routing.float().cpu().tolist()
    return weights


@torch.no_grad()
def attention(
    context: HandlerContext,
    run: str,
    text: str = "",
    stage: int | None = None,
    step: int | None = None,
    row: int = 0,
    task: str = "",
) -> dict[str, Any]:
    """Return the attention weights of ``text`` on the prompt, by site and head; without it, of example ``row``.

    A ``row`` past the end means the last example.

    Returns:
        The answer of ``ptviz.probes.attention.measure_attention``, the number of validation examples as ``rows``,
        whether the task is text-to-text as ``writes``, and why the logit lens cannot read the prompt as
        ``lens_refusal``, "" if it can.

    Raises:
        StoreError: if the method puts no prompt token before the attention.
        ValueError: if the text has not one part for each field of the task.
    """
    loaded = context.load_prompt(run, stage, step, task)
    examples = subsample_task(loaded.task, loaded.config.training).validation
    example = loaded.task.split_text(text) if text else examples[min(row, len(examples) - 1)]
    method, length = loaded.method, loaded.config.training.length
    answer = measure_attention(loaded.backbone, loaded.task, method, method.slots, length, example)
    return {
        **answer,
        "rows": len(examples),
        "writes": loaded.task.kind == "text",
        "lens_refusal": lens_refusal(loaded),
        **loaded.position,
    }


def edit_prompt(
    context: HandlerContext, run: str, what: str, stage: int | None = None, step: int | None = None, **arguments: Any
) -> dict[str, Any]:
    """Edit a run's prompt: ``what`` names a method of ``ptviz.probes.edit_effects.PromptEditor``.

    Raises:
        StoreError: if the prompt cannot be edited in this way.
    """
    return context.prompt_editor.handle(run, what, stage, step, **arguments)


@torch.no_grad()
def measure(
    context: HandlerContext,
    run: str,
    what: str,
    stage: int | None = None,
    step: int | None = None,
    task: str = "",
    **arguments: Any,
) -> dict[str, Any]:
    """Run one of ``PROBES`` on a prompt; its docstring describes the answer.

    Raises:
        StoreError: if there is no such probe, or it does not apply to this prompt.
    """
    if what not in PROBES:
        raise StoreError(f"expected one of {', '.join(PROBES)}; got {what!r}")
    loaded = context.load_prompt(run, stage, step, task)
    return {**PROBES[what](loaded, context.model_cache, **arguments), **loaded.position}


def queue_projection(context: HandlerContext, run: str, name: str) -> dict[str, Any]:
    """Queue the projection job whose files are in ``projection_folder(name)``, and return at once.

    Raises:
        StoreError: if there is no such job.
    """
    context.projection_queue.add_job(name)
    return {}


def speed(context: HandlerContext, config: dict[str, Any], run: str = "") -> dict[str, Any]:
    """Measure the speed of a run on this machine by a few steps; see ``ptviz.engine.measured_speed.measure_speed``.

    Returns:
        Its seconds: of a "step", and of an "example" that is evaluated, and its "baseline".

    Raises:
        ValueError: if the run cannot be trained, or another one has been queued.
        OSError: if its backbone or task cannot be loaded.
    """
    before = len(context.store.queued_runs())
    found = measure_speed(
        context.model_cache, RunConfig.from_json(config), lambda: len(context.store.queued_runs()) > before
    )
    return asdict(found)


HANDLERS: Mapping[str, Handler] = {
    "predict": predict,
    "generate": generate,
    "vocabulary": write_vocabulary,
    "zero-shot": write_zero_shot,
    "route": route,
    "attention": attention,
    "surgery": edit_prompt,
    "measure": measure,
    "map": queue_projection,
    "speed": speed,
}
"""The handler of every kind of request."""

PROBES: Mapping[str, Handler] = {
    "forced-routing": measure_forced_routing,
    "temperatures": measure_temperatures,
    "by-task": measure_routing_by_task,
    "ranks": measure_low_rank,
    "saliency": measure_saliency,
    "shift": measure_embedding_shift,
    "lens": measure_logit_lens,
    "written": measure_generated_tokens,
    "neurons": find_neurons,
}
"""Measurements of the "measure" request. Each takes the ``LoadedPrompt``, the ``ModelCache`` and its own keywords."""


def answer_request(context: HandlerContext, kind: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the reply to a request, or ``{"error": message}``; running out of memory frees all models."""
    try:
        if kind not in HANDLERS:
            raise StoreError(f"expected one of {', '.join(HANDLERS)}; got {kind!r}")
        return HANDLERS[kind](context, **body)
    except Exception as error:
        if is_out_of_memory(error):
            context.clear()
        return {"error": failure_reason(error, None)}


def probe_run(run: Run, kind: str, **question: Any) -> dict[str, Any]:
    """Answer a request about ``run`` in this process; see ``probe_prompt``.

    Raises:
        StoreError: with the handler's reason, if it has no answer.
    """
    return probe_prompt(Store(None if run.recorded else run.path.parent), run.id, kind, **question)


def probe_prompt(store: Store, id: str, kind: str, **question: Any) -> dict[str, Any]:
    """Answer a request in this process, without a worker: for scripts and notebooks.

    ``id`` names a run, or a saved prompt as ``ptviz.runs.saved_prompts.SAVED_PREFIX`` and its id. ``kind`` is one of
    ``HANDLERS``, and ``question`` the keywords of that handler.

    Raises:
        StoreError: with the handler's reason, if it has no answer.
    """
    answer = answer_request(HandlerContext(store, ModelCache()), kind, {"run": id, **question})
    if "error" in answer:
        raise StoreError(answer["error"])
    return answer
