"""Result files of the benchmark of Hugging Face's PEFT library: accuracy against cost, and curves.

Source of the files: https://github.com/huggingface/peft/tree/main/method_comparison/MetaMathQA
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import plotly.graph_objects as go

from ptviz.analysis.comparison import MethodSummary, SeedBand, compute_seed_bands, summarise_methods
from ptviz.analysis.peft_benchmark import BenchmarkResult, parse_results, short_labels, training_loss_results
from ptviz.analysis.peft_benchmark_files import read_benchmark_files
from ptviz.figures.comparison import COST_LABELS, MethodStyle, draw_pareto_front, draw_seed_bands, draw_small_multiples
from ptviz.figures.style import style_variant
from ptviz.plots.alt_text import with_alt
from ptviz.plots.comparison import describe_pareto_front, describe_seed_bands
from ptviz.plots.method_style import method_series_style

MAX_CURVES = 16
"""Curves in one figure; more cannot be distinguished."""


def plot_peft_benchmark(
    path: str,
    *,
    cost: str = "trained",
    methods: Sequence[str] = (),
    answer: Sequence[BenchmarkResult] | None = None,
) -> go.Figure:
    """Draw the test accuracy of experiments against a cost; a line joins those that none beats in both.

    ``path`` is a result file or a folder of them; ``methods`` selects PEFT methods by name, all by default; ``cost`` as
    in ``plot_pareto_front``; ``answer`` holds the results of the files if they were read before.

    Raises:
        ValueError: for another cost.
        CheckpointError: if there is nothing at the path, or too much.
    """
    if cost not in COST_LABELS:
        raise ValueError(f"cost: expected one of {', '.join(COST_LABELS)}; got {cost!r}")
    results = _load_results(path, answer)
    order = _summaries(results, methods)
    return with_alt(draw_pareto_front(order, cost, experiment_styles(results)), describe_pareto_front(order, cost))


def plot_peft_benchmark_curves(
    path: str,
    *,
    loss: bool = False,
    methods: Sequence[str] = (),
    answer: Sequence[BenchmarkResult] | None = None,
) -> go.Figure:
    """Draw the validation accuracy of the best experiments over their steps, or with ``loss`` the training loss (nats).

    ``path``, ``methods`` and ``answer`` as in ``plot_peft_benchmark``. At most ``MAX_CURVES`` experiments are drawn.

    Raises:
        CheckpointError: if there is nothing at the path, or too much.
    """
    results = _load_results(path, answer)
    bands = _best_bands(results, methods, loss)
    alt = describe_losses(bands) if loss else describe_seed_bands(bands)
    return with_alt(draw_seed_bands(bands, experiment_styles(results), loss=loss), alt)


def plot_peft_benchmark_panels(
    path: str, *, methods: Sequence[str] = (), answer: Sequence[BenchmarkResult] | None = None
) -> go.Figure:
    """Draw the validation curves of the best experiments with one panel each, all on the same axes.

    ``path``, ``methods`` and ``answer`` as in ``plot_peft_benchmark``. At most ``MAX_CURVES`` experiments are drawn.

    Raises:
        CheckpointError: if there is nothing at the path, or too much.
    """
    results = _load_results(path, answer)
    bands = _best_bands(results, methods, loss=False)
    return with_alt(draw_small_multiples(bands, experiment_styles(results)), describe_seed_bands(bands))


def experiment_styles(results: Sequence[BenchmarkResult]) -> dict[str, MethodStyle]:
    """Return a style for every experiment: the colour of its method, dash and symbol by its variant."""
    labels = short_labels(results)
    styles: dict[str, MethodStyle] = {}
    variants: dict[str, int] = {}
    for result in sorted(results, key=lambda result: result.run_result.method):
        name = result.run_result.method
        if name not in styles:
            variant = variants.get(result.kind, 0)
            variants[result.kind] = variant + 1
            base = method_series_style(result.survey_method or result.kind)
            styles[name] = MethodStyle(labels[name], style_variant(base, variant))
    return styles


def select_methods(results: Sequence[BenchmarkResult], methods: Collection[str]) -> list[BenchmarkResult]:
    """Return the results of some PEFT methods, all if none is named."""
    return [result for result in results if not methods or result.kind in methods]


def _load_results(path: str, answer: Sequence[BenchmarkResult] | None) -> Sequence[BenchmarkResult]:
    return parse_results(read_benchmark_files([Path(path)])[0])[0] if answer is None else answer


def _summaries(results: Sequence[BenchmarkResult], methods: Sequence[str]) -> tuple[MethodSummary, ...]:
    return summarise_methods(result.run_result for result in select_methods(results, methods))


def _best_bands(results: Sequence[BenchmarkResult], methods: Sequence[str], loss: bool) -> tuple[SeedBand, ...]:
    selected = select_methods(results, methods)
    best = [one.method for one in _summaries(results, methods)[:MAX_CURVES]]
    curves = training_loss_results(selected) if loss else [result.run_result for result in selected]
    drawn = (curve for curve in curves if curve.method in best)
    return compute_seed_bands(sorted(drawn, key=lambda curve: best.index(curve.method)))


def describe_losses(bands: Sequence[SeedBand]) -> str:
    """Return the training losses in words."""
    known = [band for band in bands if band.steps]
    if not known:
        return "Training loss over steps: these files record none."
    ends = "; ".join(f"{band.method} {band.mean[-1]:.3f}" for band in known)
    return f"Training loss over {max(band.steps[-1] for band in known)} updates. At the end: {ends}."
