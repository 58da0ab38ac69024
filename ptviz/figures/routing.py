"""Routing: load of each expert over the steps, weights of each input, and experts by class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from ptviz.analysis.routing import ExpertLoadCurve, RoutingSummary
from ptviz.figures.elements import TOP_DOWN, add_line, add_note, axis, category_axis, cell_axis, empty_figure
from ptviz.figures.heatmap import add_cells
from ptviz.figures.style import GREY, escape_hover, escape_text, series_style


def draw_expert_load(curve: ExpertLoadCurve, names: Sequence[str], at: int | None = None) -> go.Figure:
    """Draw the share of the inputs that each expert wins over the steps, stacked to 1; a line marks the step ``at``."""
    figure = empty_figure(
        340,
        hovermode="x unified",
        xaxis=axis("step"),
        yaxis=axis("share of the inputs", tickformat=".0%", range=[0, 1]),
        legend={"traceorder": "normal"},
    )
    pattern = {"fillmode": "overlay", "fgcolor": "#FFFFFF", "fgopacity": 0.5, "solidity": 0.15, "size": 9}
    for index, name in enumerate(names):
        colour, title = series_style(index).colour, escape_text(name, 30)
        # A pattern, as a second cue besides the colour.
        area = {"fillcolor": colour, "fillpattern": {"shape": ("", *"/.\\x-|+")[index % 8], **pattern}}
        hover, y = escape_hover(title) + " %{y:.0%}", curve.smoothed_loads[:, index]
        add_line(figure, curve.steps, y, title, hover, colour, line_width=1, stackgroup="load", **area)
    if at is not None:
        figure.add_vline(x=at, line={"color": GREY, "width": 2})
    return figure if len(curve.steps) else add_note(figure, "The first step will appear here.")


def describe_expert_load(curve: ExpertLoadCurve, names: Sequence[str]) -> str:
    """Describe the load: each expert's share at the last step, and the balance."""
    if not len(curve.steps):
        return "Load of the experts: no step yet."
    last = curve.smoothed_loads[-1]
    described = ", ".join(f"{name} {share:.0%}" for name, share in zip(names, last.tolist(), strict=True))
    return (
        f"Share of the inputs by expert at step {curve.steps[-1]}: {described}. Balance {curve.balance[-1]:z.2f} of 1."
    )


def draw_input_routing(weights: Float[np.ndarray, "n k"], names: Sequence[str], texts: Sequence[str]) -> go.Figure:
    """Draw weights (n, k) as a heat map, one row per input and one column per expert; the text is shown on hover."""
    figure = empty_figure(max(260, min(90 + 5 * len(weights), 640)))
    if not weights.size:
        return add_note(figure, "No routed input yet.")
    shown = [[escape_text(text, 110)] * len(names) for text in texts]
    add_cells(figure, weights, "weight", "%{text}<br>expert %{x}: %{z:.2f}", gap=None, text=shown)
    return figure.update_layout(xaxis=category_axis(names, 18), yaxis=cell_axis("input", autorange="reversed"))


def describe_input_routing(weights: Float[np.ndarray, "n k"], names: Sequence[str]) -> str:
    """Describe the weights: the inputs that each expert wins, and the winning weights."""
    if not weights.size:
        return "Routing weights by input: no routed input yet."
    won = np.bincount(weights.argmax(1), minlength=len(names))
    described = ", ".join(f"{name} wins {count}" for name, count in zip(names, won.tolist(), strict=True))
    top = weights.max(1)
    return (
        f"Routing weights of {len(weights)} inputs over {len(names)}: {described}. The largest weight has "
        f"median {np.median(top):z.2f}, from {top.min():z.2f} to {top.max():z.2f}."
    )


def draw_confusion(found: RoutingSummary, classes: Sequence[str], names: Sequence[str]) -> go.Figure:
    """Draw the inputs by class (rows) and expert (columns), coloured by the share of the class."""
    figure = empty_figure(110 + 38 * max(len(classes), 3))
    if not found.class_counts.sum():
        return add_note(figure, "No routed input yet.")
    shares = found.class_counts / np.maximum(found.class_counts.sum(1, keepdims=True), 1)
    counts = found.class_counts.tolist()
    look = {"text": [[str(count) if count else "" for count in row] for row in counts], "texttemplate": "%{text}"}
    look["hovertext"] = [[f"{count} of {sum(row)}" for count in row] for row in counts]
    hover = "%{y} to %{x}: %{z:.0%} (%{hovertext})"
    add_cells(figure, shares, "share of the class", hover, gap=2, tickformat=".0%", **look)
    return figure.update_layout(xaxis=category_axis(names, 18), yaxis=category_axis(classes, 22, **TOP_DOWN))


def describe_confusion(found: RoutingSummary, classes: Sequence[str], names: Sequence[str]) -> str:
    """Describe the main expert of each class, and the mutual information of class and expert."""
    if not found.class_counts.sum():
        return "Routing by class: no input yet."
    described = []
    for name, row in zip(classes, found.class_counts, strict=True):
        if row.sum():
            best = int(row.argmax())
            described.append(f"{name} mostly to {names[best]} ({row[best] / row.sum():.0%})")
    return (
        "Routing by class. "
        + "; ".join(described[:12])
        + f". Mutual information of class and expert: {found.mutual_information:z.2f} "
        f"of at most {found.class_entropy:z.2f} nats."
    )
