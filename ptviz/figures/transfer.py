"""Similarity of prompts, their accuracy on every task, and the correlation of the two."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from ptviz.analysis.projection import Projection
from ptviz.analysis.transfer import CorrelationEstimate, Dendrogram, TransferCorrelation
from ptviz.figures.heatmap import DIVERGING, SEQUENTIAL
from ptviz.figures.label_placement import place_labels
from ptviz.figures.style import (
    BLUE,
    GREY,
    ORANGE,
    add_note,
    category_axis,
    colour_bar,
    empty_figure,
    escape_text,
    series_style,
)

_ROW_HEIGHT = 30
_SEQUENTIAL_SCALE = [[0.0, DIVERGING[1][1]], [1.0, DIVERGING[2][1]]]
_MAX_WRITTEN = 20
"""Columns up to which each cell shows its value."""
_MAX_NAMED = 40
"""Points up to which a projection labels each."""


def draw_similarity(values: Float[np.ndarray, "n n"], names: Sequence[str], tree: Dendrogram, metric: str) -> go.Figure:
    """Draw similarities as a heat map in the order of the clustering, with its dendrogram on top.

    The colours end at the largest value off the diagonal, which is the same for every prompt.
    """
    count = len(values)
    figure = empty_figure(170 + _ROW_HEIGHT * max(count, 4))
    if count < 2:
        return add_note(figure, "At least two prompts are needed.")
    order = list(tree.order)
    away = values[~np.eye(count, dtype=bool)]
    limit, least = float(np.abs(away).max()) or 1.0, float(away.min())
    # Blue is for negative similarity; a measure without any uses all of its colours for the values there are.
    unlike = least < -limit / 10
    low = -limit if unlike else least if limit > least > limit / 2 else 0.0
    shown = values[np.ix_(order, order)]
    texts = [[f"{value:.2f}" if limit >= 0.1 else f"{value:.2g}" for value in row] for row in shown.tolist()]
    shown_names = [escape_text(names[i], 34) for i in order]
    hover = [
        [f"{shown_names[i]} and {shown_names[j]}: {value}" for j, value in enumerate(row)]
        for i, row in enumerate(texts)
    ]
    figure.add_heatmap(
        z=shown.astype(np.float32),
        zmin=low,
        zmax=limit,
        colorscale=DIVERGING if unlike else _SEQUENTIAL_SCALE,
        colorbar=colour_bar(metric),
        text=texts,
        texttemplate="%{text}" if count <= _MAX_WRITTEN else None,
        hovertext=hover,
        hovertemplate="%{hovertext}<extra></extra>",
        name=metric,
        xgap=1,
        ygap=1,
    )
    for x, height in zip(tree.positions.tolist(), tree.heights.tolist(), strict=True):
        figure.add_scatter(
            x=x, y=height, yaxis="y2", mode="lines", line={"color": GREY, "width": 1.6}, hoverinfo="skip",
            showlegend=False, name="dendrogram",
        )  # fmt: skip
    labels = category_axis([names[i] for i in order], 34)
    share = 70 / (126 + _ROW_HEIGHT * max(count, 4))
    figure.update_layout(
        hovermode="closest",
        xaxis={**labels, "range": [-0.5, count - 0.5], "tickangle": 40},
        yaxis={
            **labels, "range": [count - 0.5, -0.5], "automargin": True,
            "domain": [0, 0.98 - share],
        },
        yaxis2={
            "domain": [1 - share, 1], "anchor": "x", "showgrid": False, "zeroline": False, "nticks": 3,
            "title": {"text": "distance"}, "range": _dendrogram_range(tree.heights),
        },
    )  # fmt: skip
    figure.update_xaxes(automargin=True)
    return figure


def _dendrogram_range(heights: Float[np.ndarray, "links 4"]) -> list[float]:
    """Return the range of a dendrogram's axis: from 0, unless all links would then be near its top."""
    low, high = float(heights.max(1).min()), float(heights.max())
    span = high - low
    base = low - 0.5 * span if 0 < span < high / 3 else 0.0
    return [base, (high + 0.05 * (high - base)) or 1.0]


