"""What the worker does for pages that look inside a run: its words, where inputs are routed, and what they look at."""

from __future__ import annotations

from typing import Any

import torch

from ptviz.backbones import Backbone
from ptviz.methods.base import PromptMethod
from ptviz.prompt import Batch
from ptviz.runs.answers import chosen
from ptviz.runs.attending import attention
from ptviz.runs.config import RunConfig
from ptviz.runs.disk import StoreError
from ptviz.runs.mailbox import Letter
from ptviz.runs.operating import operate, rows_for
from ptviz.runs.reasons import of_exception, out_of_memory
from ptviz.runs.store import Store
from ptviz.runs.vocabulary import keep
from ptviz.runs.warm import Warm
from ptviz.runs.work import load
from ptviz.tasks import Row, Task
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

    def _opened(
        self, run: str, stage: int | None, step: int | None
    ) -> tuple[RunConfig, Backbone, Task, PromptMethod, dict[str, int]]:
        """A run's method as it was at a step, on its warm backbone and task, and which step that is."""
        found = self.store.get(run)
        config = found.config.checked()
        state, stage, step = chosen(found, stage, step)
        backbone, task = self.warm.backbone(config), self.warm.task(config)
        method = self.warm.engine.build(config, backbone, task)
        load(method, state)
        method.eval()
        return config, backbone, limited(task, config.training), method, {"stage": stage, "step": step}

    @torch.no_grad()
    def _attention(self, run: str, text: str, stage: int | None, step: int | None) -> dict[str, Any]:
        """Attention on the prompt from ``text``, or from the first validation text if it is empty."""
        config, backbone, task, method, place = self._opened(run, stage, step)
        row = Row(text, 0) if text else task.validation[0]
        return {**attention(backbone, task, method, method.slots, config.training.length, row), **place}

    @torch.no_grad()
    def _surgery(self, run: str, action: str, stage: int | None, step: int | None) -> dict[str, Any]:
        """Validation loss and accuracy with each prompt token changed in turn."""
        config, backbone, task, method, place = self._opened(run, stage, step)
        rows = task.validation[: rows_for(method.slots or int(config.knobs.get("m", 20)))]
        return {**operate(backbone, task, method, method.slots, config.training.length, rows, action), **place}

    @torch.no_grad()
    def _route(self, run: str, texts: list[str], stage: int | None, step: int | None) -> dict[str, Any]:
        """Routing weights of ``texts``, or of validation rows if there are none, each with its class."""
        found = self.store.get(run)
        config = found.config.checked()
        state, stage, step = chosen(found, stage, step)
        backbone, task = self.warm.backbone(config), self.warm.task(config)
        method = self.warm.engine.build(config, backbone, task)
        load(method, state)
        method.eval()
        kept = [Row(text, 0) for text in texts] or list(limited(task, config.training).validation[:MOST])
        rows = Rows(backbone, task, kept, method.slots, config.training.length, readout_of(backbone, task))
        weights: list[list[float]] = [[]] * len(kept)
        for indices, batch in rows.large():
            for index, weight in zip(indices, _routing(method, batch), strict=True):
                weights[index] = weight
        return {
            "weights": weights,
            "texts": [row.text for row in kept],
            "labels": [row.label for row in kept] if not texts else [],
            "classes": list(task.classes),
            "stage": stage,
            "step": step,
        }


def _routing(method: torch.nn.Module, batch: Batch) -> list[list[float]]:
    routing = method(batch).routing
    if routing is None:
        raise StoreError("this method routes nothing: every input gets the same prompt")
    weights: list[list[float]] = routing.float().cpu().tolist()
    return weights
