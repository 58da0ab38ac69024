"""Growth of a training step: seconds and memory of ptviz and PEFT as one size after another is doubled.

The model is a random decoder in the width of SmolLM2-135M. All examples have the same length, so that nothing is padded
and both sides compute the same positions.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

import torch

from ptviz.analysis.growth import GROWTH_FACTORS, GROWTH_SIZES, GrowthPoint, GrowthSize
from ptviz.experiments import benchmark_sides as sides
from ptviz.experiments.step_benchmark import check_same_step, measure_peak_mb, time_run

SMALLEST: dict[GrowthSize, int] = {"examples": 4, "tokens": 16, "prompt tokens": 10, "layers": 4}


def run_growth_benchmark(
    passes: int = 5,
    sizes: Sequence[GrowthSize] = GROWTH_SIZES,
    progress: Callable[[str, float], None] = lambda what, share: None,
) -> list[GrowthPoint]:
    """Measure a step on labels at 1, 2, 4 and 8 times each size; about five minutes on two cores.

    Raises:
        BenchmarkError: if the two sides do not compute the same loss and gradient.
    """
    wanted = [(size, factor) for size in sizes for factor in GROWTH_FACTORS]
    points = []
    for done, (size, factor) in enumerate(wanted):
        progress(f"{size} x {factor}", done / len(wanted))
        points.append(_measure_point(size, factor, passes))
    progress("done", 1.0)
    return points


def _measure_point(size: GrowthSize, factor: int, passes: int) -> GrowthPoint:
    now = {**SMALLEST, size: SMALLEST[size] * factor}
    model, other = (sides.make_decoder(now["layers"]) for _ in range(2))
    backbone = sides.wrap_backbone("decoder", model, torch.float32)
    draw = torch.Generator().manual_seed(4)
    start = 0.5 * torch.randn(now["prompt tokens"], backbone.width, generator=draw)
    ours = sides.make_ptviz_step("decoder", backbone, start)
    peft = sides.make_peft_step("decoder", sides.make_peft("decoder", other, start))
    ids = torch.randint(1000, 20000, (now["examples"], now["tokens"]), generator=draw).tolist()
    rows = [sides.TokenisedExample(row, row[0], []) for row in ids]
    check_same_step(f"{size} x {factor}", ours, peft, rows)
    peaks = [measure_peak_mb(lambda run=run: run(rows)) for run in (ours, peft)]  # type: ignore[misc]
    times = [(time_run(ours, rows), time_run(peft, rows)) for _ in range(passes)]
    mine, other_times = zip(*times, strict=True)
    return GrowthPoint(size, factor, now[size], statistics.median(mine), statistics.median(other_times), *peaks)
