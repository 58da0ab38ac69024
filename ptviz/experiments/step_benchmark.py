"""Speed of ptviz against PEFT: a training step on labels, one on target texts, and writing.

All sides run in one process with the same threads and type of weights, and alternate batch by batch; the time of a
batch is the median over the passes, so that other load on the machine affects all of them. Examples have mixed lengths.
PEFT gets them in random order with dynamic padding, as in its examples, and a second time in ptviz's batches of like
length. Before the timing, both must give the same loss and gradient on one batch in float32, to 1e-5, and write the
same tokens.
"""

from __future__ import annotations

import gc
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import product

import psutil
import torch
from torch import Tensor, nn

from ptviz.backbones import Backbone
from ptviz.backbones.frozen_linear import frozen_product
from ptviz.experiments import benchmark_sides as sides
from ptviz.experiments.benchmark_sides import FAMILIES, WORKS, Family, TokenisedExample, Work
from ptviz.tasks.collate import schedule_batches

MOST_WRITTEN = 128
"""Examples that texts are written for: writing is slower than a step."""


class BenchmarkError(RuntimeError):
    """The two sides do not compute the same thing, so their speeds cannot be compared."""


@dataclass(frozen=True)
class StepBenchmarkResult:
    """One measurement; units are examples, or for the work "generate" generated tokens.

    ``ratio`` compares with PEFT in the same type on batches in random order, ``sorted_ratio`` on batches of like
    length. Peak memory is above the weights, in MB. ``ceiling_share`` is the time of the bare matrix products of the
    positions that are really needed as a share of ptviz's time; None for writing, whose products are single rows.
    """

    work: Work
    family: Family
    m: int
    dtype: str
    ratio: float
    sorted_ratio: float
    ours_per_second: float
    peft_per_second: float
    peft_sorted_per_second: float
    ours_peak_mb: float
    peft_peak_mb: float
    ceiling_share: float | None
    loss_difference: float
    gradient_difference: float


Batches = list[list[TokenisedExample]]
Run = Callable[[Sequence[TokenisedExample]], object]


@dataclass(frozen=True)
class _Setting:
    work: Work
    family: Family
    m: int
    dtype: str

    def start(self, width: int) -> Tensor:
        return 0.5 * torch.randn(self.m, width, generator=torch.Generator().manual_seed(2))


def time_matrix_products(backbone: Backbone, positions: int) -> float:
    """Measure the bare matrix products of one step, in seconds: every linear layer forward and backward."""
    named = backbone.model.base_model.named_modules()
    # Of an encoder-decoder's decoder, only the keys and values of cross-attention run over all positions.
    wide = ("EncDecAttention.k", "EncDecAttention.v")
    linear = {name: x for name, x in named if isinstance(x, nn.Linear) and name != "lm_head"}
    layers = [x for name, x in linear.items() if "decoder." not in name or name.endswith(wide)]
    inputs = {layer.in_features: torch.randn(positions, layer.in_features).to(layer.weight.dtype) for layer in layers}
    grads = {layer.out_features: torch.randn(positions, layer.out_features).to(layer.weight.dtype) for layer in layers}
    with torch.no_grad():
        began = time.perf_counter()
        for layer in layers:
            frozen_product(inputs[layer.in_features], layer.weight, layer.bias)
        for layer in layers:
            frozen_product(grads[layer.out_features], layer.weight.t())
        return time.perf_counter() - began


def measure_peak_mb(work: Callable[[], object]) -> float:
    """Measure the largest growth of this process's memory while ``work`` runs, in MB."""
    gc.collect()
    with suppress(AttributeError):  # Not every C library can return freed memory.
        psutil.heap_trim()
    process, peak, done = psutil.Process(), 0, threading.Event()
    before = process.memory_info().rss

    def watch() -> None:
        nonlocal peak
        while not done.is_set():
            peak = max(peak, process.memory_info().rss)
            time.sleep(0.002)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    work()
    done.set()
    thread.join()
    return max(0.0, (max(peak, process.memory_info().rss) - before) / 2**20)


def time_run(run: Run, rows: Sequence[TokenisedExample]) -> float:
    """Measure one step, or the writing of one batch, in seconds."""
    began = time.perf_counter()
    run(rows)
    return time.perf_counter() - began


def run_step_benchmark(
    families: Sequence[Family] = FAMILIES,
    lengths: Sequence[int] = (20, 100),
    dtypes: Sequence[str] = ("float32", "bfloat16"),
    works: Sequence[Work] = WORKS,
    *,
    count: int = 512,
    batch: int = 16,
    passes: int = 3,
    progress: Callable[[str, float], None] = lambda what, share: None,
) -> list[StepBenchmarkResult]:
    """Measure every combination; encoders generate no text. Two hours on two cores with the defaults.

    Raises:
        BenchmarkError: if the two sides do not compute the same loss and gradient, or write different tokens.
    """
    every = [_Setting(*one) for one in product(works, families, lengths, dtypes)]
    settings = [one for one in every if one.family != "encoder" or one.work == "label"]
    rows = []
    for done, one in enumerate(settings):
        what = f"{one.work}, {one.family}, m={one.m}, {one.dtype}"

        def report(share: float, what: str = what, done: int = done) -> None:
            progress(what, (done + share) / len(settings))

        report(0.0)
        few = min(count, MOST_WRITTEN) if one.work == "generate" else count
        rows.append(_measure(one, few, batch, passes, report))
    progress("done", 1.0)
    return rows


