"""Prompts beside prompts: how alike they are, what each scores on each task, and whether the one tells the other."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from ptviz.analysis.transfer import Estimate, Relation, Tree
from ptviz.figures.matrix import DIVERGING, SEQUENTIAL
from ptviz.figures.style import BLUE, GREY, ORANGE, canvas, mark, named_axis, note, plain

_ROW = 30
_WRITTEN = 14
"""Columns up to which a cell has room for its number."""


def draw_similarity(values: Float[np.ndarray, "n n"], names: Sequence[str], tree: Tree, metric: str) -> go.Figure:
    """Similarities as cells in the order of the clustering, with its dendrogram on top.

    The colours reach to the largest value off the diagonal: the diagonal, a prompt with itself, says nothing.
    """
    count = len(values)
    figure = canvas(170 + _ROW * max(count, 4))
    if count < 2:
        return note(figure, "Two prompts at least can be compared.")
    order = list(tree.order)
    limit = float(np.abs(values[~np.eye(count, dtype=bool)]).max()) or 1.0
    shown = values[np.ix_(order, order)]
    texts = [[f"{value:.2f}" if limit >= 0.1 else f"{value:.1e}" for value in row] for row in shown.tolist()]
    figure.add_heatmap(
        z=shown.astype(np.float32),
        zmin=-limit,
        zmax=limit,
        colorscale=DIVERGING,
        colorbar={"title": {"text": metric, "side": "right"}, "thickness": 12, "outlinewidth": 0},
        text=texts,
        texttemplate="%{text}" if count <= _WRITTEN else None,
        hovertemplate="%{text}<extra></extra>",
        name=metric,
        xgap=1,
        ygap=1,
    )
    for x, height in zip(tree.places.tolist(), tree.heights.tolist(), strict=True):
        figure.add_scatter(
            x=x, y=height, yaxis="y2", mode="lines", line={"color": GREY, "width": 1.6}, hoverinfo="skip",
            showlegend=False, name="dendrogram",
        )  # fmt: skip
    labels = named_axis([names[i] for i in order], 34)
    share = 70 / (126 + _ROW * max(count, 4))
    figure.update_layout(
        hovermode="closest",
        xaxis={**labels, "range": [-0.5, count - 0.5], "tickangle": 40},
        yaxis={
            **labels, "range": [count - 0.5, -0.5], "automargin": True,
            "domain": [0, 0.98 - share],
        },
        yaxis2={
            "domain": [1 - share, 1], "anchor": "x", "showgrid": False, "zeroline": False, "rangemode": "tozero",
            "nticks": 3, "title": {"text": "apart"},
        },
    )  # fmt: skip
    figure.update_xaxes(automargin=True)
    return figure


def tell_similarity(values: Float[np.ndarray, "n n"], names: Sequence[str], tree: Tree, metric: str) -> str:
    """The heat map in words."""
    if len(values) < 2:
        return "Fewer than two prompts: nothing to compare."
    rows, columns = np.triu_indices(len(values), 1)
    pairs = values[rows, columns]
    most, least = int(pairs.argmax()), int(pairs.argmin())
    order = ", ".join(names[i] for i in tree.order)
    return (
        f"Similarity ({metric}) of {len(values)} prompts, clustered. Most alike: {names[rows[most]]} and "
        f"{names[columns[most]]}, {pairs[most]:.3g}; least: {names[rows[least]]} and {names[columns[least]]}, "
        f"{pairs[least]:.3g}. In the order of the clusters: {order}."
    )


def draw_grid(
    accuracies: Float[np.ndarray, "t n"], tasks: Sequence[str], prompts: Sequence[str], own: Sequence[Sequence[bool]]
) -> go.Figure:
    """Zero-shot accuracies (0 to 1), rows target tasks, columns prompts; NaN cells stay empty.

    ``own`` marks the cells where a prompt meets its own task: they get brackets, for they are no transfer.
    """
    count, width = accuracies.shape
    figure = canvas(160 + _ROW * max(count, 3))
    if not accuracies.size:
        return note(figure, "No prompt and no task to show.")
    texts = [
        [_cell(value, mine) for value, mine in zip(row, marks, strict=True)]
        for row, marks in zip(accuracies.tolist(), own, strict=True)
    ]
    finite = accuracies[np.isfinite(accuracies)]
    low = float(finite.min()) if finite.size else 0.0
    figure.add_heatmap(
        z=accuracies.astype(np.float32),
        zmin=low,
        zmax=max(float(finite.max()) if finite.size else 1.0, low + 0.05),
        colorscale=SEQUENTIAL,
        colorbar={"title": {"text": "accuracy", "side": "right"}, "thickness": 12, "tickformat": ".0%"},
        text=texts,
        texttemplate="%{text}" if width <= _WRITTEN else None,
        hovertemplate="%{text}<extra></extra>",
        hoverongaps=False,
        name="zero-shot accuracy",
        xgap=1,
        ygap=1,
    )
    figure.update_layout(
        hovermode="closest",
        xaxis={
            **named_axis(prompts, 34), "title": {"text": "prompt"}, "tickangle": 40, "automargin": True,
            "range": [-0.5, width - 0.5],
        },
        yaxis={
            **named_axis(tasks, 34), "title": {"text": "target task"}, "automargin": True,
            "range": [count - 0.5, -0.5],
        },
    )  # fmt: skip
    return note(figure, "Nothing was measured yet.") if not finite.size else figure


def _cell(value: float, own: bool) -> str:
    if not math.isfinite(value):
        return ""
    return f"[{value:.0%}]" if own else f"{value:.0%}"


def tell_grid(accuracies: Float[np.ndarray, "t n"], tasks: Sequence[str], prompts: Sequence[str]) -> str:
    """The grid in words: how far it is filled, and the best prompt of every task."""
    filled = int(np.isfinite(accuracies).sum())
    told = [f"Zero-shot accuracy of {len(prompts)} prompts on {len(tasks)} tasks; {filled} of {accuracies.size} known."]
    for task, row in zip(tasks, accuracies, strict=True):
        if np.isfinite(row).any():
            best = int(np.nanargmax(row))
            told.append(f"Best on {task}: {prompts[best]}, {row[best]:.0%}.")
    return " ".join(told)


def draw_relation(found: Relation, tasks: Sequence[str], prompts: Sequence[str], metric: str, axis: str) -> go.Figure:
    """Similarity against what was measured, one point a source prompt on another task, a mark for each target."""
    figure = canvas(400)
    figure.update_layout(hovermode="closest")
    figure.update_xaxes(title={"text": f"similarity to the target's prompt ({metric})"}, zeroline=False)
    figure.update_yaxes(title={"text": axis}, tickformat=".0%", zeroline=True)
    targets = np.array(found.targets, dtype=int)
    for row in dict.fromkeys(found.targets):
        places = np.flatnonzero(targets == row).tolist()
        look = mark(row)
        figure.add_scatter(
            x=found.similarity[places],
            y=found.transfer[places],
            mode="markers",
            marker={"size": 10, "color": look.colour, "symbol": look.symbol},
            text=[plain(prompts[found.sources[place]], 40) for place in places],
            name=f"on {plain(tasks[row], 34)}",
            showlegend=True,
            hovertemplate="%{text}: similarity %{x:.3g}, %{y:.1%}",
        )
    if not len(found.similarity):
        note(figure, "No pair of a prompt and another prompt's task was measured yet.")
    return figure


def tell_relation(found: Relation, metric: str) -> str:
    """The scatter in words."""
    return f"{len(found.similarity)} points. {metric}: Pearson {said(found.pearson)}, Spearman {said(found.spearman)}."


def said(estimate: Estimate) -> str:
    """A correlation and its interval as text."""
    if not math.isfinite(estimate.value):
        return "unknown (too few points, or all alike)"
    if not math.isfinite(estimate.low):
        return f"{estimate.value:+.2f} (too few source prompts for an interval)"
    return f"{estimate.value:+.2f} ({estimate.low:+.2f} to {estimate.high:+.2f})"


def draw_estimates(found: Mapping[str, Relation]) -> go.Figure:
    """Pearson's and Spearman's correlation under every metric, with intervals of 95 %."""
    figure = canvas(90 + 44 * max(len(found), 3))
    metrics = list(found)
    figure.update_layout(hovermode="closest", showlegend=True)
    figure.update_xaxes(title={"text": "correlation with measured transfer"}, range=[-1.05, 1.05], zeroline=True)
    figure.update_yaxes(
        tickvals=list(range(len(metrics))), ticktext=metrics, range=[len(metrics) - 0.5, -0.5], zeroline=False,
        automargin=True,
    )  # fmt: skip
    for name, colour, symbol, shift in (("Pearson", BLUE, "circle", -0.13), ("Spearman", ORANGE, "diamond", 0.13)):
        told = [one.pearson if name == "Pearson" else one.spearman for one in found.values()]
        figure.add_scatter(
            x=[one.value for one in told],
            y=[place + shift for place in range(len(told))],
            error_x={
                "type": "data", "symmetric": False, "thickness": 1.4, "width": 4, "color": colour,
                "array": [_span(one.high - one.value) for one in told],
                "arrayminus": [_span(one.value - one.low) for one in told],
            },
            mode="markers",
            marker={"size": 10, "color": colour, "symbol": symbol},
            text=[f"{metric}: {said(one)}" for metric, one in zip(metrics, told, strict=True)],
            hovertemplate="%{text}",
            name=name,
        )  # fmt: skip
    if not any(math.isfinite(one.pearson.value) for one in found.values()):
        note(figure, "No correlation to tell: too few cells were measured, or all are alike.")
    return figure


def _span(width: float) -> float:
    return max(width, 0.0) if math.isfinite(width) else 0.0


def tell_estimates(found: Mapping[str, Relation]) -> str:
    """All correlations in words."""
    lines = [f"{name}: Pearson {said(one.pearson)}, Spearman {said(one.spearman)}" for name, one in found.items()]
    return "Correlation of similarity with measured transfer, with 95 % intervals. " + "; ".join(lines) + "."
