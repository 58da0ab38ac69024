"""Similarity of prompts, their score on every task, and the correlation of the two."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from ptviz.analysis.projection import Projection
from ptviz.analysis.similarity import RandomSimilarity
from ptviz.analysis.transfer import CorrelationEstimate, Dendrogram, TransferCorrelation
from ptviz.figures.elements import (
    add_line,
    add_note,
    add_points,
    axis,
    category_axis,
    cell_axis,
    empty_figure,
    error_bars,
)
from ptviz.figures.heatmap import DIVERGING, SEQUENTIAL, add_cells
from ptviz.figures.label_placement import label_points
from ptviz.figures.style import BLUE, GREY, ORANGE, escape_text, format_number, series_style
from ptviz.tasks.metrics import ACCURACY, Metric

_ROW_HEIGHT = 30
_SEQUENTIAL_SCALE = [[0.0, DIVERGING[1][1]], [1.0, DIVERGING[2][1]]]
_MAX_WRITTEN = 20
"""Columns up to which each cell shows its value."""
_MAX_NAMED = 40
"""Points up to which a projection labels each."""


def draw_similarity(
    values: Float[np.ndarray, "n n"],
    names: Sequence[str],
    tree: Dendrogram,
    metric: str,
    unrelated: RandomSimilarity | None = None,
) -> go.Figure:
    """Draw similarities as a heat map in the order of the clustering, with its dendrogram on top.

    The colours end at the largest value off the diagonal, which is the same for every prompt. The title of the colour
    bar gives the median of ``unrelated``, random prompts. Cells without a value stay empty.
    """
    count = len(values)
    figure = empty_figure(170 + _ROW_HEIGHT * max(count, 4))
    if count < 2:
        return add_note(figure, "At least two prompts are needed.")
    order = list(tree.order)
    away = values[~np.eye(count, dtype=bool) & np.isfinite(values)]
    if not away.size:
        return add_note(figure, f"{metric} is not defined for prompts of so few tokens.")
    limit, least = float(np.abs(away).max()) or 1.0, float(away.min())
    # Blue is for negative similarity; a measure without any uses all of its colours for the values there are.
    unlike = least < -limit / 10
    low = -limit if unlike else least if limit > least > limit / 2 else 0.0
    shown = values[np.ix_(order, order)]
    texts = [[_similarity_text(value, limit) for value in row] for row in shown.tolist()]
    if unrelated is not None and math.isfinite(unrelated.median):
        metric = f"{metric}<br>(random: {_similarity_text(unrelated.median, limit)})"
    titles, scale = [names[i] for i in order], DIVERGING if unlike else _SEQUENTIAL_SCALE
    _add_values(figure, shown, texts, _hover_texts(texts, titles, titles, "{task} and {prompt}: {value}"),
                (low, limit), scale, metric)  # fmt: skip
    look = {"yaxis": "y2", "line_width": 1.6, "showlegend": False}
    for x, height in zip(tree.positions.tolist(), tree.heights.tolist(), strict=True):
        add_line(figure, x, height, "dendrogram", "", GREY, **look)
    share = 70 / (126 + _ROW_HEIGHT * max(count, 4))
    # Above the heat map, with the same horizontal axis.
    above = {"domain": [1 - share, 1], "anchor": "x", "nticks": 3, "range": _dendrogram_range(tree.heights)}
    down = category_axis(titles, 34, range=[count - 0.5, -0.5], automargin=True, domain=[0, 0.98 - share])
    across = category_axis(titles, 34, range=[-0.5, count - 0.5], tickangle=40, automargin=True)
    return figure.update_layout(xaxis=across, yaxis=down, yaxis2=cell_axis("distance", **above))


def _similarity_text(value: float, limit: float) -> str:
    if not math.isfinite(value):
        return ""
    return f"{value:z.2f}" if limit >= 0.1 else f"{value:.2g}"


def _dendrogram_range(heights: Float[np.ndarray, "links 4"]) -> list[float]:
    """Return the range of a dendrogram's axis: from 0, unless all links would then be near its top."""
    low, high = float(heights.max(1).min()), float(heights.max())
    span = high - low
    base = low - 0.5 * span if 0 < span < high / 3 else 0.0
    return [base, (high + 0.05 * (high - base)) or 1.0]


