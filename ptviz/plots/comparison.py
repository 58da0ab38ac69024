"""Several methods over several seeds: curves, score against cost, convergence, spread, and learning rates.

Scores are by the metric of the runs' task, which the axes name; runs of different metrics are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from statistics import fmean

import plotly.graph_objects as go

from ptviz.analysis.comparison import (
    LearningRateGrid,
    MethodSummary,
    RunResult,
    SeedBand,
    build_learning_rate_grid,
    compute_seed_bands,
    pareto_front,
    summarise_methods,
    table_rows,
)
from ptviz.experiments.run_results import load_result, with_row_scores
from ptviz.figures.comparison import (
    COST_LABELS,
    MethodStyle,
    cost_value,
    draw_learning_rate_grid,
    draw_pareto_front,
    draw_seed_bands,
    draw_seed_spread,
    draw_small_multiples,
)
from ptviz.figures.convergence import draw_convergence
from ptviz.plots.alt_text import with_alt
from ptviz.plots.method_style import method_series_style, method_title
from ptviz.plots.run_argument import RunOrId, get_runs
from ptviz.runs import Run
from ptviz.tasks.metrics import ACCURACY, Metric, shared_metric


def plot_comparison(runs: Sequence[RunOrId], *, references: Mapping[str, float] | None = None) -> go.Figure:
    """Draw the validation score of methods over their steps: the mean over seeds, lowest to highest seed as a band.

    Runs of one method are its seeds; unfinished runs are drawn as far as they are. The dashed line is the mean
    zero-shot score. ``references`` are validation scores by name, such as that of full fine-tuning, drawn as dotted
    lines.

    Raises:
        ValueError: if the metrics of the runs' tasks differ.
    """
    return _draw_bands(partial(draw_seed_bands, references=references or {}), runs, references or {})


def plot_comparison_panels(runs: Sequence[RunOrId]) -> go.Figure:
    """Draw the curves of ``plot_comparison`` with one panel per method, all on the same axes.

    Raises:
        ValueError: if the metrics of the runs' tasks differ.
    """
    return _draw_bands(draw_small_multiples, runs)


def _draw_bands(
    draw: Callable[..., go.Figure], runs: Sequence[RunOrId], references: Mapping[str, float] | None = None
) -> go.Figure:
    found = get_runs(runs)
    metric = shared_metric(run.metric for run in found)
    bands = _seed_bands(found)
    figure = draw(bands, method_styles(band.method for band in bands), _mean_zero_shot(found), metric)
    lines = "; ".join(f"{name} {metric.format(score)}" for name, score in (references or {}).items())
    return with_alt(figure, describe_seed_bands(bands, metric) + (f" References: {lines}." if lines else ""))


def plot_pareto_front(runs: Sequence[RunOrId], *, cost: str = "trained") -> go.Figure:
    """Draw the test score of methods against a cost; a line joins those that no method beats in both.

    ``cost`` is "trained" (parameters), "seconds", "memory" (MB), "length" (prompt positions) or "size" (MB on disk).
    Only finished runs count; bars are 95% intervals over seeds (Student's), over test examples for one seed.

    Raises:
        ValueError: for another cost, or if the metrics of the runs' tasks differ.
    """
    if cost not in COST_LABELS:
        raise ValueError(f"cost: expected one of {', '.join(COST_LABELS)}; got {cost!r}")
    summaries, metric = _summaries(runs)
    figure = draw_pareto_front(summaries, cost, method_styles(one.method for one in summaries), metric)
    return with_alt(figure, describe_pareto_front(summaries, cost, metric))


def plot_convergence(runs: Sequence[RunOrId]) -> go.Figure:
    """Draw the steps that methods take to 90 and 95% of their own best validation score, means over seeds.

    Raises:
        ValueError: if the metrics of the runs' tasks differ.
    """
    summaries, metric = _summaries(runs)
    figure = draw_convergence(summaries, method_styles(one.method for one in summaries))
    return with_alt(figure, describe_convergence(summaries, metric))


def plot_seeds(runs: Sequence[RunOrId]) -> go.Figure:
    """Draw the test score of every seed as a point, one line per method, with mean and 95% interval.

    Raises:
        ValueError: if the metrics of the runs' tasks differ.
    """
    summaries, metric = _summaries(runs)
    figure = draw_seed_spread(summaries, method_styles(one.method for one in summaries), metric)
    return with_alt(figure, describe_seed_spread(summaries, metric))


def plot_learning_rate_grid(runs: Sequence[RunOrId]) -> go.Figure:
    """Draw the test score of one method's runs as a heat map, learning rates (rows) against seeds (columns).

    A cross marks runs that do not beat the zero-shot score.

    Raises:
        ValueError: if the runs belong to several methods, or the metrics of their tasks differ.
    """
    grid, metric = load_learning_rate_grid(runs), shared_metric(run.metric for run in get_runs(runs))
    return with_alt(draw_learning_rate_grid(grid, metric), describe_learning_rate_grid(grid, metric))


def comparison_table(runs: Sequence[RunOrId]) -> list[dict[str, object]]:
    """Return the results of methods, the best mean first: one row per method, as ``TABLE_COLUMNS`` names the values.

    Runs of one method are its seeds; only finished runs count. Scores are by the metric of the runs' task, 0.8 for
    80%; None is unknown.

    Raises:
        ValueError: if the metrics of the runs' tasks differ.
        StoreError: if a run does not exist or cannot be read.
    """
    return table_rows(_summaries(runs)[0])


def load_learning_rate_grid(runs: Sequence[RunOrId]) -> LearningRateGrid:
    """Return the grid that ``plot_learning_rate_grid`` draws.

    Raises:
        ValueError: if the runs belong to several methods.
        StoreError: if a run does not exist or cannot be read.
    """
    found = get_runs(runs)
    methods = sorted({run.config.method for run in found})
    if len(methods) > 1:
        raise ValueError(f"expected runs of one method; got {', '.join(methods)}")
    rates = {run.id: run.config.effective_lr for run in found}
    results = load_results_of(found)
    cells = [(rates[result.run], result.seed, result.test, result.zero_shot) for result in results]
    return build_learning_rate_grid("".join(methods), cells)


def method_styles(methods: Iterable[str]) -> dict[str, MethodStyle]:
    """Return title and style of methods, the same in every figure."""
    return {name: MethodStyle(method_title(name), method_series_style(name)) for name in dict.fromkeys(methods)}


def load_results_of(runs: Iterable[Run]) -> list[RunResult]:
    """Return the results of those runs that have finished.

    Raises:
        StoreError: if a run cannot be read.
    """
    # A running run has no result, and its growing history is cheap to read only through the run itself.
    finished = (run for run in runs if run.status().state == "finished")
    return [result for run in finished if (result := load_result(run)) is not None]


def _summaries(runs: Sequence[RunOrId]) -> tuple[tuple[MethodSummary, ...], Metric]:
    """Return the summaries of finished runs, and their metric."""
    found = get_runs(runs)
    results = with_row_scores(load_results_of(found), {run.id: run for run in found}.__getitem__)
    return summarise_methods(results), shared_metric(run.metric for run in found)


def _seed_bands(runs: Sequence[Run]) -> tuple[SeedBand, ...]:
    finished = {result.run: result for result in load_results_of(runs)}
    return compute_seed_bands(finished.get(run.id) or _unfinished_result(run) for run in runs)


def _unfinished_result(run: Run) -> RunResult:
    """Return the curve so far, without results."""
    history, config = run.history(), run.config
    return RunResult(
        method=config.method,
        seed=config.training.seed,
        run=run.id,
        evaluated=history.evaluation_steps,
        accuracies=tuple(evaluation.accuracy for evaluation in history.evaluations),
    )


def _mean_zero_shot(runs: Iterable[Run]) -> float | None:
    """Return the mean zero-shot score on the validation examples, which differ a little between seeds."""
    known = [accuracy for run in runs if (accuracy := run.status().zero_shot) is not None]
    return fmean(known) if known else None


def describe_seed_bands(bands: Sequence[SeedBand], metric: Metric = ACCURACY) -> str:
    """Return the curves in words."""
    evaluated = [band for band in bands if band.steps]
    if not evaluated:
        return f"Validation {metric.noun} over steps: nothing was evaluated yet."
    ends = "; ".join(
        f"{method_title(band.method)} {metric.format(band.mean[-1])} ({band.seeds} seeds)" for band in evaluated
    )
    return f"Validation {metric.noun} over {max(band.steps[-1] for band in evaluated)} updates. At the end: {ends}."


def describe_pareto_front(summaries: Sequence[MethodSummary], cost: str, metric: Metric = ACCURACY) -> str:
    """Return the score against a cost in words."""
    known = [one for one in summaries if cost_value(one, cost) is not None]
    if not known:
        return f"Test {metric.noun} against {COST_LABELS[cost]}: no finished run has recorded it."
    best = pareto_front([cost_value(one, cost) for one in known], [one.mean for one in known])
    ahead = ", ".join(
        f"{method_title(known[i].method)} ({cost_value(known[i], cost):,.4g}, {metric.format(known[i].mean)})"
        for i in best
    )
    return f"Test {metric.noun} against {COST_LABELS[cost]} of {len(known)} methods. Not beaten in both: {ahead}."


def describe_convergence(summaries: Sequence[MethodSummary], metric: Metric = ACCURACY) -> str:
    """Return the steps to 90 and 95% in words."""
    known = [one for one in summaries if one.steps90 is not None and one.steps95 is not None]
    if not known:
        return "Updates to 90 and 95% of a method's own best: no finished run has recorded them."
    steps = "; ".join(f"{method_title(one.method)} {one.steps90:,.0f} and {one.steps95:,.0f}" for one in known)
    return f"Updates to 90 and 95% of a method's own best validation {metric.noun}: {steps}."


def describe_seed_spread(summaries: Sequence[MethodSummary], metric: Metric = ACCURACY) -> str:
    """Return the test scores of the seeds in words."""
    if not summaries:
        return f"Test {metric.noun} of every seed: no run has finished yet."
    spans = "; ".join(
        f"{method_title(one.method)} {metric.format(min(one.tests))} to {metric.format(max(one.tests))}"
        for one in summaries
    )
    return f"Test {metric.noun} of every seed, the best mean first: {spans}."


def describe_learning_rate_grid(grid: LearningRateGrid, metric: Metric = ACCURACY) -> str:
    """Return the heat map in words."""
    values = [value for row in grid.accuracies for value in row if value is not None]
    if not values:
        return f"Test {metric.noun} by learning rate and seed: no run has finished yet."
    share = grid.share_above_zero_shot
    beating = "" if share is None else f" {share:.0%} of the runs beat zero-shot."
    return (
        f"Test {metric.noun} of {method_title(grid.method)} at {len(grid.learning_rates)} learning rates and "
        f"{len(grid.seeds)} seeds: {metric.format(min(values))} to {metric.format(max(values))}.{beating}"
    )
