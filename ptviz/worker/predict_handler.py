"""What the worker answers of a run's prompt: class probabilities with and without it, and loading things ahead."""

from __future__ import annotations

from typing import Any

from ptviz.engine.loaded_prompt import load_run_prompt
from ptviz.engine.model_cache import ModelCache
from ptviz.runs.config import RunConfig
from ptviz.runs.failure_messages import failure_reason, is_out_of_memory
from ptviz.runs.store import Store
from ptviz.worker.rpc import Request


class PredictHandler:
    """Answers letters with what the worker has in memory."""

    def __init__(self, store: Store, warm: ModelCache) -> None:
        self.store = store
        self.model_cache = warm

    def predict(self, letter: Request) -> dict[str, Any]:
        """``{"classes", "with", "without", "stage", "step"}``, or ``{"error"}`` in words for a person."""
        try:
            return self._predict(**letter.body)
        except Exception as error:
            if is_out_of_memory(error):
                self.model_cache.clear()
            return {"error": failure_reason(error, None)}

    def _predict(self, run: str, texts: list[str], stage: int | None, step: int | None) -> dict[str, Any]:
        at = load_run_prompt(self.store, self.model_cache, run, stage, step)
        length = at.config.training.length
        return {
            "classes": list(at.task.classes),
            "with": self.model_cache.backend.predict(at.method, at.backbone, at.task, texts, length).tolist(),
            "without": self.model_cache.backend.predict(None, at.backbone, at.task, texts, length).tolist(),
            **at.position,
        }

    def preload_models(self, letter: Request) -> str | None:
        """Load a run's backbone and task ahead of it; the backbone's name, or None if that cannot be had."""
        try:
            config = RunConfig.from_json(letter.body)
            self.model_cache.backbone(config)
            self.model_cache.task(config)
        except Exception:
            # Only a hint: the run itself will say what is wrong, to the person who wants it.
            return None
        return config.backbone
