"""Seconds of one prompt edit with a loaded model."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class EditTiming:
    """One prompt edit with a loaded model: medians of wall-clock and processor seconds."""

    m: int
    rows: int
    seconds: float
    cpu_seconds: float


def time_prompt_edit(m: int = 20, passes: int = 3, backbone: str = "minilm-l6", task: str = "trec6") -> EditTiming:
    """Measure the ablation of one prompt token after another on validation examples."""
    from ptviz.engine.loaded_prompt import LoadedPrompt
    from ptviz.engine.model_cache import ModelCache
    from ptviz.probes.edit_effects import MAX_ROWS, EditEvaluator
    from ptviz.probes.prompt_edits import Ablate, EditContext
    from ptviz.runs.config import RunConfig

    config, model_cache = RunConfig(backbone, task, hyperparameters={"m": m}).checked(), ModelCache()
    frozen, loaded_task = model_cache.backbone(config), model_cache.task(config)
    method = model_cache.backend.build_method(config, frozen, loaded_task).eval()
    loaded = LoadedPrompt(config, frozen, loaded_task, method, {})
    times = []
    with torch.no_grad():
        evaluator = EditEvaluator(loaded, MAX_ROWS, EditContext(frozen.embedding_table, lambda of, id: {}))
        evaluator.score()
        for token in range(min(m, passes)):
            began = time.perf_counter(), time.process_time()
            evaluator.score((Ablate((token,)),))
            times.append((time.perf_counter() - began[0], time.process_time() - began[1]))
    clock, processor = (statistics.median(each) for each in zip(*times, strict=True))
    return EditTiming(m, len(evaluator.examples), clock, processor)