def describe_similarity(values: Float[np.ndarray, "n n"], names: Sequence[str], tree: Dendrogram, metric: str) -> str:
    """Describe the heat map: the most and least similar pair, and the order of the clustering."""
    if len(values) < 2:
        return "Fewer than two prompts: nothing to compare."
    rows, columns = np.triu_indices(len(values), 1)
    pairs = values[rows, columns]
    most, least = int(pairs.argmax()), int(pairs.argmin())
    order = ", ".join(names[i] for i in tree.order)
    return (
        f"Similarity ({metric}) of {len(values)} prompts, clustered. Most similar: {names[rows[most]]} and "
        f"{names[columns[most]]}, {pairs[most]:.3g}; least: {names[rows[least]]} and {names[columns[least]]}, "
        f"{pairs[least]:.3g}. In the order of the clusters: {order}."
    )


def draw_transfer_grid(
    accuracies: Float[np.ndarray, "t n"], tasks: Sequence[str], prompts: Sequence[str], own: Sequence[Sequence[bool]]
) -> go.Figure:
    """Draw zero-shot accuracies (0 to 1), rows target tasks, columns prompts; NaN cells stay empty.

    ``own`` marks the cells of a prompt on its own task, which are no transfer; they get brackets.
    """
    figure = empty_figure(160 + _ROW_HEIGHT * max(len(accuracies), 3))
    if not accuracies.size:
        return add_note(figure, "No prompt and no task to show.")
    texts = [
        [_cell_text(value, mine) for value, mine in zip(row, marks, strict=True)]
        for row, marks in zip(accuracies.tolist(), own, strict=True)
    ]
    finite = accuracies[np.isfinite(accuracies)]
    low = float(finite.min()) if finite.size else 0.0
    high = max(float(finite.max()) if finite.size else 1.0, low + 0.05)
    longer = _hover_texts(texts, tasks, prompts, "{prompt} on {task}: {value}")
    _add_heatmap(figure, accuracies, texts, longer, (low, high), SEQUENTIAL, "accuracy")
    _label_axes(figure, tasks, prompts, "prompt")
    return add_note(figure, "Nothing was measured yet.") if not finite.size else figure


def draw_transfer_gains(gains: Float[np.ndarray, "t n"], tasks: Sequence[str], prompts: Sequence[str]) -> go.Figure:
    """Draw relative error reductions (1: no error left), rows target tasks, columns the initial prompts.

    NaN cells stay empty: not trained yet, or a prompt's own task. Colours end at +-100 %: losses have no bound.
    """
    figure = empty_figure(160 + _ROW_HEIGHT * max(len(gains), 3))
    if not gains.size:
        return add_note(figure, "No prompt and no task to show.")
    texts = [[f"{value:+.0%}" if math.isfinite(value) else "" for value in row] for row in gains.tolist()]
    finite = np.abs(gains[np.isfinite(gains)])
    limit = min(max(float(finite.max()) if finite.size else 1.0, 0.05), 1.0)
    longer = _hover_texts(texts, tasks, prompts, "{task} from {prompt}: {value}")
    _add_heatmap(figure, gains, texts, longer, (-limit, limit), DIVERGING, "error reduction")
    _label_axes(figure, tasks, prompts, "initial prompt")
    return add_note(figure, "Nothing was trained yet.") if not finite.size else figure


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
    return [
        [
            words.format(task=escape_text(task, 34), prompt=escape_text(prompt, 34), value=text)
            for prompt, text in zip(prompts, row, strict=True)
        ]
        for task, row in zip(tasks, texts, strict=True)
    ]


def _add_heatmap(
    figure: go.Figure,
    values: Float[np.ndarray, "t n"],
    texts: Sequence[Sequence[str]],
    longer: Sequence[Sequence[str]],
    ends: tuple[float, float],
    colours: Sequence[Sequence[object]],
    title: str,
) -> None:
    figure.add_heatmap(
        z=values.astype(np.float32),
        zmin=ends[0],
        zmax=ends[1],
        colorscale=colours,
        colorbar={"title": {"text": title, "side": "right"}, "thickness": 12, "tickformat": ".0%"},
        text=texts,
        texttemplate="%{text}" if values.shape[1] <= _MAX_WRITTEN else None,
        hovertext=longer,
        hovertemplate="%{hovertext}<extra></extra>",
        hoverongaps=False,
        name=title,
        xgap=1,
        ygap=1,
    )


