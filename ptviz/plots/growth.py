"""Public figure of how a training step grows with its sizes, from ``ptviz bench --growth --json``."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from ptviz.analysis.growth import GROWTH_FACTORS, GROWTH_SIZES, GrowthPoint, growth_exponent
from ptviz.figures.growth import draw_growth
from ptviz.plots.alt_text import with_alt


def plot_growth(points: Sequence[GrowthPoint]) -> go.Figure:
    """Draw seconds and peak memory of a training step over each of its sizes, for ptviz and PEFT.

    ``points`` are those of ``ptviz.experiments.growth_benchmark.run_growth_benchmark``, or the rows that
    ``ptviz bench --growth --json`` prints, each as ``GrowthPoint(**row)``.
    """
    return with_alt(draw_growth(points), _describe(points))


def _describe(points: Sequence[GrowthPoint]) -> str:
    parts = []
    for size in GROWTH_SIZES:
        own = sorted((point for point in points if point.size == size), key=lambda point: point.factor)
        if len(own) == len(GROWTH_FACTORS):
            ours, peft = (
                growth_exponent([getattr(point, name) for point in own]) for name in ("ours_seconds", "peft_seconds")
            )
            parts.append(f"with {size} to the power {ours:.2f} (PEFT {peft:.2f})")
    return f"Seconds of a training step grow {', '.join(parts)}." if parts else "Nothing was measured."