def check_same(setting: _Setting, rows: Sequence[TokenisedExample]) -> tuple[float, float]:
    """Return the differences of loss and gradient (relative) of both sides in float32.

    Raises:
        BenchmarkError: if they are above 1e-5, or if the two sides write different tokens.
    """
    ours, peft, start = _both_sides(setting, torch.float32, smooth=True)
    if setting.work == "generate":
        # In writing, PEFT counts padding as positions, so that only rows of one length can be compared.
        shortest = min(len(row.ids) for row in rows)
        equal = [replace(row, ids=row.ids[:shortest]) for row in rows]
        if sides.make_ptviz_generator(ours, start)(equal) != sides.make_peft_generator(setting.family, peft)(equal):
            raise BenchmarkError(f"{setting}: the tokens written differ from PEFT's")
        return 0.0, 0.0
    return check_same_step(
        str(setting),
        sides.make_ptviz_step(setting.family, ours, start, setting.work),
        sides.make_peft_step(setting.family, peft, setting.work),
        rows,
    )


def check_same_step(
    what: str, ours: sides.TrainingStep, peft: sides.TrainingStep, rows: Sequence[TokenisedExample]
) -> tuple[float, float]:
    """Return the differences of loss and gradient (relative) of one step of both sides.

    Raises:
        BenchmarkError: if they are above 1e-5.
    """
    (loss, gradient), (other, theirs) = ours(rows), peft(rows)
    difference = abs(loss - other), float((gradient - theirs).norm() / theirs.norm())
    if not (difference[0] < 1e-5 * max(1, abs(other)) and difference[1] < 1e-5):
        raise BenchmarkError(f"{what}: loss and gradient differ from PEFT's by {difference}")
    return difference


def _both_sides(setting: _Setting, dtype: torch.dtype, smooth: bool = False) -> tuple[Backbone, object, Tensor]:
    ours = sides.wrap_backbone(setting.family, sides.make_model(setting.family, smooth), dtype)
    start = setting.start(ours.width)
    return ours, sides.make_peft(setting.family, sides.make_model(setting.family, smooth).to(dtype), start), start


def _measure(
    setting: _Setting, count: int, batch: int, passes: int, progress: Callable[[float], None]
) -> StepBenchmarkResult:
    data = sides.make_examples(count, setting.family)
    difference = check_same(setting, data[:batch])
    ours, peft, start = _both_sides(setting, getattr(torch, setting.dtype))
    if setting.work == "generate":
        runs: tuple[Run, Run] = sides.make_ptviz_generator(ours, start), sides.make_peft_generator(setting.family, peft)
    else:
        runs = (
            sides.make_ptviz_step(setting.family, ours, start, setting.work),
            sides.make_peft_step(setting.family, peft, setting.work),
        )
    random = torch.randperm(count, generator=torch.Generator().manual_seed(3)).tolist()
    mixed = [[data[i] for i in random[at : at + batch]] for at in range(0, count, batch)]
    grouped = [[data[i] for i in part] for part in schedule_batches([len(row.ids) for row in data], batch, 0, 0)]
    columns: dict[str, tuple[Run, Batches]] = {
        "peft": (runs[1], mixed), "sorted": (runs[1], grouped), "ours": (runs[0], grouped),
    }  # fmt: skip
    peaks = {name: measure_peak_mb(partial(run, _longest(of))) for name, (run, of) in columns.items()}
    times: dict[str, list[list[float]]] = {name: [[] for _ in of] for name, (_, of) in columns.items()}
    bare = []
    rounds = passes * len(grouped)
    for turn in range(rounds):
        at = turn % len(grouped)
        for name, (run, of) in columns.items():
            times[name][at].append(time_run(run, of[at]))
        if turn % 4 == 0 and setting.work != "generate":
            bare.append(time_matrix_products(ours, _needed_positions(setting, grouped)))
        progress((turn + 1) / rounds)
    seconds = {name: sum(statistics.median(each) for each in times[name]) for name in columns}
    units = count
    if setting.work == "generate":
        units = sum(len(written) for part in grouped for written in sides.make_ptviz_generator(ours, start)(part))
    return StepBenchmarkResult(
        setting.work, setting.family, setting.m, setting.dtype,
        seconds["peft"] / seconds["ours"], seconds["sorted"] / seconds["ours"],
        units / seconds["ours"], units / seconds["peft"], units / seconds["sorted"], peaks["ours"], peaks["peft"],
        statistics.median(bare) * len(grouped) / seconds["ours"] if bare else None,
        *difference,
    )  # fmt: skip


def _longest(batches: Batches) -> list[TokenisedExample]:
    return max(batches, key=lambda rows: max(len(row.ids) for row in rows))


def _needed_positions(setting: _Setting, batches: Batches) -> int:
    """Return the mean number of positions of a batch: real tokens, and the prompt's once in a decoder."""
    written = [len(row.target) - 1 if setting.work == "text" else 0 for part in batches for row in part]
    decoder = setting.family == "decoder"
    tokens = sum(len(row.ids) for part in batches for row in part) + (sum(written) if decoder else 0)
    prompts = len(batches) if decoder else sum(map(len, batches))
    return round((tokens + setting.m * prompts) / len(batches))