def _label_axes(figure: go.Figure, tasks: Sequence[str], prompts: Sequence[str], title: str) -> None:
    figure.update_layout(
        hovermode="closest",
        xaxis={
            **category_axis(prompts, 34), "title": {"text": title}, "tickangle": 40, "automargin": True,
            "range": [-0.5, len(prompts) - 0.5],
        },
        yaxis={
            **category_axis(tasks, 34), "title": {"text": "target task", "standoff": 10}, "automargin": True,
            "range": [len(tasks) - 0.5, -0.5],
        },
    )  # fmt: skip


def _cell_text(value: float, own: bool) -> str:
    if not math.isfinite(value):
        return ""
    return f"[{value:.0%}]" if own else f"{value:.0%}"


def describe_transfer_grid(accuracies: Float[np.ndarray, "t n"], tasks: Sequence[str], prompts: Sequence[str]) -> str:
    """Describe the grid: how many accuracies are known, and the best prompt of every task."""
    filled = int(np.isfinite(accuracies).sum())
    described = [
        f"Zero-shot accuracy of {len(prompts)} prompts on {len(tasks)} tasks; {filled} of {accuracies.size} known."
    ]
    for task, row in zip(tasks, accuracies, strict=True):
        if np.isfinite(row).any():
            best = int(np.nanargmax(row))
            described.append(f"Best on {task}: {prompts[best]}, {row[best]:.0%}.")
    return " ".join(described)


def draw_prompt_projection(found: Projection, names: Sequence[str], groups: Sequence[int]) -> go.Figure:
    """Draw prompts as points in a projection to two dimensions, each at its mean token; a ``group`` shares a style."""
    figure = empty_figure(430)
    figure.update_layout(hovermode="closest")
    titles = [f"axis {axis + 1}" for axis in range(2)]
    if found.explained_variance:
        titles = [
            f"{title} ({share:.0%} of the variance)"
            for title, share in zip(titles, found.explained_variance, strict=True)
        ]
    # No equal scales: the axes of a PCA differ in their variance, and labels need room.
    figure.update_xaxes(title={"text": titles[0]}, zeroline=False, automargin=True)
    figure.update_yaxes(title={"text": titles[1]}, zeroline=False, automargin=True)
    points = found.background[:, :2].tolist()
    for index, (x, y) in enumerate(points):
        style = series_style(groups[index])
        figure.add_scatter(
            x=[x], y=[y], mode="markers", text=[escape_text(names[index], 28)],
            marker={"size": 11, "color": style.colour, "symbol": style.symbol}, name=escape_text(names[index], 40),
            showlegend=False, cliponaxis=False, hovertemplate="%{text}<extra></extra>",
        )  # fmt: skip
    if len(names) <= _MAX_NAMED:
        titles = [escape_text(name, 28) for name in names]
        for (x, y), title, at in zip(points, titles, place_labels(_axis_fractions(points), titles), strict=True):
            figure.add_annotation(
                x=x, y=y, text=title, showarrow=False, xanchor=at.anchor, xshift=at.dx, yshift=at.dy,
                font={"size": 12},
            )  # fmt: skip
    return figure if names else add_note(figure, "No prompt to show.")


def _axis_fractions(points: Sequence[Sequence[float]]) -> list[tuple[float, float]]:
    """Return points as fractions of the axis ranges that plotly chooses for them."""
    if not points:
        return []
    values = np.array(points)
    low, span = values.min(0), np.maximum(np.ptp(values, axis=0), 1e-12)
    return [(x, y) for x, y in (0.05 + 0.9 * (values - low) / span).tolist()]


def describe_prompt_projection(found: Projection, names: Sequence[str]) -> str:
    """Describe the projection: its prompts and its share of the variance."""
    share = (
        f" Its two axes hold {sum(found.explained_variance):.0%} of the variance." if found.explained_variance else ""
    )
    return f"{found.kind} projection of the mean tokens of {len(names)} prompts: {', '.join(names)}.{share}"


