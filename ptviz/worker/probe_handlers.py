"""What the worker does for pages that look inside a run: its words, where inputs are routed, and what they look at."""

from __future__ import annotations

import math
from typing import Any

import torch

from ptviz.engine.loaded_prompt import LoadedPrompt, load_run_prompt, load_saved_prompt
from ptviz.engine.model_cache import ModelCache
from ptviz.probes.attention import measure_attention
from ptviz.probes.prompt_editing import PromptEditor
from ptviz.prompt import Batch
from ptviz.runs.atomic_io import StoreError
from ptviz.runs.config import RunConfig
from ptviz.runs.embedding_table import save_vocabulary
from ptviz.runs.failure_messages import failure_reason, is_out_of_memory
from ptviz.runs.run import Run
from ptviz.runs.saved_prompts import SAVED_PREFIX
from ptviz.runs.store import Store
from ptviz.tasks import Example
from ptviz.training.batches import EncodedExamples, make_task_readout
from ptviz.training.evaluation import subsample_task
from ptviz.worker.probe_requests import PROBES
from ptviz.worker.projection_queue import ProjectionQueue
from ptviz.worker.rpc import Request

MAX_ROUTED_EXAMPLES = 200
"""Validation rows that are routed for a page: enough for a heat map, few enough between two training steps."""


class ProbeHandlers:
    """Answers letters about what lies inside a run."""

    request_kinds = ("vocabulary", "route", "attention", "surgery", "measure", "map")

    def __init__(self, store: Store, warm: ModelCache) -> None:
        self.store = store
        self.model_cache = warm
        self.prompt_editor = PromptEditor(store, warm)
        self.projection_queue = ProjectionQueue()

    def handle(self, letter: Request) -> dict[str, Any]:
        """The reply to a letter of one of ``kinds``, or ``{"error"}`` in words for a person."""
        try:
            if letter.kind == "vocabulary":
                return self._save_vocabulary(**letter.body)
            if letter.kind == "attention":
                return self._measure_attention(**letter.body)
            if letter.kind == "surgery":
                return self.prompt_editor.handle(**letter.body)
            if letter.kind == "measure":
                return self._run_probe(**letter.body)
            if letter.kind == "map":
                return self._queue_projection(**letter.body)
            return self._measure_routing(**letter.body)
        except Exception as error:
            if is_out_of_memory(error):
                self.model_cache.clear()
                self.prompt_editor.clear()
            return {"error": failure_reason(error, None)}

    def _save_vocabulary(self, run: str = "", backbone: str = "") -> dict[str, Any]:
        config = RunConfig(backbone=backbone) if backbone else self.store.get(run).config.checked()
        return {"place": str(save_vocabulary(self.model_cache.backbone(config)))}

    def _queue_projection(self, run: str, name: str) -> dict[str, Any]:
        self.projection_queue.add_job(name)
        return {}

    def _load_prompt(self, run: str, stage: int | None, step: int | None, task: str) -> LoadedPrompt:
        """A run at a step; or a kept prompt, its id behind ``SAVED_PREFIX``, in front of the texts of a task."""
        if run.startswith(SAVED_PREFIX):
            return load_saved_prompt(self.store, self.model_cache, run.removeprefix(SAVED_PREFIX), task)
        return load_run_prompt(self.store, self.model_cache, run, stage, step)

    @torch.no_grad()
    def _measure_attention(
        self, run: str, text: str, stage: int | None = None, step: int | None = None, row: int = 0, task: str = ""
    ) -> dict[str, Any]:
        """Attention on the prompt from ``text``, or from the validation text at place ``row``, or the last one."""
        at = self._load_prompt(run, stage, step, task)
        rows = subsample_task(at.task, at.config.training).validation
        chosen = Example(text, 0) if text else rows[min(row, len(rows) - 1)]
        found = measure_attention(at.backbone, at.task, at.method, at.method.slots, at.config.training.length, chosen)
        return {**found, "rows": len(rows), **at.position}

    @torch.no_grad()
    def _run_probe(
        self, run: str, what: str, stage: int | None = None, step: int | None = None, task: str = "", **more: Any
    ) -> dict[str, Any]:
        """One of ``PROBES``."""
        if what not in PROBES:
            raise StoreError(f"expected one of {', '.join(PROBES)}; got {what!r}")
        at = self._load_prompt(run, stage, step, task)
        return {**PROBES[what](at, self.model_cache, **more), **at.position}

    @torch.no_grad()
    def _measure_routing(self, run: str, texts: list[str], stage: int | None, step: int | None) -> dict[str, Any]:
        """Routing weights of ``texts``, or of validation rows if there are none, each with its class."""
        at = load_run_prompt(self.store, self.model_cache, run, stage, step)
        kept = [Example(text, 0) for text in texts] or list(
            subsample_task(at.task, at.config.training).validation[:MAX_ROUTED_EXAMPLES]
        )
        readout = make_task_readout(at.backbone, at.task)
        rows = EncodedExamples(at.backbone, at.task, kept, at.method.slots, at.config.training.length, readout)
        weights: list[list[float]] = [[]] * len(kept)
        for indices, batch in rows.inference_batches():
            for index, weight in zip(indices, _batch_routing_weights(at.method, batch), strict=True):
                weights[index] = weight
        return {
            "weights": weights,
            "texts": [row.text for row in kept],
            "labels": [row.label for row in kept] if not texts else [],
            "classes": list(at.task.classes),
            "mixes": bool(getattr(at.method, "soft_routing", False)),
            **at.position,
        }


def _batch_routing_weights(method: torch.nn.Module, batch: Batch) -> list[list[float]]:
    routing = method(batch).routing
    if routing is None:
        raise StoreError("this method routes nothing: every input gets the same prompt")
    weights: list[list[float]] = routing.float().cpu().tolist()
    return weights


def probe_run(run: Run, kind: str, **question: Any) -> dict[str, Any]:
    """As ``probe_prompt``, for a run at hand.

    Raises:
        StoreError: with the worker's reason, if it has no answer.
    """
    return probe_prompt(Store(run.path.parent), run.id, kind, **question)


def probe_prompt(store: Store, id: str, kind: str, **question: Any) -> dict[str, Any]:
    """What the worker answers to a letter, worked out in this process: for scripts, which have no worker.

    ``id`` names a run, or a kept prompt behind ``ptviz.runs.saved_prompts.SAVED_PREFIX``.

    Raises:
        StoreError: with the worker's reason, if it has no answer.
    """
    found = ProbeHandlers(store, ModelCache()).handle(Request("", kind, {"run": id, **question}, math.inf))
    if "error" in found:
        raise StoreError(found["error"])
    return found
