"""The score of prompts on every task, gains from starting with them, and their correlation with similarity."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from ptviz.analysis.transfer_correlation import CorrelationEstimate, TransferCorrelation
from ptviz.figures.elements import (
    add_note,
    add_points,
    axis,
    category_axis,
    empty_figure,
    error_bars,
)
from ptviz.figures.heatmap import DIVERGING, ROW_HEIGHT, SEQUENTIAL, add_written_cells, cell_hover_texts
from ptviz.figures.style import BLUE, ORANGE, escape_text, series_style
from ptviz.tasks.metrics import ACCURACY, Metric


def draw_transfer_grid(
    accuracies: Float[np.ndarray, "t n"],
    tasks: Sequence[str],
    prompts: Sequence[str],
    own: Sequence[Sequence[bool]],
    metrics: Sequence[Metric] = (),
) -> go.Figure:
    """Draw zero-shot scores, rows target tasks, columns prompts; NaN cells stay empty.

    ``metrics`` are those of the tasks, accuracy by default; if they differ, each row names its own. ``own`` marks the
    cells of a prompt on its own task, which are no transfer; they get brackets.
    """
    metrics = metrics or [ACCURACY] * len(tasks)
    texts = [
        [_cell_text(value, mine, metric) for value, mine in zip(row, marks, strict=True)]
        for row, marks, metric in zip(accuracies.tolist(), own, metrics, strict=True)
    ]
    finite = accuracies[np.isfinite(accuracies)]
    low = float(finite.min(initial=1.0)) if finite.size else 0.0
    high = max(float(finite.max()) if finite.size else 1.0, low + 0.05)
    cells = texts, "{prompt} on {task}: {value}", (low, high), SEQUENTIAL, shared_noun(metrics)
    form = shared_tick_format(metrics)
    names = _name_metrics(tasks, metrics)
    return _draw_grid(accuracies, names, prompts, *cells, "prompt", "Nothing was measured yet.", form)


def shared_noun(metrics: Sequence[Metric]) -> str:
    """Return the name of the tasks' metric, "score" if they differ."""
    nouns = {metric.noun for metric in metrics} or {ACCURACY.noun}
    return nouns.pop() if len(nouns) == 1 else "score"


def shared_tick_format(metrics: Sequence[Metric]) -> str:
    """Return the format of an axis of these metrics: of percentages, unless one is a correlation."""
    return next((metric.tick_format for metric in metrics if not metric.unit), ACCURACY.tick_format)


def _name_metrics(tasks: Sequence[str], metrics: Sequence[Metric]) -> list[str]:
    """Return the names of the tasks, each with its metric if they differ."""
    if len({metric.name for metric in metrics}) < 2:
        return list(tasks)
    return [f"{task} ({metric.noun})" for task, metric in zip(tasks, metrics, strict=True)]


def draw_transfer_gains(gains: Float[np.ndarray, "t n"], tasks: Sequence[str], prompts: Sequence[str]) -> go.Figure:
    """Draw relative error reductions (1: no error left), rows target tasks, columns the initial prompts.

    NaN cells stay empty: not trained yet, or a prompt's own task. Colours end at +-100%: losses have no bound.
    """
    texts = [[f"{value:+.0%}" if math.isfinite(value) else "" for value in row] for row in gains.tolist()]
    finite = np.abs(gains[np.isfinite(gains)])
    limit = min(max(float(finite.max()) if finite.size else 1.0, 0.05), 1.0)
    cells = texts, "{task} from {prompt}: {value}", (-limit, limit), DIVERGING, "error reduction"
    return _draw_grid(gains, tasks, prompts, *cells, "initial prompt", "Nothing was trained yet.")


def _draw_grid(
    values: Float[np.ndarray, "t n"],
    tasks: Sequence[str],
    prompts: Sequence[str],
    texts: Sequence[Sequence[str]],
    hover: str,
    ends: tuple[float, float],
    scale: Any,
    title: str,
    columns: str,
    nothing: str,
    tick_format: str = ".0%",
) -> go.Figure:
    """Draw a grid of target tasks by prompts; ``columns`` is the title of its horizontal axis."""
    figure = empty_figure(160 + ROW_HEIGHT * max(len(values), 3))
    if not values.size:
        return add_note(figure, "No prompt and no task to show.")
    hovers = cell_hover_texts(texts, tasks, prompts, hover)
    add_written_cells(figure, values, texts, hovers, ends, scale, title, tickformat=tick_format)
    across = category_axis(prompts, 34, columns, tickangle=40, automargin=True, range=[-0.5, len(prompts) - 0.5])
    down = category_axis(tasks, 34, "target task", automargin=True, range=[len(tasks) - 0.5, -0.5])
    figure.update_layout(xaxis=across, yaxis=down, yaxis_title_standoff=10)
    return figure if np.isfinite(values).any() else add_note(figure, nothing)


def describe_transfer_gains(gains: Float[np.ndarray, "t n"], tasks: Sequence[str], prompts: Sequence[str]) -> str:
    """Describe the gains: how many are known, and the best initial prompt for every task."""
    known = np.isfinite(gains)
    described = [f"Error reduction of {len(prompts)} initial prompts on {len(tasks)} tasks; {int(known.sum())} known."]
    if known.any():
        helps = int((gains[known] > 0).sum())
        described.append(f"{helps} help, {int(known.sum()) - helps} do not.")
    for task, row in zip(tasks, gains, strict=True):
        if np.isfinite(row).any():
            best = int(np.nanargmax(row))
            described.append(f"Best for {task}: {prompts[best]}, {row[best]:+.0%}.")
    return " ".join(described)


