"""What the worker does for pages that look inside a run: its words, where inputs are routed, and what they look at."""

from __future__ import annotations

import math
from typing import Any

import torch

from ptviz.engine.loaded_prompt import Opened, opened, opened_kept
from ptviz.engine.model_cache import Warm
from ptviz.probes.attention import attention
from ptviz.probes.prompt_editing import Operating
from ptviz.prompt import Batch
from ptviz.runs.atomic_io import StoreError
from ptviz.runs.config import RunConfig
from ptviz.runs.embedding_table import keep
from ptviz.runs.failure_messages import of_exception, out_of_memory
from ptviz.runs.run import Run
from ptviz.runs.saved_prompts import KEPT
from ptviz.runs.store import Store
from ptviz.tasks import Row
from ptviz.training.batches import Rows, readout_of
from ptviz.training.evaluation import limited
from ptviz.worker.probe_requests import MEASURES
from ptviz.worker.projection_queue import Mapping
from ptviz.worker.rpc import Letter

MOST = 200
"""Validation rows that are routed for a page: enough for a heat map, few enough between two training steps."""


class Looking:
    """Answers letters about what lies inside a run."""

    kinds = ("vocabulary", "route", "attention", "surgery", "measure", "map")

    def __init__(self, store: Store, warm: Warm) -> None:
        self.store = store
        self.warm = warm
        self.operating = Operating(store, warm)
        self.mapping = Mapping()

    def answer(self, letter: Letter) -> dict[str, Any]:
        """The reply to a letter of one of ``kinds``, or ``{"error"}`` in words for a person."""
        try:
            if letter.kind == "vocabulary":
                return self._vocabulary(**letter.body)
            if letter.kind == "attention":
                return self._attention(**letter.body)
            if letter.kind == "surgery":
                return self.operating.answer(**letter.body)
            if letter.kind == "measure":
                return self._measure(**letter.body)
            if letter.kind == "map":
                return self._map(**letter.body)
            return self._route(**letter.body)
        except Exception as error:
            if out_of_memory(error):
                self.warm.forget()
                self.operating.forget()
            return {"error": of_exception(error, None)}

    def _vocabulary(self, run: str = "", backbone: str = "") -> dict[str, Any]:
        config = RunConfig(backbone=backbone) if backbone else self.store.get(run).config.checked()
        return {"place": str(keep(self.warm.backbone(config)))}

    def _map(self, run: str, name: str) -> dict[str, Any]:
        self.mapping.take(name)
        return {}

    def _open(self, run: str, stage: int | None, step: int | None, task: str) -> Opened:
        """A run at a step; or a kept prompt, its id behind ``KEPT``, in front of the texts of a task."""
        if run.startswith(KEPT):
            return opened_kept(self.store, self.warm, run.removeprefix(KEPT), task)
        return opened(self.store, self.warm, run, stage, step)

    @torch.no_grad()
    def _attention(
        self, run: str, text: str, stage: int | None = None, step: int | None = None, row: int = 0, task: str = ""
    ) -> dict[str, Any]:
        """Attention on the prompt from ``text``, or from the validation text at place ``row``, or the last one."""
        at = self._open(run, stage, step, task)
        rows = limited(at.task, at.config.training).validation
        chosen = Row(text, 0) if text else rows[min(row, len(rows) - 1)]
        found = attention(at.backbone, at.task, at.method, at.method.slots, at.config.training.length, chosen)
        return {**found, "rows": len(rows), **at.place}

    @torch.no_grad()
    def _measure(
        self, run: str, what: str, stage: int | None = None, step: int | None = None, task: str = "", **more: Any
    ) -> dict[str, Any]:
        """One of ``MEASURES``."""
        if what not in MEASURES:
            raise StoreError(f"expected one of {', '.join(MEASURES)}; got {what!r}")
        at = self._open(run, stage, step, task)
        return {**MEASURES[what](at, self.warm, **more), **at.place}

    @torch.no_grad()
    def _route(self, run: str, texts: list[str], stage: int | None, step: int | None) -> dict[str, Any]:
        """Routing weights of ``texts``, or of validation rows if there are none, each with its class."""
        at = opened(self.store, self.warm, run, stage, step)
        kept = [Row(text, 0) for text in texts] or list(limited(at.task, at.config.training).validation[:MOST])
        readout = readout_of(at.backbone, at.task)
        rows = Rows(at.backbone, at.task, kept, at.method.slots, at.config.training.length, readout)
        weights: list[list[float]] = [[]] * len(kept)
        for indices, batch in rows.large():
            for index, weight in zip(indices, _routing(at.method, batch), strict=True):
                weights[index] = weight
        return {
            "weights": weights,
            "texts": [row.text for row in kept],
            "labels": [row.label for row in kept] if not texts else [],
            "classes": list(at.task.classes),
            "mixes": bool(getattr(at.method, "mixes", False)),
            **at.place,
        }


def _routing(method: torch.nn.Module, batch: Batch) -> list[list[float]]:
    routing = method(batch).routing
    if routing is None:
        raise StoreError("this method routes nothing: every input gets the same prompt")
    weights: list[list[float]] = routing.float().cpu().tolist()
    return weights


def answer_of(run: Run, kind: str, **question: Any) -> dict[str, Any]:
    """As ``answer_about``, for a run at hand.

    Raises:
        StoreError: with the worker's reason, if it has no answer.
    """
    return answer_about(Store(run.path.parent), run.id, kind, **question)


def answer_about(store: Store, id: str, kind: str, **question: Any) -> dict[str, Any]:
    """What the worker answers to a letter, worked out in this process: for scripts, which have no worker.

    ``id`` names a run, or a kept prompt behind ``ptviz.runs.saved_prompts.KEPT``.

    Raises:
        StoreError: with the worker's reason, if it has no answer.
    """
    found = Looking(store, Warm()).answer(Letter("", kind, {"run": id, **question}, math.inf))
    if "error" in found:
        raise StoreError(found["error"])
    return found
