"""Sweeps of settings: parallel coordinates, a heat map of two settings, importance, and the best of each method.

Scores are the best validation scores by the metric of the runs' task; runs of different metrics are refused.
"""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from ptviz.analysis.sweep import SettingImportance, SweepTable, estimate_importance, mean_scores
from ptviz.experiments.sweep_results import best_row, load_best_settings, load_sweep_table, table_rows
from ptviz.figures.sweep import draw_parallel_coordinates, draw_setting_importance, draw_sweep_heatmap
from ptviz.plots.alt_text import with_alt
from ptviz.plots.run_argument import RunOrId, get_runs
from ptviz.tasks.metrics import ACCURACY, Metric


def plot_sweep(runs: Sequence[RunOrId]) -> go.Figure:
    """Draw finished runs as lines through the settings in which they differ, with their validation score.

    Raises:
        ValueError: if the metrics of the runs' tasks differ.
    """
    table, metric = load_sweep_table(get_runs(runs))
    return with_alt(draw_parallel_coordinates(table, metric), describe_sweep(table, metric))


def plot_sweep_heatmap(runs: Sequence[RunOrId], *, x: str, y: str) -> go.Figure:
    """Draw the mean validation score over two settings, such as "lr" and "m", over seeds and all other settings.

    Raises:
        ValueError: if one of the two does not vary, or the metrics of the runs' tasks differ.
    """
    table, metric = load_sweep_table(get_runs(runs))
    means = mean_scores(table, x, y)
    known = int((means == means).sum())
    alt = f"Mean validation {metric.noun} by {y} (rows) and {x} (columns): {known} of {means.size} pairs have runs."
    return with_alt(draw_sweep_heatmap(table, x, y, means, metric), alt)


def plot_sweep_importance(runs: Sequence[RunOrId]) -> go.Figure:
    """Draw the share of the variance of the validation score that each setting explains on its own.

    The main effects of functional ANOVA by a random forest (Hutter et al. 2014); see ``ptviz.analysis.sweep``.

    Raises:
        ValueError: if the metrics of the runs' tasks differ.
    """
    importance = estimate_importance(load_sweep_table(get_runs(runs))[0])
    return with_alt(draw_setting_importance(importance), describe_importance(importance))


def sweep_table(runs: Sequence[RunOrId]) -> list[dict[str, object]]:
    """Return one row per run: id, state, the settings that vary, validation and test score, seconds of training.

    Raises:
        ValueError: if the metrics of the runs' tasks differ.
        StoreError: if a run does not exist or cannot be read.
    """
    return table_rows(load_sweep_table(get_runs(runs))[0])


def best_settings_table(runs: Sequence[RunOrId]) -> list[dict[str, object]]:
    """Return the best settings of each method by validation, with test mean and Student's interval over seeds.

    Raises:
        ValueError: if the metrics of the runs' tasks differ.
        StoreError: if a run does not exist or cannot be read.
    """
    return [best_row(one) for one in load_best_settings(get_runs(runs))]


def describe_sweep(table: SweepTable, metric: Metric = ACCURACY) -> str:
    """Return the best run of a sweep in words."""
    done = table.finished()
    if not done.rows:
        return "Settings of the runs of a sweep: no run has finished yet."
    best = max(done.rows, key=lambda row: row.score or 0.0)
    settings = ", ".join(f"{name} {best.settings.get(name)}" for name in table.names)
    names, score = ", ".join(table.names) or "equal settings", metric.format(best.score or 0.0)
    return f"{len(done.rows)} finished runs by {names}. Best validation {metric.noun}: {score} with {settings}."


def describe_importance(importance: SettingImportance) -> str:
    """Return the importance of settings in words."""
    if not importance.names:
        return "Importance of settings: too few finished runs."
    shares = ", ".join(f"{name} {share:.0%}" for name, share in zip(importance.names, importance.shares, strict=True))
    of = f"over {importance.runs} runs"
    return f"Share of the variance of the validation score that each setting explains, {of}: {shares}."
