"""What the worker answers of a run's prompt: class probabilities with and without it, and loading things ahead."""

from __future__ import annotations

from typing import Any

from ptviz.engine.loaded_prompt import opened
from ptviz.engine.model_cache import Warm
from ptviz.runs.config import RunConfig
from ptviz.runs.failure_messages import of_exception, out_of_memory
from ptviz.runs.store import Store
from ptviz.worker.rpc import Letter


class Answers:
    """Answers letters with what the worker has in memory."""

    def __init__(self, store: Store, warm: Warm) -> None:
        self.store = store
        self.warm = warm

    def predict(self, letter: Letter) -> dict[str, Any]:
        """``{"classes", "with", "without", "stage", "step"}``, or ``{"error"}`` in words for a person."""
        try:
            return self._predict(**letter.body)
        except Exception as error:
            if out_of_memory(error):
                self.warm.forget()
            return {"error": of_exception(error, None)}

    def _predict(self, run: str, texts: list[str], stage: int | None, step: int | None) -> dict[str, Any]:
        at = opened(self.store, self.warm, run, stage, step)
        length = at.config.training.length
        return {
            "classes": list(at.task.classes),
            "with": self.warm.engine.predict(at.method, at.backbone, at.task, texts, length).tolist(),
            "without": self.warm.engine.predict(None, at.backbone, at.task, texts, length).tolist(),
            **at.place,
        }

    def warm_up(self, letter: Letter) -> str | None:
        """Load a run's backbone and task ahead of it; the backbone's name, or None if that cannot be had."""
        try:
            config = RunConfig.from_json(letter.body)
            self.warm.backbone(config)
            self.warm.task(config)
        except Exception:
            # Only a hint: the run itself will say what is wrong, to the person who wants it.
            return None
        return config.backbone
