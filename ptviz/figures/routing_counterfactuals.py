"""Counterfactual routings: all inputs to one expert, other softmax temperatures, texts of other tasks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from ptviz.analysis.routing import ExpertLoadCurve, RoutingCounterfactual
from ptviz.figures.heatmap import DIVERGING, SEQUENTIAL
from ptviz.figures.style import (
    FROZEN,
    GREEN,
    GREY,
    PROMPT,
    add_note,
    category_axis,
    colour_bar,
    empty_figure,
    escape_text,
    series_style,
)


def draw_balance(curve: ExpertLoadCurve, at: int | None = None) -> go.Figure:
    """Draw the balance of the load over the steps, from 1/k (one expert wins all) to 1 (uniform); ``at`` is marked."""
    figure = empty_figure(240)
    k = max(curve.loads.shape[1], 1) if curve.loads.ndim == 2 else 1
    figure.update_layout(
        xaxis={"title": {"text": "step"}, "zeroline": False},
        yaxis={"title": {"text": "balance"}, "range": [0, 1.03], "zeroline": False},
        showlegend=False,
    )
    figure.add_scatter(
        x=curve.steps,
        y=curve.balance,
        mode="lines",
        line={"color": PROMPT, "width": 2.5},
        name="balance",
        customdata=curve.entropy,
        hovertemplate="balance %{y:.2f}, entropy %{customdata:.2f} nats<extra></extra>",
    )
    figure.add_hline(y=1 / k, line={"color": GREY, "dash": "dot", "width": 1.5})
    if at is not None:
        figure.add_vline(x=at, line={"color": GREY, "width": 2})
    if not len(curve.steps):
        add_note(figure, "The first step will appear here.")
    return figure


def describe_balance(curve: ExpertLoadCurve) -> str:
    """Describe the balance: first, last and lowest value, and the final entropy."""
    if not len(curve.steps):
        return "Balance of the load: no step yet."
    low = int(curve.balance.argmin())
    return (
        f"Balance of the load: {curve.balance[0]:.2f} at step {curve.steps[0]}, {curve.balance[-1]:.2f} at step "
        f"{curve.steps[-1]}, lowest {curve.balance[low]:.2f} at step {curve.steps[low]}; entropy "
        f"{curve.entropy[-1]:.2f} nats at the end."
    )


def draw_counterfactual(found: RoutingCounterfactual, names: Sequence[str], what: str = "loss") -> go.Figure:
    """Draw loss or accuracy with all texts at one expert, as bars; lines show the own routing and the best case."""
    values, index = (found.loss, 0) if what == "loss" else (found.accuracy, 1)
    share = what != "loss"
    figure = empty_figure(300)
    figure.update_layout(
        hovermode="closest",
        margin={"t": 34, "r": 16, "l": 56, "b": 44},
        xaxis={"title": {"text": "all texts at"}, **category_axis(names, 14)},
        yaxis={
            "title": {"text": "accuracy" if share else "loss (nats)"},
            "rangemode": "tozero",
            **({"tickformat": ".0%"} if share else {}),
        },
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
    )
    style = [series_style(index) for index in range(len(names))]
    form = "%{y:.1%}" if share else "%{y:.3f}"
    figure.add_bar(
        x=list(range(len(names))),
        y=values,
        marker={"color": [one.colour for one in style]},
        text=[f"{value:.0%}" if share else f"{value:.2f}" for value in values.tolist()],
        textposition="inside",
        insidetextanchor="start",
        textangle=0,
        name="forced",
        showlegend=False,
        hovertemplate=f"all texts here: {form}<extra></extra>",
    )
    for name, value, colour, dash in (
        ("as routed", found.as_routed[index], GREY, "solid"),
        ("best case", found.best_case[index], GREEN, "dash"),
    ):
        figure.add_scatter(
            x=[-0.5, len(names) - 0.5],
            y=[value, value],
            mode="lines",
            line={"color": colour, "dash": dash, "width": 2.5},
            name=f"{name} {value:.0%}" if share else f"{name} {value:.2f}",
            hovertemplate=f"{name}: {form}<extra></extra>",
        )
    return figure


def describe_counterfactual(found: RoutingCounterfactual, names: Sequence[str], what: str = "loss") -> str:
    """Describe the loss or accuracy at each expert, of the own routing, and in the best case."""
    values, index = (found.loss, 0) if what == "loss" else (found.accuracy, 1)

    def formatted(value: float) -> str:
        return f"{value:.2f} nats" if what == "loss" else f"{value:.0%}"

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
    figure = empty_figure(max(260, min(90 + 5 * len(order), 640)))
    if not len(order):
        return add_note(figure, "No text yet.")
    shown = found.loss_increases[list(order)]
    # Not the maximum: a few large values would take the colour from all others.
    limit = max(float(np.quantile(np.abs(shown), 0.98)), 1e-6)
    figure.add_heatmap(
        z=shown.astype(np.float32),
        zmin=-limit,
        zmax=limit,
        colorscale=DIVERGING,
        text=[
            [
                f"{escape_text(texts[i], 110)}<br>chosen {escape_text(names[found.chosen_experts[i]])}, "
                f"best {escape_text(names[found.best_experts[i]])}"
            ]
            * len(names)
            for i in order
        ],
        colorbar=colour_bar("increase (nats)"),
        name="loss increase",
        hovertemplate="%{text}<br>expert %{x}: %{z:+.2f} nats<extra></extra>",
    )
    chosen = [int(found.chosen_experts[i]) for i in order]
    figure.add_scatter(
        x=chosen,
        y=list(range(len(chosen))),
        mode="markers",
        marker={"size": 4, "color": "#000000", "symbol": "circle"},
        name="chosen",
        hoverinfo="skip",
    )
    figure.update_layout(
        hovermode="closest",
        showlegend=False,
        xaxis={**category_axis(names, 14), "range": [-0.5, len(names) - 0.5]},
        yaxis={"title": {"text": "text"}, "autorange": "reversed", "showgrid": False, "zeroline": False},
    )
    return figure


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
        f"loss is {regret:.2f} nats above the best expert's.{worst}"
    )


def draw_temperature(
    factors: Sequence[float | None], loss: Sequence[float], accuracy: Sequence[float], at: float | None = 1.0
) -> go.Figure:
    """Draw loss (nats) and accuracy by temperature, in multiples of the trained one; a ring marks ``at``."""
    figure = empty_figure(300)
    names = [format_factor(factor) for factor in factors]
    figure.update_layout(
        margin={"t": 34, "r": 56, "l": 56, "b": 44},
        xaxis={"title": {"text": "temperature"}, **category_axis(names, 12), "range": [-0.4, len(names) - 0.6]},
        yaxis={"title": {"text": "accuracy"}, "tickformat": ".0%"},
        yaxis2={"title": {"text": "loss (nats)"}, "overlaying": "y", "side": "right", "showgrid": False},
    )
    positions = list(range(len(names)))
    for name, values, axis, colour, dash, form in (
        ("accuracy", accuracy, "y", PROMPT, "solid", "%{y:.1%}"),
        ("loss", loss, "y2", FROZEN, "dash", "%{y:.3f} nats"),
    ):
        figure.add_scatter(
            x=positions,
            y=list(values),
            yaxis=axis,
            mode="lines+markers",
            line={"color": colour, "dash": dash, "width": 2.5},
            name=name,
            hovertemplate=f"{name} {form}<extra></extra>",
        )
    if 1.0 in factors:
        figure.add_vline(
            x=list(factors).index(1.0),
            line={"color": GREY, "dash": "dot", "width": 2},
            annotation={"text": "trained", "yanchor": "bottom", "y": 1},
        )
    if at in factors:
        index = list(factors).index(at)
        figure.add_scatter(
            x=[index],
            y=[accuracy[index]],
            mode="markers",
            marker={"size": 16, "symbol": "circle-open", "color": PROMPT, "line": {"width": 2.5}},
            name="selected",
            hoverinfo="skip",
        )
    return figure


def describe_temperature(factors: Sequence[float | None], loss: Sequence[float], accuracy: Sequence[float]) -> str:
    """Describe accuracy and loss at each temperature."""
    described = ", ".join(
        f"{format_factor(factor)} {right:.0%} ({nats:.2f} nats)"
        for factor, nats, right in zip(factors, loss, accuracy, strict=True)
    )
    return f"Accuracy and loss by temperature, in multiples of the trained one: {described}."


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
    figure.add_heatmap(
        z=np.asarray(weights, dtype=np.float32),
        zmin=0,
        zmax=1,
        colorscale=SEQUENTIAL,
        text=[[f"{weight:.0%}" for weight in row] for row in np.asarray(weights).tolist()],
        texttemplate="%{text}",
        hovertext=[
            [f"{escape_text(task)} ({count} texts)"] * len(names) for task, count in zip(tasks, counts, strict=True)
        ],
        xgap=2,
        ygap=2,
        name="mean weight",
        colorbar=colour_bar("mean weight", tickformat=".0%"),
        hovertemplate="%{hovertext}: %{z:.1%}<extra></extra>",
    )
    figure.update_layout(
        hovermode="closest",
        xaxis={"title": {"text": "prompt"}, **category_axis(names, 14)},
        yaxis={"title": {"text": "texts of"}, **category_axis(tasks, 22), "autorange": "reversed", "automargin": True},
    )
    return figure


def describe_task_routing(weights: Float[np.ndarray, "tasks k"], tasks: Sequence[str], names: Sequence[str]) -> str:
    """Describe the prompt of largest weight for each task."""
    described = [
        f"texts of {task} give {names[int(row.argmax())]} most ({row.max():.0%})"
        for task, row in zip(tasks, np.asarray(weights), strict=True)
    ]
    return "Mean weight by task: " + ("; ".join(described) or "no task") + "."
