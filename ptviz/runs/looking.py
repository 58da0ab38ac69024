"""What the worker does for pages that look inside a run: its words, where inputs are routed, and what they look at."""

from __future__ import annotations

from typing import Any

import torch

from ptviz.prompt import Batch
from ptviz.runs.answers import opened
from ptviz.runs.attending import attention
from ptviz.runs.disk import StoreError
from ptviz.runs.mailbox import Letter
from ptviz.runs.operating import operate, rows_for
from ptviz.runs.reasons import of_exception, out_of_memory
from ptviz.runs.store import Store
from ptviz.runs.vocabulary import keep
from ptviz.runs.warm import Warm
from ptviz.tasks import Row
from ptviz.training.evaluate import limited
from ptviz.training.rows import Rows, readout_of

MOST = 200
"""Validation rows that are routed for a page: enough for a heat map, few enough between two training steps."""


class Looking:
    """Answers letters about what lies inside a run."""

    kinds = ("vocabulary", "route", "attention", "surgery")

    def __init__(self, store: Store, warm: Warm) -> None:
        self.store = store
        self.warm = warm

    def answer(self, letter: Letter) -> dict[str, Any]:
        """The reply to a letter of one of ``kinds``, or ``{"error"}`` in words for a person."""
        try:
            if letter.kind == "vocabulary":
                return self._vocabulary(**letter.body)
            if letter.kind == "attention":
                return self._attention(**letter.body)
            if letter.kind == "surgery":
                return self._surgery(**letter.body)
            return self._route(**letter.body)
        except Exception as error:
            if out_of_memory(error):
                self.warm.forget()
            return {"error": of_exception(error, None)}

    def _vocabulary(self, run: str) -> dict[str, Any]:
        return {"place": str(keep(self.warm.backbone(self.store.get(run).config.checked())))}

    @torch.no_grad()
    def _attention(self, run: str, text: str, stage: int | None, step: int | None) -> dict[str, Any]:
        """Attention on the prompt from ``text``, or from the first validation text if it is empty."""
        at = opened(self.store, self.warm, run, stage, step)
        row = Row(text, 0) if text else limited(at.task, at.config.training).validation[0]
        found = attention(at.backbone, at.task, at.method, at.method.slots, at.config.training.length, row)
        return {**found, **at.place}

    @torch.no_grad()
    def _surgery(self, run: str, action: str, stage: int | None, step: int | None) -> dict[str, Any]:
        """Validation loss and accuracy with each prompt token changed in turn."""
        at = opened(self.store, self.warm, run, stage, step)
        slots, length = at.method.slots, at.config.training.length
        task = limited(at.task, at.config.training)
        rows = task.validation[: rows_for(slots or int(at.config.knobs.get("m", 20)))]
        return {**operate(at.backbone, task, at.method, slots, length, rows, action), **at.place}

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
            **at.place,
        }


def _routing(method: torch.nn.Module, batch: Batch) -> list[list[float]]:
    routing = method(batch).routing
    if routing is None:
        raise StoreError("this method routes nothing: every input gets the same prompt")
    weights: list[list[float]] = routing.float().cpu().tolist()
    return weights
