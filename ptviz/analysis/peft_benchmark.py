"""PEFT's own benchmark as a comparison of methods: the result files of its method comparison on MetaMathQA.

Source of the layout: https://github.com/huggingface/peft/tree/main/method_comparison/MetaMathQA, one JSON file a run
with ``run_info``, ``train_info`` (``metrics`` as a list, the last entry with ``test accuracy``) and ``meta_info``.
The files are untrusted: size and depth are limited, values that are not finite or out of range count as missing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ptviz.analysis.comparison import RunResult, summarise_methods, table_rows
from ptviz.analysis.peft_benchmark_files import MAX_FILE_BYTES
from ptviz.checkpoints.limits import parse_json_object
from ptviz.methods import list_methods
from ptviz.safe_text import safe_text

_MAX_TEXT = 120
_MAX_ENTRIES = 20_000
_MAX_STEP = 10**9
_UNKNOWN_SIZE = 99_999_999
"""What the benchmark writes for a checkpoint of unknown size: ``get_file_size`` in its utils.py."""
_SURVEY_METHODS = {
    "PROMPT_TUNING": "prompt-tuning",
    "P_TUNING": "p-tuning",
    "PREFIX_TUNING": "p-tuning-v2",
    "MULTITASK_PROMPT_TUNING": "mpt",
}
"""PEFT's types that are methods of the survey; PREFIX_TUNING with ``prefix_projection`` is prefix-tuning. A type of
ptviz's own result files is the name of a method."""


@dataclass(frozen=True)
class BenchmarkResult:
    """One result file. ``run_result.method`` is the experiment, as "method/variant", ``run_result.run`` its time.

    ``kind`` is PEFT's name of the method, ``survey_method`` the survey's ("" if it has none). ``losses`` are training
    losses in nats per token after ``loss_steps`` updates, each the mean since the previous entry.
    """

    run_result: RunResult
    kind: str
    survey_method: str = ""
    backbone: str = ""
    steps: int | None = None
    batch: int | None = None
    lr: float | None = None
    accelerator: str = ""
    loss_steps: tuple[int, ...] = ()
    losses: tuple[float, ...] = ()


def parse_result(text: str | bytes, name: str = "this file") -> BenchmarkResult:
    """Parse one result file; memory is the accelerator's peak in bytes.

    Raises:
        ValueError: if it is not such a file, or if its run did not succeed.
    """
    content = text.encode() if isinstance(text, str) else text
    if len(content) > MAX_FILE_BYTES:
        raise ValueError(
            f"{safe_text(name)} has {len(content) / 1e6:,.1f} MB; a result file of PEFT's benchmark has at most "
            f"{MAX_FILE_BYTES / 1e6:.0f} MB, and usually 15 kB. Choose the JSON files out of its folder results"
        )
    data = parse_json_object(content, safe_text(name), MAX_FILE_BYTES, constant=lambda _: None)
    run, training = (_section(data, part, name) for part in ("run_info", "train_info"))
    if training.get("status") != "success":
        status = safe_text(training.get("status"))
        raise ValueError(f"{safe_text(name)}: this run did not succeed (its status is {status}); leave its file out")
    entries = training.get("metrics")
    metrics = [e for e in entries[:_MAX_ENTRIES] if isinstance(e, Mapping)] if isinstance(entries, list) else []
    tests = [test for entry in metrics if (test := _as_fraction(entry.get("test accuracy"))) is not None]
    if not tests:
        raise ValueError(f"{safe_text(name)}: expected a `test accuracy` from 0 to 1 in train_info.metrics; got none")
    setup, peft = (_as_mapping(run.get(part)) for part in ("train_config", "peft_config"))
    experiment = safe_text(run.get("experiment_name") or "unnamed", _MAX_TEXT)
    evaluated, accuracies = _values_by_step(metrics, "valid accuracy", _as_fraction)
    trained_steps, losses = _values_by_step(metrics, "train loss", _as_finite)
    run_result = RunResult(
        method=experiment,
        seed=_as_count(setup.get("seed")) or 0,
        run=safe_text(run.get("created_at") or "", 40),
        test=tests[-1],
        validation=max(accuracies, default=math.nan),
        seconds=_as_positive(training.get("train_time")),
        trained=_as_count(training.get("num_trainable_params")),
        # Older files say cuda where newer ones say accelerator.
        memory=_as_count(training.get("accelerator_memory_max", training.get("cuda_memory_max"))),
        length=_as_count(peft.get("num_virtual_tokens")),
        size=None if (size := _as_count(training.get("file_size"))) == _UNKNOWN_SIZE else size,
        evaluated=evaluated,
        accuracies=accuracies,
    )
    machine = _as_mapping(_as_mapping(data.get("meta_info")).get("system_info"))
    return BenchmarkResult(
        run_result=run_result,
        kind=experiment.split("/")[0],
        survey_method=_survey_method(peft),
        backbone=safe_text(setup.get("model_id") or "", _MAX_TEXT),
        steps=_as_count(setup.get("max_steps")),
        batch=_as_count(setup.get("batch_size")),
        lr=_as_positive(_as_mapping(setup.get("optimizer_kwargs")).get("lr")),
        accelerator=safe_text(machine.get("accelerator") or machine.get("gpu") or "", 60),
        loss_steps=trained_steps,
        losses=losses,
    )


def _survey_method(peft: Mapping[str, Any]) -> str:
    if peft.get("peft_type") == "PREFIX_TUNING" and peft.get("prefix_projection") is True:
        return "prefix-tuning"
    kind = str(peft.get("peft_type"))
    own = kind.lower().replace("_", "-")
    return _SURVEY_METHODS.get(kind, own if own in list_methods() else "")


