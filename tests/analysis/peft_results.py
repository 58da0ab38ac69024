"""Synthetic result files in the exact layout of PEFT's benchmark."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

GIB = 2**30


def result(
    experiment: str = "prompt_tuning/llama-3.2-3B-lr_0.001",
    *,
    test: float = 0.37,
    seed: int = 0,
    lr: float = 1e-3,
    steps: int = 5000,
    made: str = "2025-10-23T19:32:16+00:00",
    peft: dict[str, Any] | None = None,
    old: bool = False,
    **training: Any,
) -> dict[str, Any]:
    """Return one file's content; ``old`` uses early field names, ``training`` replaces parts of ``train_info``."""
    kind = {"prompt_tuning": "PROMPT_TUNING", "prefixtuning": "PREFIX_TUNING", "ptuning": "P_TUNING"}
    name = experiment.split("/")[0]
    if peft is None and name != "full-finetuning":
        peft = {"task_type": "CAUSAL_LM", "peft_type": kind.get(name, name.upper()), "auto_mapping": None}
        peft |= {"num_virtual_tokens": 20, "token_dim": 3072} if name in kind else {"r": 32}
    metrics: list[dict[str, Any]] = [
        {
            "step": step, "valid accuracy": round(test * (1 - 0.6 * math.exp(-4 * step / steps)), 2),
            "train loss": 0.6 + 0.6 * math.exp(-6 * step / steps), "train samples": 4 * step, "train time": 45.2,
            "eval time": 12.5, "tokens / sec": 4585.1, "mem allocated avg": 7e9, "mem reserved avg": 1.5e10,
            "elapsed time": step * 0.48,
        }
        for step in range(steps // 20, steps + 1, steps // 20)
    ]  # fmt: skip
    metrics.append(
        {"step": steps, "test accuracy": test, "train loss": metrics[-1]["train loss"], "train samples": 4 * steps,
         "train total tokens": 4198051}
        | ({} if old else {"forgetting": 1.64})
    )  # fmt: skip
    device = "cuda" if old else "accelerator"
    return {
        "run_info": {
            "created_at": made, "total_time": 2686.3, "experiment_name": experiment, "peft_branch": "main",
            "train_config": {
                "model_id": "meta-llama/Llama-3.2-3B", "dtype": "bfloat16", "max_seq_length": 768, "batch_size": 4,
                "batch_size_eval": 50, "max_steps": steps, "eval_steps": 250, "compile": False, "seed": seed,
                "query_template": "Question: {query} Think step by step.\nAnswer:", "optimizer_type": "AdamW",
                "optimizer_kwargs": {"lr": lr}, "lr_scheduler": "cosine", "attn_implementation": None,
                "generation_kwargs": {"max_length": 800, "max_new_tokens": 300},
            },
            "peft_config": peft, "error_msg": "",
        },
        "train_info": {
            f"{device}_memory_reserved_avg": 14 * GIB, f"{device}_memory_max": 22 * GIB,
            f"{device}_memory_reserved_99th": 20 * GIB, "train_time": 2404.5, "file_size": 2457728,
            "num_trainable_params": 61440, "num_total_params": 3212811264, "status": "success", "metrics": metrics,
            **training,
        },
        "meta_info": {
            "model_info": {"sha": "13af", "created_at": "2024-09-18T15:23:48+00:00"},
            "dataset_info": {"gsm8k": {"sha": None, "created_at": None}},
            "package_info": {"peft-version": "0.17.2.dev0", "torch-commit-hash": None},
            "system_info": {"system": "Linux", "gpu" if old else "accelerator": "NVIDIA L40S"},
            "pytorch_info": "PyTorch built with:\n  - GCC 13.3\n",
        },
    }  # fmt: skip


def written(folder: Path, *results: dict[str, Any]) -> Path:
    """Write such files to a folder under PEFT's names, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    for place, content in enumerate(results):
        name = str(content["run_info"]["experiment_name"]).replace("/", "--")
        (folder / f"{name}--{place}.json").write_text(json.dumps(content, indent=2))
    return folder
