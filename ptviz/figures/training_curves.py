"""Training curves of one run, and the validation score of several runs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import plotly.graph_objects as go

from ptviz.analysis.training_curves import TrainingCurve
from ptviz.figures.elements import add_line, add_note, add_ring, add_text, axis, empty_figure, score_range
from ptviz.figures.style import DASHES, GREY, SeriesStyle, escape_hover, escape_text, format_number
from ptviz.tasks.metrics import ACCURACY, Metric

MIN_LABEL_GAP = 0.07
"""The labels of two baselines nearer than this (in the metric) would overlap."""


def draw_training_curve(curve: TrainingCurve, style: SeriesStyle | None = None, metric: Metric = ACCURACY) -> go.Figure:
    """Draw the validation score with its baselines (top) and training loss in nats (bottom) over the steps."""
    style = style or SeriesStyle()
    levels = [*curve.accuracies, curve.zero_shot_accuracy, curve.majority_accuracy]
    levels += [score for _, score in curve.further_baselines]
    levels += [score for _, scores in curve.by_task for score in scores]
    figure = empty_figure(
        470,
        hovermode="x unified",
        xaxis=axis("step", anchor="y2", range=[0, max(curve.last_step, 1)]),
        yaxis={**_validation_axis(metric, levels), "domain": [0.46, 1]},
        yaxis2=axis("training loss (nats)", domain=[0, 0.38], rangemode="tozero"),
        hoversubplots="axis",
        showlegend=False,
    )
    _draw_baselines(figure, curve, metric)
    _draw_scores_by_task(figure, curve, style)
    look = {"mode": "lines+markers", "marker_size": 7, "marker_symbol": style.symbol, "cliponaxis": False}
    x, y = curve.evaluated_steps, curve.accuracies
    add_line(
        figure, x, y, f"validation {metric.noun}", f"validation %{{y:{metric.value_format}}}", style.colour, **look
    )
    if curve.best is not None:
        add_ring(
            figure,
            *curve.best,
            "best so far",
            f"best so far %{{y:{metric.value_format}}}",
            style.colour,
            cliponaxis=False,
        )
    look = {"mode": "lines" if len(curve.steps) > 1 else "markers", "line_width": 1, "opacity": 0.55, "yaxis": "y2"}
    add_line(figure, curve.steps, curve.losses, "loss of each batch", "batch loss %{y:.3f}", style.colour, **look)
    hover = "smoothed loss %{y:.3f}"
    add_line(figure, curve.steps, curve.smoothed_losses, "smoothed loss", hover, style.colour, yaxis="y2")
    for span in curve.stages[1:]:
        figure.add_vline(x=span.start, line={"color": GREY, "width": 1, "dash": "dot"})
    for span in curve.stages if len(curve.stages) > 1 else ():
        add_text(figure, escape_text(span.name), span.start + span.steps / 2, 1, yref="paper", yanchor="top")
    known = curve.steps or curve.evaluated_steps
    return figure if known else add_note(figure, "The first step will appear here.")


def _draw_scores_by_task(figure: go.Figure, curve: TrainingCurve, style: SeriesStyle) -> None:
    """Draw a thin line for each target task, with its name at its end; the hover text has all of them."""
    for number, (name, scores) in enumerate(curve.by_task):
        label, dash = escape_text(name, 30), DASHES[(number + 1) % len(DASHES)]
        look = {"line_width": 1.5, "line_dash": dash, "opacity": 0.7, "cliponaxis": False}
        x = curve.evaluated_steps[: len(scores)]
        add_line(figure, x, scores, label, f"{escape_hover(label)} %{{y:.1%}}", style.colour, **look)
        if scores:
            add_text(figure, label, x[-1], scores[-1], xanchor="right", yanchor="bottom", font={"size": 11})


def _validation_axis(metric: Metric, scores: Iterable[float | None]) -> dict[str, Any]:
    return axis(f"validation {metric.noun}", tickformat=metric.tick_format, range=score_range(metric, scores))


def _draw_baselines(figure: go.Figure, curve: TrainingCurve, metric: Metric) -> None:
    lines = [("zero-shot", curve.zero_shot_accuracy, "dash"), (metric.constant_answer, curve.majority_accuracy, "dot")]
    known = [(label, level, dash) for label, level, dash in lines if level is not None]
    levels = [level for _, level, _ in known]
    crowded = len(levels) == 2 and abs(levels[0] - levels[1]) < MIN_LABEL_GAP
    if curve.further_baselines:
        _draw_further_baselines(figure, curve, metric, known)
        return
    for label, level, dash in known:
        below = crowded and level == min(levels) and label != known[0][0]
        # A trace, not a shape: then it is part of the hover text and of the exported data.
        x, look = [0, max(curve.last_step, 1)], {"line_width": 1.5, "line_dash": dash}
        add_line(figure, x, [level, level], label, f"{label} {metric.format(level)}", GREY, **look)
        at = {"xref": "x domain", "xanchor": "right", "yanchor": "top" if below else "bottom"}
        add_text(figure, f"{label} {metric.format_short(level)}", 1, level, font={"size": 12}, **at)


def _draw_further_baselines(
    figure: go.Figure, curve: TrainingCurve, metric: Metric, first: list[tuple[str, float, str]]
) -> None:
    """Draw all baselines of a text-to-text task: equal ones share a line, and near ones have labels side by side."""
    further = [
        (name, level, dash)
        for (name, level), dash in zip(curve.further_baselines, ("dashdot", "longdash"), strict=False)
    ]
    by_level: dict[float, list[tuple[str, str]]] = {}
    for label, level, dash in sorted([*first, *further], key=lambda line: line[1]):
        by_level.setdefault(level, []).append((label, dash))
    places = (("right", 1.0), ("left", 0.0), ("center", 0.5))
    below, place = -1.0, 0
    for level, names in by_level.items():
        label = ", ".join(name for name, _ in names)
        x, look = [0, max(curve.last_step, 1)], {"line_width": 1.5, "line_dash": names[0][1]}
        add_line(figure, x, [level, level], label, f"{label} {metric.format(level)}", GREY, **look)
        place = (place + 1) % len(places) if level - below < MIN_LABEL_GAP else 0
        anchor, across = places[place]
        at = {"xref": "x domain", "xanchor": anchor, "yanchor": "bottom"}
        add_text(figure, f"{label} {metric.format_short(level)}", across, level, font={"size": 12}, **at)
        below = level


def draw_perplexity(
    steps: Sequence[int], losses: Sequence[float], zero_shot_loss: float | None, style: SeriesStyle | None = None
) -> go.Figure:
    """Draw the perplexity of validation targets over the steps; losses are in nats per token.

    Perplexity is the exponential of the loss: the number of equally likely tokens that are as hard to predict.
    """
    style = style or SeriesStyle()
    values = [perplexity(loss) for loss in losses]
    figure = empty_figure(
        250,
        xaxis=axis("step", range=[0, max([1, *steps])]),
        yaxis=axis("perplexity", type="log", dtick="D2"),
        showlegend=False,
    )
    if zero_shot_loss is not None:
        level = perplexity(zero_shot_loss)
        label = f"zero-shot {format_number(level)}"
        look = {"line_width": 1.5, "line_dash": "dash"}
        add_line(figure, [0, max([1, *steps])], [level, level], "zero-shot", label, GREY, **look)
        at = {"xref": "x domain", "xanchor": "right", "yanchor": "bottom", "font": {"size": 12}}
        add_text(figure, label, 1, math.log10(level), **at)
    look = {"mode": "lines+markers", "marker_size": 7, "marker_symbol": style.symbol, "cliponaxis": False}
    add_line(figure, steps, values, "perplexity", "perplexity %{y:.3~r}", style.colour, **look)
    return figure if steps else add_note(figure, "The first evaluation will appear here.")


def perplexity(loss: float) -> float:
    """Return the exponential of a loss in nats, at most 1e12: the largest number that the axis shows."""
    return math.exp(min(loss, math.log(1e12)))


def draw_run_comparison(runs: Sequence[tuple[str, SeriesStyle, TrainingCurve]], metric: Metric = ACCURACY) -> go.Figure:
    """Draw the validation score (above) and smoothed training loss (below) of several runs over steps.

    ``runs`` are (name, style of the method, curve). Runs of one colour (the same method twice) differ in their dash.
    """
    figure = empty_figure(
        560,
        xaxis=axis("step", anchor="y2", range=[0, max([1, *(curve.last_step for _, _, curve in runs)])]),
        yaxis={
            **_validation_axis(metric, [score for _, _, curve in runs for score in curve.accuracies]),
            "domain": [0.44, 1],
        },
        yaxis2=axis("training loss (nats)", domain=[0, 0.38], rangemode="tozero"),
        legend={"y": -0.14, "yanchor": "top"},
    )
    seen: dict[str, int] = {}
    for number, (name, style, curve) in enumerate(runs):
        again = seen[style.colour] = seen.get(style.colour, -1) + 1
        dash, label = DASHES[(DASHES.index(style.dash) + again) % len(DASHES)], escape_text(name, 40)
        # One entry in the legend hides both lines of a run.
        look = {"line_dash": dash, "legendgroup": str(number)}
        hover = escape_hover(label) + f"<br>step %{{x}}: %{{y:{metric.value_format}}}"
        score = {"mode": "lines+markers", "marker_size": 7, "marker_symbol": style.symbol, "cliponaxis": False}
        add_line(
            figure,
            curve.evaluated_steps,
            curve.accuracies,
            label,
            hover,
            style.colour,
            **look,
            **score,
            showlegend=True,
        )
        hover = escape_hover(label) + "<br>step %{x}: smoothed loss %{y:.3f}"
        below = {"yaxis": "y2", "showlegend": False, "line_width": 1.8}
        add_line(figure, curve.steps, curve.smoothed_losses, label, hover, style.colour, **look, **below)
    if any(curve.evaluated_steps or curve.steps for _, _, curve in runs):
        return figure
    none = "No selected run has made a step yet." if runs else "Select runs in the table to compare them."
    return add_note(figure, none)