def parse_results(files: Iterable[tuple[str, str | bytes]]) -> tuple[list[BenchmarkResult], list[str]]:
    """Parse files given as (name, content); return their results, and one message for each file that has none.

    Of several results of one experiment, backbone and seed only the newest is used, as on PEFT's own page.
    """
    found: dict[tuple[str, str, int], BenchmarkResult] = {}
    problems, older = [], 0
    for name, text in files:
        try:
            result = parse_result(text, name)
        except ValueError as error:
            problems.append(str(error))
            continue
        key = result.run_result.method, result.backbone, result.run_result.seed
        older += key in found
        if key not in found or result.run_result.run >= found[key].run_result.run:
            found[key] = result
    if older:
        problems.append(f"{older} older results were left out: these files have newer ones of the same experiments")
    return _separate_backbones(list(found.values())), problems


def _separate_backbones(results: list[BenchmarkResult]) -> list[BenchmarkResult]:
    """Add the backbone to the experiment's name where there are several: their runs are not seeds of one method."""
    if len({result.backbone for result in results}) < 2:
        return results
    return [
        replace(r, run_result=replace(r.run_result, method=f"{r.run_result.method} ({r.backbone or 'unknown'})"))
        for r in results
    ]


def short_labels(results: Sequence[BenchmarkResult]) -> dict[str, str]:
    """Return a short name of every experiment: without the backbone's name, with which the variants begin."""
    short = {}
    for result in results:
        kind, _, variant = result.run_result.method.partition("/")
        prefix = result.backbone.split("/")[-1].lower() + "-"
        rest = variant[len(prefix) :] if variant.lower().startswith(prefix) else variant
        short[result.run_result.method] = kind if rest in ("", "default") else f"{kind} {rest}"
    return short if len(set(short.values())) == len(short) else {method: method for method in short}


def training_loss_results(results: Iterable[BenchmarkResult]) -> list[RunResult]:
    """Return run results with the training loss as curve, for ``ptviz.analysis.comparison.compute_seed_bands``."""
    return [replace(r.run_result, evaluated=r.loss_steps, accuracies=r.losses) for r in results if r.losses]


EXTRA_COLUMNS = ("kind", "backbone", "lr", "steps", "accelerator")
"""The columns of a benchmark's table besides those of ``comparison.table_rows``."""


def benchmark_rows(results: Sequence[BenchmarkResult]) -> list[dict[str, object]]:
    """Return one row an experiment, the best test accuracy first: ``comparison.table_rows`` and ``EXTRA_COLUMNS``."""
    first = {result.run_result.method: result for result in reversed(results)}
    rows = table_rows(summarise_methods(result.run_result for result in results))
    return [row | {name: getattr(first[str(row["method"])], name) for name in EXTRA_COLUMNS} for row in rows]


def comparability_notes(results: Sequence[BenchmarkResult]) -> list[str]:
    """Return how the settings of these results differ, and what that means for a comparison."""
    notes = []
    for what, values, consequence in (
        ("backbones", {r.backbone for r in results}, "accuracies of different backbones do not compare methods"),
        (
            "budgets",
            {f"{r.steps or '?'} steps of {r.batch or '?'} examples" for r in results},
            "a higher accuracy may come from more steps",
        ),
        (
            "accelerators",
            {r.accelerator or "unknown" for r in results},
            "seconds and memory are comparable on one accelerator only",
        ),
        (
            "prompt lengths",
            {str(r.run_result.length) for r in results if r.run_result.length is not None},
            "a higher accuracy may come from a longer prompt",
        ),
    ):
        if len(values) > 1:
            some = ", ".join(sorted(values, key=lambda text: (int(text) if text.isdecimal() else 0, text))[:5])
            notes.append(f"{len(values)} {what} ({some}{', and others' if len(values) > 5 else ''}): {consequence}.")
    seeds = {result.run_result.method: 0 for result in results}
    for result in results:
        seeds[result.run_result.method] += 1
    if results and max(seeds.values()) == 1:
        notes.append("One seed each: differences of a few points may be chance, and no interval can be given.")
    return notes


def _section(data: Mapping[str, Any], part: str, name: str) -> Mapping[str, Any]:
    found = data.get(part)
    if not isinstance(found, Mapping):
        raise ValueError(
            f"{safe_text(name)}: expected a result file of PEFT's benchmark with a part {part!r}; this one has none"
        )
    return found


def _as_mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _values_by_step(
    metrics: Sequence[Mapping[str, Any]], name: str, read: Any
) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Return the steps and values under one name, each step once, the first entry of several."""
    found: dict[int, float] = {}
    for entry in metrics:
        step, value = _as_count(entry.get("step")), read(entry.get(name))
        if step is not None and step <= _MAX_STEP and value is not None:
            found.setdefault(step, value)
    steps = tuple(sorted(found))
    return steps, tuple(found[step] for step in steps)


def _as_finite(value: object) -> float | None:
    """Return a finite number as a float; None for everything else, integers too large for a float included."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def _as_fraction(value: object) -> float | None:
    number = _as_finite(value)
    return number if number is not None and 0 <= number <= 1 else None


def _as_positive(value: object) -> float | None:
    number = _as_finite(value)
    return number if number is not None and number > 0 else None


def _as_count(value: object) -> int | None:
    number = _as_finite(value)
    return int(number) if number is not None and 0 <= number < 2**53 else None