def _cell_text(value: float, own: bool, metric: Metric) -> str:
    if not math.isfinite(value):
        return ""
    return f"[{metric.format_short(value)}]" if own else metric.format_short(value)


def describe_transfer_grid(
    accuracies: Float[np.ndarray, "t n"], tasks: Sequence[str], prompts: Sequence[str], metrics: Sequence[Metric] = ()
) -> str:
    """Describe the grid: how many scores are known, and the best prompt of every task."""
    metrics = metrics or [ACCURACY] * len(tasks)
    known = f"{int(np.isfinite(accuracies).sum())} of {accuracies.size} known"
    described = [f"Zero-shot {shared_noun(metrics)} of {len(prompts)} prompts on {len(tasks)} tasks; {known}."]
    for task, row, metric in zip(_name_metrics(tasks, metrics), accuracies, metrics, strict=True):
        if np.isfinite(row).any():
            best = int(np.nanargmax(row))
            described.append(f"Best on {task}: {prompts[best]}, {metric.format_short(row[best])}.")
    return " ".join(described)


def draw_transfer_correlation(
    found: TransferCorrelation,
    tasks: Sequence[str],
    prompts: Sequence[str],
    metric: str,
    measure: str,
    tick_format: str = ".0%",
) -> go.Figure:
    """Draw similarity against measured transfer, one point per source prompt and other task, one style per target."""
    across = axis(f"similarity to the target's prompt ({metric})")
    figure = empty_figure(400, xaxis=across, yaxis=axis(measure, tickformat=tick_format, zeroline=True))
    value = "%{y:.1%}" if tick_format == ".0%" else "%{y:.2f}"
    targets = np.array(found.targets, dtype=int)
    for row in dict.fromkeys(found.targets):
        indices, style = np.flatnonzero(targets == row).tolist(), series_style(row)
        x, y, name = found.similarity[indices], found.transfer[indices], f"on {escape_text(tasks[row], 34)}"
        look = {"marker_size": 10, "marker_symbol": style.symbol, "showlegend": True}
        look["text"] = [escape_text(prompts[found.sources[index]], 40) for index in indices]
        hover = f"%{{text}}: similarity %{{x:.3~r}}, {value}"  # without <extra>, plotly adds the name of the trace
        add_points(figure, x, y, name, hover, style.colour, hovertemplate=hover, **look)
    nothing = "No pair of a prompt and another prompt's task was measured yet."
    return figure if len(found.similarity) else add_note(figure, nothing)


def describe_transfer_correlation(found: TransferCorrelation, metric: str) -> str:
    """Describe the scatter: the number of points, and the correlations with their intervals."""
    correlations = f"Pearson {format_interval(found.pearson)}, Spearman {format_interval(found.spearman)}"
    return f"{len(found.similarity)} points. {metric}: {correlations}."


def format_interval(estimate: CorrelationEstimate) -> str:
    """Format a correlation and its interval."""
    if not math.isfinite(estimate.value):
        return "unknown (too few points, or all equal)"
    if not math.isfinite(estimate.low):
        return f"{estimate.value:+z.2f} (too few source prompts for an interval)"
    return f"{estimate.value:+z.2f} ({estimate.low:+z.2f} to {estimate.high:+z.2f})"


def draw_correlations(found: Mapping[str, TransferCorrelation]) -> go.Figure:
    """Draw Pearson's and Spearman's correlation for every similarity measure, with 95% intervals."""
    metrics = list(found)
    across = axis("correlation with measured transfer", range=[-1.05, 1.05], zeroline=True)
    down = category_axis(metrics, 60, range=[len(metrics) - 0.5, -0.5], automargin=True, showgrid=None)
    figure = empty_figure(90 + 44 * max(len(found), 3), showlegend=True, xaxis=across, yaxis=down)
    for name, colour, symbol, shift in (("Pearson", BLUE, "circle", -0.13), ("Spearman", ORANGE, "diamond", 0.13)):
        estimates = [one.pearson if name == "Pearson" else one.spearman for one in found.values()]
        x, y = [one.value for one in estimates], [index + shift for index in range(len(estimates))]
        ends = [one.low for one in estimates], x, [one.high for one in estimates]
        look = {"marker_size": 10, "marker_symbol": symbol}
        look["error_x"] = error_bars(*ends, thickness=1.4, width=4, color=colour)
        look["text"] = [f"{metric}: {format_interval(one)}" for metric, one in zip(metrics, estimates, strict=True)]
        # Without <extra>, plotly adds the name of the trace.
        add_points(figure, x, y, name, "%{text}", colour, hovertemplate="%{text}", **look)
    known = any(math.isfinite(one.pearson.value) for one in found.values())
    return figure if known else add_note(figure, "No correlation yet.")


def describe_correlations(found: Mapping[str, TransferCorrelation]) -> str:
    """Describe all correlations with their intervals."""
    lines = [
        f"{name}: Pearson {format_interval(one.pearson)}, Spearman {format_interval(one.spearman)}"
        for name, one in found.items()
    ]
    return "Correlation of similarity with measured transfer, with 95% intervals. " + "; ".join(lines) + "."