def draw_transfer_correlation(
    found: TransferCorrelation, tasks: Sequence[str], prompts: Sequence[str], metric: str, axis: str
) -> go.Figure:
    """Draw similarity against measured transfer, one point per source prompt and other task, one style per target."""
    figure = empty_figure(400)
    figure.update_layout(hovermode="closest")
    figure.update_xaxes(title={"text": f"similarity to the target's prompt ({metric})"}, zeroline=False)
    figure.update_yaxes(title={"text": axis}, tickformat=".0%", zeroline=True)
    targets = np.array(found.targets, dtype=int)
    for row in dict.fromkeys(found.targets):
        indices = np.flatnonzero(targets == row).tolist()
        style = series_style(row)
        figure.add_scatter(
            x=found.similarity[indices],
            y=found.transfer[indices],
            mode="markers",
            marker={"size": 10, "color": style.colour, "symbol": style.symbol},
            text=[escape_text(prompts[found.sources[index]], 40) for index in indices],
            name=f"on {escape_text(tasks[row], 34)}",
            showlegend=True,
            hovertemplate="%{text}: similarity %{x:.3g}, %{y:.1%}",
        )
    if not len(found.similarity):
        add_note(figure, "No pair of a prompt and another prompt's task was measured yet.")
    return figure


def describe_transfer_correlation(found: TransferCorrelation, metric: str) -> str:
    """Describe the scatter: the number of points, and the correlations with their intervals."""
    correlations = f"Pearson {format_interval(found.pearson)}, Spearman {format_interval(found.spearman)}"
    return f"{len(found.similarity)} points. {metric}: {correlations}."


def format_interval(estimate: CorrelationEstimate) -> str:
    """Format a correlation and its interval."""
    if not math.isfinite(estimate.value):
        return "unknown (too few points, or all equal)"
    if not math.isfinite(estimate.low):
        return f"{estimate.value:+.2f} (too few source prompts for an interval)"
    return f"{estimate.value:+.2f} ({estimate.low:+.2f} to {estimate.high:+.2f})"


def draw_correlations(found: Mapping[str, TransferCorrelation]) -> go.Figure:
    """Draw Pearson's and Spearman's correlation for every similarity measure, with 95 % intervals."""
    figure = empty_figure(90 + 44 * max(len(found), 3))
    metrics = list(found)
    figure.update_layout(hovermode="closest", showlegend=True)
    figure.update_xaxes(title={"text": "correlation with measured transfer"}, range=[-1.05, 1.05], zeroline=True)
    figure.update_yaxes(
        tickvals=list(range(len(metrics))), ticktext=metrics, range=[len(metrics) - 0.5, -0.5], zeroline=False,
        automargin=True,
    )  # fmt: skip
    for name, colour, symbol, shift in (("Pearson", BLUE, "circle", -0.13), ("Spearman", ORANGE, "diamond", 0.13)):
        estimates = [one.pearson if name == "Pearson" else one.spearman for one in found.values()]
        figure.add_scatter(
            x=[one.value for one in estimates],
            y=[index + shift for index in range(len(estimates))],
            error_x={
                "type": "data", "symmetric": False, "thickness": 1.4, "width": 4, "color": colour,
                "array": [_error_width(one.high - one.value) for one in estimates],
                "arrayminus": [_error_width(one.value - one.low) for one in estimates],
            },
            mode="markers",
            marker={"size": 10, "color": colour, "symbol": symbol},
            text=[f"{metric}: {format_interval(one)}" for metric, one in zip(metrics, estimates, strict=True)],
            hovertemplate="%{text}",
            name=name,
        )  # fmt: skip
    if not any(math.isfinite(one.pearson.value) for one in found.values()):
        add_note(figure, "No correlation yet.")
    return figure


def _error_width(width: float) -> float:
    return max(width, 0.0) if math.isfinite(width) else 0.0


def describe_correlations(found: Mapping[str, TransferCorrelation]) -> str:
    """Describe all correlations with their intervals."""
    lines = [
        f"{name}: Pearson {format_interval(one.pearson)}, Spearman {format_interval(one.spearman)}"
        for name, one in found.items()
    ]
    return "Correlation of similarity with measured transfer, with 95 % intervals. " + "; ".join(lines) + "."