def describe_similarity(
    values: Float[np.ndarray, "n n"],
    names: Sequence[str],
    tree: Dendrogram,
    metric: str,
    unrelated: RandomSimilarity | None = None,
) -> str:
    """Describe the heat map: the most and least similar pair, random prompts, and the order of the clustering."""
    if len(values) < 2:
        return "Fewer than two prompts: nothing to compare."
    rows, columns = np.triu_indices(len(values), 1)
    pairs = values[rows, columns]
    if not np.isfinite(pairs).any():
        return f"Similarity ({metric}) of {len(values)} prompts: not defined for so few tokens."
    most, least = int(np.nanargmax(pairs)), int(np.nanargmin(pairs))
    random = "" if unrelated is None else f" {describe_random_similarity(unrelated)}"
    order = ", ".join(names[i] for i in tree.order)
    return (
        f"Similarity ({metric}) of {len(values)} prompts, clustered. Most similar: {names[rows[most]]} and "
        f"{names[columns[most]]}, {format_number(pairs[most])}; least: {names[rows[least]]} and "
        f"{names[columns[least]]}, {format_number(pairs[least])}.{random} In the order of the clusters: {order}."
    )


def describe_random_similarity(found: RandomSimilarity) -> str:
    """Say what a measure gives for random prompts; "" if that is not known."""
    if not math.isfinite(found.median):
        return ""
    limit = max(abs(found.low), abs(found.high))
    median, low, high = (_similarity_text(value, limit) for value in (found.median, found.low, found.high))
    return (
        f"Random prompts of the same shapes have {median} ({low} to {high} in 95% of {found.pairs} pairs, "
        f"seed {found.seed})."
    )


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
    figure = empty_figure(160 + _ROW_HEIGHT * max(len(values), 3))
    if not values.size:
        return add_note(figure, "No prompt and no task to show.")
    hovers = _hover_texts(texts, tasks, prompts, hover)
    _add_values(figure, values, texts, hovers, ends, scale, title, tickformat=tick_format)
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


def _hover_texts(
    texts: Sequence[Sequence[str]], tasks: Sequence[str], prompts: Sequence[str], words: str
) -> list[list[str]]:
    """Return the hover text of each cell."""
    rows, columns = ([escape_text(name, 34) for name in names] for names in (tasks, prompts))
    return [
        [words.format(task=task, prompt=prompt, value=text) for prompt, text in zip(columns, row, strict=True)]
        for task, row in zip(rows, texts, strict=True)
    ]


def _add_values(
    figure: go.Figure,
    values: Float[np.ndarray, "t n"],
    texts: Sequence[Sequence[str]],
    hover: Sequence[Sequence[str]],
    ends: tuple[float, float],
    scale: Any,
    title: str,
    **settings: Any,
) -> None:
    """Draw cells that show their values, unless there are too many columns."""
    template = "%{text}" if values.shape[1] <= _MAX_WRITTEN else None
    more = {"text": texts, "texttemplate": template, "hovertext": hover, "hoverongaps": False}
    add_cells(figure, values, title, "%{hovertext}", ends, scale, **more, **settings)


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


def draw_prompt_projection(found: Projection, names: Sequence[str], groups: Sequence[int]) -> go.Figure:
    """Draw prompts as points in a projection to two dimensions, each at its mean token; a ``group`` shares a style."""
    titles, shares = ["axis 1", "axis 2"], found.explained_variance or ()
    titles = [f"{one} ({share:.0%} of the variance)" for one, share in zip(titles, shares, strict=False)] or titles
    # No equal scales: the axes of a PCA differ in their variance, and labels need room.
    across, up = (axis(title, automargin=True) for title in titles)
    figure = empty_figure(430, xaxis=across, yaxis=up)
    points = found.background[:, :2].tolist()
    for (x, y), name, group in zip(points, names, groups, strict=True):
        style = series_style(group)
        look = {"marker_size": 11, "marker_symbol": style.symbol, "showlegend": False, "cliponaxis": False}
        text = [escape_text(name, 28)]
        add_points(figure, [x], [y], escape_text(name, 40), "%{text}", style.colour, text=text, **look)
    if len(names) <= _MAX_NAMED:
        label_points(figure, points, {index: escape_text(name, 28) for index, name in enumerate(names)})
    return figure if names else add_note(figure, "No prompt to show.")


def describe_prompt_projection(found: Projection, names: Sequence[str]) -> str:
    """Describe the projection: its prompts and its share of the variance."""
    share = (
        f" Its two axes hold {sum(found.explained_variance):.0%} of the variance." if found.explained_variance else ""
    )
    return f"{found.kind} projection of the mean tokens of {len(names)} prompts: {', '.join(names)}.{share}"


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
