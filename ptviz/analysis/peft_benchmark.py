"""PEFT's own benchmark as a race: the result files of its method comparison on MetaMathQA.

Source of the layout: https://github.com/huggingface/peft/tree/main/method_comparison/MetaMathQA, one JSON file a run
with ``run_info``, ``train_info`` (``metrics`` as a list, the last entry with ``test accuracy``) and ``meta_info``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from ptviz.analysis.race import Lap


def lap_of(text: str | bytes) -> Lap:
    """One result file as a lap; the method is the experiment's name, memory the accelerator's highest, in bytes.

    Raises:
        ValueError: if it is no such file, or tells of a run that did not succeed.
    """
    try:
        data = json.loads(text)
    except ValueError as error:
        raise ValueError(
            f"expected a result file of PEFT's benchmark, which is JSON; got something else ({error})"
        ) from None
    run, training = (_part(data, name) for name in ("run_info", "train_info"))
    name = str(run.get("experiment_name") or "unnamed")
    if training.get("status") != "success":
        raise ValueError(f"{name}: this run did not succeed (status {training.get('status')!r}); leave its file out")
    metrics = [entry for entry in training.get("metrics") or () if isinstance(entry, Mapping)]
    tests = [entry["test accuracy"] for entry in metrics if _number(entry.get("test accuracy"))]
    if not tests:
        raise ValueError(f"{name}: expected a `test accuracy` in train_info.metrics; got none")
    told = [
        (e["step"], e["valid accuracy"]) for e in metrics if _number(e.get("valid accuracy")) and _number(e.get("step"))
    ]
    setup, peft = run.get("train_config") or {}, run.get("peft_config") or {}
    return Lap(
        method=name,
        seed=int(setup.get("seed") or 0),
        run=str(run.get("created_at") or ""),
        test=float(tests[-1]),
        validation=max((float(accuracy) for _, accuracy in told), default=float("nan")),
        seconds=_or_none(training.get("train_time")),
        trained=_whole(training.get("num_trainable_params")),
        memory=_whole(training.get("accelerator_memory_max")),
        length=_whole(peft.get("num_virtual_tokens")),
        evaluated=tuple(int(step) for step, _ in told),
        accuracies=tuple(float(accuracy) for _, accuracy in told),
    )


def laps_of(files: Iterable[tuple[str, str | bytes]]) -> tuple[list[Lap], list[str]]:
    """Files given as (name, content): those that could be read as laps, and a sentence for each that could not."""
    laps, problems = [], []
    for name, text in files:
        try:
            laps.append(lap_of(text))
        except ValueError as error:
            problems.append(f"{name}: {error}")
    return laps, problems


def _part(data: Any, name: str) -> Mapping[str, Any]:
    part = data.get(name) if isinstance(data, Mapping) else None
    if not isinstance(part, Mapping):
        raise ValueError(f"expected a result file of PEFT's benchmark with a part {name!r}; this one has none")
    return part


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _or_none(value: Any) -> float | None:
    return float(value) if _number(value) else None


def _whole(value: Any) -> int | None:
    return int(value) if _number(value) else None
