"""Recorded runs written in the layout of the result files of PEFT's benchmark, one JSON file a run.

They give the page PEFT benchmark something real to open. The layout is that of
https://github.com/huggingface/peft/tree/main/method_comparison/MetaMathQA; the runs are ptviz's own.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ptviz import paths
from ptviz.analysis.comparison import RunResult
from ptviz.atomic_files import write_file
from ptviz.experiments.run_results import load_result
from ptviz.runs.run import Run
from ptviz.runs.run_file_io import to_store_error

_PEFT_TYPES = {"p-tuning-v2": "PREFIX_TUNING", "prefix-tuning": "PREFIX_TUNING", "mpt": "MULTITASK_PROMPT_TUNING"}
"""PEFT's types of methods that it names otherwise; prefix tuning has a projection, P-Tuning v2 has none."""


def benchmark_samples() -> Path | None:
    """Return the folder of the sample result files; None if the gallery has none."""
    folder = paths.gallery_dir() / "benchmark"
    return folder if folder.is_dir() else None


def write_benchmark_samples(folder: Path, runs: Sequence[Run]) -> None:
    """Write a result file for each finished run: its settings, evaluations, mean losses and cost.

    Raises:
        StoreError: if a run cannot be read, or the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for run in runs:
            if (result := load_result(run)) is not None:
                text = json.dumps(_describe_run(run, result), separators=(",", ":"))
                write_file(folder / f"{run.config.method}-{result.seed}.json", text.encode())
    except OSError as error:
        raise to_store_error(error, folder) from error


def _optimiser_settings(run: Run, peak: float) -> dict[str, float]:
    """Return the peak learning rate; nothing for a search without gradients, which records its step size instead."""
    asked = run.environment().get("lr")
    return {"lr": peak} if asked is not None and peak <= float(asked) * (1 + 1e-6) else {}


def _describe_run(run: Run, result: RunResult) -> dict[str, Any]:
    config, training, history = run.config, run.config.training, run.history()
    losses, starts = history.losses, (0, *result.evaluated)
    peak = float(history.learning_rates.max(initial=0.0))
    metrics: list[dict[str, Any]] = [
        {
            "step": step, "valid accuracy": round(accuracy, 4),
            "train loss": round(float(losses[start:step].mean()), 4) if step > start else None,
        }
        for start, step, accuracy in zip(starts, result.evaluated, result.accuracies, strict=False)
    ]  # fmt: skip
    metrics.append({"step": max(result.evaluated, default=training.steps), "test accuracy": round(result.test, 4)})
    return {
        "run_info": {
            "created_at": datetime.fromtimestamp(run.status().created, UTC).isoformat(timespec="seconds"),
            "experiment_name": f"{config.method}/{config.backbone}-{config.task}",
            "train_config": {
                "model_id": config.backbone, "max_steps": training.steps, "batch_size": training.batch,
                "seed": training.seed, "optimizer_kwargs": _optimiser_settings(run, peak),
            },
            "peft_config": {
                "peft_type": _PEFT_TYPES.get(config.method, config.method.upper().replace("-", "_")),
                "num_virtual_tokens": result.length, "prefix_projection": config.method == "prefix-tuning",
            },
        },
        "train_info": {
            "status": "success", "train_time": result.seconds, "num_trainable_params": result.trained,
            "metrics": metrics,
        },
        "meta_info": {"system_info": {}},
    }  # fmt: skip
