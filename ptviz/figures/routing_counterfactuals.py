"""Counterfactual routings: all inputs to one expert, other softmax temperatures, texts of other tasks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from ptviz.analysis.routing import ExpertLoadCurve, RoutingCounterfactual
from ptviz.figures.elements import (
    INSIDE_TEXT,
    TOP_DOWN,
    add_line,
    add_note,
    add_points,
    add_ring,
    axis,
    category_axis,
    cell_axis,
    empty_figure,
)
from ptviz.figures.heatmap import DIVERGING, add_cells
from ptviz.figures.style import FROZEN, GREEN, GREY, PROMPT, escape_text, series_style


def draw_balance(curve: ExpertLoadCurve, at: int | None = None) -> go.Figure:
    """Draw the balance of the load over the steps, from 1/k (one expert wins all) to 1 (uniform); ``at`` is marked."""
    up = axis("balance", range=[0, 1.03])
    figure = empty_figure(240, hovermode="x unified", xaxis=axis("step"), yaxis=up, showlegend=False)
    k = max(curve.loads.shape[1], 1) if curve.loads.ndim == 2 else 1
    hover = "balance %{y:.2f}, entropy %{customdata:.2f} nats"
    add_line(figure, curve.steps, curve.balance, "balance", hover, customdata=curve.entropy)
    figure.add_hline(y=1 / k, line={"color": GREY, "dash": "dot", "width": 1.5})
    if at is not None:
        figure.add_vline(x=at, line={"color": GREY, "width": 2})
    return figure if len(curve.steps) else add_note(figure, "The first step will appear here.")


def describe_balance(curve: ExpertLoadCurve) -> str:
    """Describe the balance: first, last and lowest value, and the final entropy."""
    if not len(curve.steps):
        return "Balance of the load: no step yet."
    low = int(curve.balance.argmin())
    return (
        f"Balance of the load: {curve.balance[0]:z.2f} at step {curve.steps[0]}, {curve.balance[-1]:z.2f} at step "
        f"{curve.steps[-1]}, lowest {curve.balance[low]:z.2f} at step {curve.steps[low]}; entropy "
        f"{curve.entropy[-1]:z.2f} nats at the end."
    )


def draw_counterfactual(found: RoutingCounterfactual, names: Sequence[str], what: str = "loss") -> go.Figure:
    """Draw loss or the share of right answers with all texts at one expert, as bars; ``what`` names it.

    Lines show the own routing and the best case.
    """
    share = what != "loss"
    values, index = (found.accuracy, 1) if share else (found.loss, 0)
    up = axis(what, tickformat=".0%") if share else axis("loss (nats)")
    figure = empty_figure(
        300,
        margin={"t": 34},
        xaxis=category_axis(names, 14, "all texts at"),
        yaxis={**up, "rangemode": "tozero", "zeroline": None},
    )
    form = "%{y:.1%}" if share else "%{y:.3f}"
    figure.add_bar(
        x=list(range(len(names))),
        y=values,
        marker={"color": [series_style(index).colour for index in range(len(names))]},
        text=[f"{value:.0%}" if share else f"{value:z.2f}" for value in values.tolist()],
        name="forced",
        showlegend=False,
        hovertemplate=f"all texts here: {form}<extra></extra>",
        **INSIDE_TEXT,
    )
    for name, value, colour, dash in (
        ("as routed", found.as_routed[index], GREY, "solid"),
        ("best case", found.best_case[index], GREEN, "dash"),
    ):
        title = f"{name} {value:.0%}" if share else f"{name} {value:z.2f}"
        x = [-0.5, len(names) - 0.5]
        add_line(figure, x, [value, value], title, f"{name}: {form}", colour, line_dash=dash)
    return figure


def describe_counterfactual(found: RoutingCounterfactual, names: Sequence[str], what: str = "loss") -> str:
    """Describe the loss or accuracy at each expert, of the own routing, and in the best case."""
    values, index = (found.loss, 0) if what == "loss" else (found.accuracy, 1)

    def formatted(value: float) -> str:
        return f"{value:z.2f} nats" if what == "loss" else f"{value:.0%}"

    each = ", ".join(f"{name} {formatted(value)}" for name, value in zip(names, values.tolist(), strict=True))
    return (
        f"The {what} with all texts at one expert: {each}; as routed {formatted(found.as_routed[index])}, each text at "
        f"its best expert {formatted(found.best_case[index])}. The router chooses the best expert for "
        f"{found.agreement:.0%} of them."
    )


def draw_loss_increases(
    found: RoutingCounterfactual, order: Sequence[int], names: Sequence[str], texts: Sequence[str]
) -> go.Figure:
    """Draw the loss increase (nats) of each text (rows, in ``order``) at each expert (columns), as a heat map."""
    figure = empty_figure(max(260, min(90 + 5 * len(order), 640)), showlegend=False)
    if not len(order):
        return add_note(figure, "No text yet.")
    increases = found.loss_increases[list(order)]
    # Not the maximum: a few large values would take the colour from all others.
    limit = max(float(np.quantile(np.abs(increases), 0.98)), 1e-6)
    chosen, best = ([int(experts[i]) for i in order] for experts in (found.chosen_experts, found.best_experts))
    shown = [
        f"{escape_text(texts[i], 110)}<br>chosen {escape_text(names[own])}, best {escape_text(names[other])}"
        for i, own, other in zip(order, chosen, best, strict=True)
    ]
    look = {"gap": None, "name": "loss increase", "text": [[text] * len(names) for text in shown]}
    hover = "%{text}<br>expert %{x}: %{z:+.2f} nats"
    add_cells(figure, increases, "increase (nats)", hover, (-limit, limit), DIVERGING, **look)
    add_points(figure, chosen, list(range(len(chosen))), "chosen", "", "#000000", marker_size=4, marker_symbol="circle")
    across = category_axis(names, 14, range=[-0.5, len(names) - 0.5])
    return figure.update_layout(xaxis=across, yaxis=cell_axis("text", autorange="reversed"))


def describe_loss_increases(found: RoutingCounterfactual, names: Sequence[str]) -> str:
    """Describe how the chosen expert compares with the best one."""
    regret = found.as_routed[0] - found.best_case[0]
    pairs = sorted(
        ((int(found.choice_counts[i, j]), i, j) for i in range(len(names)) for j in range(len(names)) if i != j),
        reverse=True,
    )
    count, i, j = pairs[0] if pairs else (0, 0, 0)
    worst = f" Most often {names[i]} is chosen although {names[j]} is best ({count} texts)." if count else ""
    return (
        f"{len(found.chosen_experts)} texts: the chosen expert is the best one for {found.agreement:.0%}; its mean "
        f"loss is {regret:z.2f} nats above the best expert's.{worst}"
    )


def draw_temperature(
    factors: Sequence[float | None],
    loss: Sequence[float],
    accuracy: Sequence[float],
    at: float | None = 1.0,
    noun: str = "accuracy",
) -> go.Figure:
    """Draw loss (nats) and the share of right answers, called ``noun``, by temperature; a ring marks ``at``.

    Temperatures are multiples of the trained one.
    """
    names = [format_factor(factor) for factor in factors]
    figure = empty_figure(
        300,
        hovermode="x unified",
        margin={"t": 34, "r": 56},
        xaxis=category_axis(names, 12, "temperature", range=[-0.4, len(names) - 0.6]),
        yaxis=axis(noun, tickformat=".0%", zeroline=None),
        yaxis2=cell_axis("loss (nats)", overlaying="y", side="right", zeroline=None),
    )
    for name, values, up, colour, dash, form in (
        (noun, accuracy, "y", PROMPT, "solid", "%{y:.1%}"),
        ("loss", loss, "y2", FROZEN, "dash", "%{y:.3f} nats"),
    ):
        look = {"yaxis": up, "mode": "lines+markers", "line_dash": dash}
        add_line(figure, list(range(len(names))), list(values), name, f"{name} {form}", colour, **look)
    if 1.0 in factors:
        trained, note = list(factors).index(1.0), {"text": "trained", "yanchor": "bottom", "y": 1}
        figure.add_vline(x=trained, line={"color": GREY, "dash": "dot", "width": 2}, annotation=note)
    if at in factors:
        index = list(factors).index(at)
        add_ring(figure, index, accuracy[index], "selected", marker_size=16)
    return figure


def describe_temperature(
    factors: Sequence[float | None], loss: Sequence[float], accuracy: Sequence[float], noun: str = "accuracy"
) -> str:
    """Describe the share of right answers, called ``noun``, and loss at each temperature."""
    described = ", ".join(
        f"{format_factor(factor)} {right:.0%} ({nats:z.2f} nats)"
        for factor, nats, right in zip(factors, loss, accuracy, strict=True)
    )
    return f"{noun[:1].upper()}{noun[1:]} and loss by temperature, in multiples of the trained one: {described}."


def format_factor(factor: float | None) -> str:
    """Format a multiple of the trained temperature; None is infinity, 0 is one-hot."""
    if factor is None:
        return "uniform"
    return "one-hot" if factor == 0 else f"x {factor:g}"


def draw_task_routing(
    weights: Float[np.ndarray, "tasks k"], tasks: Sequence[str], names: Sequence[str], rows: Sequence[int] = ()
) -> go.Figure:
    """Draw the mean weight of each source prompt or expert (columns) for the texts of each task (rows)."""
    figure = empty_figure(110 + 38 * max(len(tasks), 3))
    if not weights.size:
        return add_note(figure, "No task yet.")
    counts = list(rows) or [0] * len(tasks)
    look = {"text": [[f"{weight:.0%}" for weight in row] for row in weights.tolist()], "texttemplate": "%{text}"}
    counted = [f"{escape_text(task)} ({count} texts)" for task, count in zip(tasks, counts, strict=True)]
    look["hovertext"] = [[task] * len(names) for task in counted]
    add_cells(figure, weights, "mean weight", "%{hovertext}: %{z:.1%}", gap=2, tickformat=".0%", **look)
    down = category_axis(tasks, 22, "texts of", **TOP_DOWN)
    return figure.update_layout(xaxis=category_axis(names, 14, "prompt"), yaxis=down)


def describe_task_routing(weights: Float[np.ndarray, "tasks k"], tasks: Sequence[str], names: Sequence[str]) -> str:
    """Describe the prompt of largest weight for each task."""
    described = [
        f"texts of {task} give {names[int(row.argmax())]} most ({row.max():.0%})"
        for task, row in zip(tasks, np.asarray(weights), strict=True)
    ]
    return "Mean weight by task: " + ("; ".join(described) or "no task") + "."
