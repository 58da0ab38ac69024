"""Comparison of methods: curves with seed bands, accuracy against cost, spread over seeds, learning rates by seed.

The scores are by the metric of the runs' task, accuracy unless another one is given. Methods are drawn by their
``MethodStyle``, which is the same on every page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil, floor, log10
from typing import Any

import plotly.graph_objects as go

from ptviz.analysis.comparison import LearningRateGrid, MethodSummary, SeedBand, pareto_front
from ptviz.figures.elements import (
    add_line,
    add_note,
    add_points,
    add_text,
    axis,
    category_axis,
    empty_figure,
    error_bars,
    score_range,
    score_tick_format,
)
from ptviz.figures.heatmap import add_cells
from ptviz.figures.label_placement import label_points
from ptviz.figures.style import GREY, SeriesStyle, escape_hover, escape_text, with_alpha
from ptviz.tasks.metrics import ACCURACY, Metric

COST_LABELS = {
    "trained": "trainable parameters",
    "seconds": "seconds of training",
    "memory": "peak memory (MB)",
    "length": "effective prompt length (positions)",
    "size": "size of the result's file (MB)",
}
"""The costs that accuracy can be drawn against: attributes of ``MethodSummary`` and their axis titles."""
_LOGARITHMIC_COSTS = ("trained", "seconds", "size")
_MAX_LABELS = 18
"""Up to this many points all are labelled; of more, only the Pareto-optimal ones."""
_MANY_CURVES = 8
"""Above this many curves in one figure, the bands of seeds are fainter."""
_PANEL_HEIGHT = 190
"""Height of one row of small multiples in pixels, above the axis."""


@dataclass(frozen=True)
class MethodStyle:
    """The title of a method, and the style of its series."""

    title: str
    style: SeriesStyle = field(default_factory=SeriesStyle)


MethodStyles = Mapping[str, MethodStyle]


def _style_of(styles: MethodStyles, method: str) -> MethodStyle:
    return styles.get(method, MethodStyle(method))


def draw_seed_bands(
    bands: Sequence[SeedBand],
    styles: MethodStyles,
    zero_shot: float | None = None,
    metric: Metric = ACCURACY,
    *,
    loss: bool = False,
    references: Mapping[str, float] | None = None,
) -> go.Figure:
    """Draw the validation score of all methods over steps: means as lines, lowest to highest seed as bands.

    With ``loss`` the bands hold training losses instead, in nats. ``references`` are scores by name, drawn as dotted
    lines.
    """
    lines = [zero_shot, *(references or {}).values()]
    flat, scores = _range_if_flat(bands, lines, metric), [*lines]
    scores += [score for band in bands for score in (*band.low, *band.high)]
    figure = empty_figure(
        440 + 10 * max(3, len(bands)),
        legend={"y": -0.2, "yanchor": "top"},
        xaxis=axis("updates, through all stages", rangemode="tozero"),
        yaxis=axis("training loss (nats)")
        if loss
        else axis(f"validation {metric.noun}", tickformat=score_tick_format(metric, scores), range=flat),
    )
    form, alpha = ".3f" if loss else metric.value_format, 0.14 if len(bands) <= _MANY_CURVES else 0.07
    for band in bands:
        _draw_seed_band(figure, band, _style_of(styles, band.method), form, alpha, showlegend=True)
    _draw_zero_shot_line(figure, bands, zero_shot, metric)
    evaluated = any(band.steps for band in bands)
    for name, score in (references or {}).items() if evaluated else ():
        end, title = max(band.steps[-1] for band in bands if band.steps), escape_text(name, 40)
        look = {"line_width": 1.5, "line_dash": "dot", "showlegend": False}
        add_line(figure, [0, end], [score] * 2, title, f"{escape_hover(title)} {metric.format(score)}", GREY, **look)
        add_text(figure, title, 0, score, xref="paper", xanchor="left", yshift=9, font={"size": 12})
    if zero_shot is not None and evaluated:
        add_text(figure, "zero-shot", 1, zero_shot, xref="paper", xanchor="right", yshift=9, font={"size": 12})
    return figure if evaluated else add_note(figure, "No run of this comparison has been evaluated yet.")


def _range_if_flat(bands: Sequence[SeedBand], lines: Sequence[float | None], metric: Metric) -> list[float] | None:
    """Return the range of scores that are all equal: a chart would choose one from -100% to 100% around them."""
    scores = {*(score for band in bands for score in (*band.low, *band.high)), *filter(None, lines)}
    return score_range(metric, scores) if len(scores) == 1 else None


def _draw_seed_band(
    figure: go.Figure, band: SeedBand, method: MethodStyle, form: str = ".1%", alpha: float = 0.14, **settings: Any
) -> None:
    title, style = escape_text(method.title, 40), method.style
    if band.seeds > 1 or band.low != band.high:  # Runs of one seed may differ in their settings.
        x, y = [*band.steps, *reversed(band.steps)], [*band.high, *reversed(band.low)]
        area = {"fill": "toself", "fillcolor": with_alpha(style.colour, alpha), "line_width": 0, "line_color": None}
        more = {**settings, "legendgroup": band.method, "showlegend": False}
        add_line(figure, x, y, f"{title}, lowest to highest seed", **area, **more)
    hover = f"{escape_hover(title)}<br>step %{{x}}: %{{y:{form}}}, seeds %{{customdata[0]:{form}}} to "
    hover += f"%{{customdata[1]:{form}}}"
    look = {"mode": "lines+markers", "line_width": 2.2, "line_dash": style.dash, "marker_symbol": style.symbol}
    more = {"marker_size": 6, "customdata": list(zip(band.low, band.high, strict=True)), "legendgroup": band.method}
    add_line(figure, band.steps, band.mean, title, hover, style.colour, **look, **more, **settings)


def _draw_zero_shot_line(
    figure: go.Figure, bands: Sequence[SeedBand], zero_shot: float | None, metric: Metric, **settings: Any
) -> None:
    ends = [band.steps[-1] for band in bands if band.steps]
    if zero_shot is not None and ends:
        more = {"line_width": 1.5, "line_dash": "dash", "showlegend": False, **settings}
        hover = f"zero-shot {metric.format(zero_shot)}"
        add_line(figure, [0, max(ends)], [zero_shot] * 2, "zero-shot", hover, GREY, **more)


def draw_small_multiples(
    bands: Sequence[SeedBand],
    styles: MethodStyles,
    zero_shot: float | None = None,
    metric: Metric = ACCURACY,
    columns: int = 4,
) -> go.Figure:
    """Draw the curves of ``draw_seed_bands`` in one small panel per method, all on the same axes."""
    columns = max(1, min(columns, len(bands)))
    rows = max(1, -(-len(bands) // columns))
    # For the app, which has fewer in a row on a phone.
    panels = {"count": len(bands), "columns": columns, "height": _PANEL_HEIGHT}
    figure = empty_figure(80 + _PANEL_HEIGHT * rows, margin={"t": 28}, meta={"panels": panels})
    known = [level for band in bands for level in (*band.low, *band.high)] + ([] if zero_shot is None else [zero_shot])
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    end = max([1, *(band.steps[-1] for band in bands if band.steps)])
    width, height = 1 / columns, 1 / rows
    for index, band in enumerate(bands):
        row, column = divmod(index, columns)
        suffix = str(index + 1) if index else ""
        x, y = f"x{suffix}", f"y{suffix}"
        left, top, below = column * width, 1 - row * height, index + columns >= len(bands)
        across = {"domain": [left, left + width * 0.88], "range": [0, end], "showticklabels": below}
        up = {"domain": [top - height * 0.78, top - height * 0.06], "showticklabels": column == 0}
        up |= {"tickformat": metric.tick_format, "range": [max(metric.low, low - 0.05), min(1.03, high + 0.05)]}
        for name, anchor, title, own in (
            (f"xaxis{suffix}", y, "updates" if below else "", across),
            (f"yaxis{suffix}", x, metric.noun if column == 0 else "", up),
        ):
            text = {"title": {"text": title, "standoff": 4}}
            figure.update_layout({name: axis(anchor=anchor, nticks=4, **text, **own)})
        method = _style_of(styles, band.method)
        _draw_seed_band(figure, band, method, metric.value_format, xaxis=x, yaxis=y, showlegend=False)
        _draw_zero_shot_line(figure, [band], zero_shot, metric, xaxis=x, yaxis=y)
        at = {"xref": f"{x} domain", "yref": f"{y} domain", "xanchor": "left", "yanchor": "bottom"}
        title = f"<b>{escape_text(method.title, 24)}</b>"
        add_text(figure, title, 0, 1.02, font={"size": 12}, name="panel title", **at)
    return figure if bands else add_note(figure, "Select methods to compare them.")


def cost_value(summary: MethodSummary, cost: str) -> float | None:
    """Return one of ``COST_LABELS`` of a method in the unit of its axis; None if unknown."""
    value: float | None = getattr(summary, cost)
    return value / 2**20 if cost in ("memory", "size") and value is not None else value


def draw_pareto_front(
    summaries: Sequence[MethodSummary], cost: str, styles: MethodStyles, metric: Metric = ACCURACY
) -> go.Figure:
    """Draw the test score against a cost of ``COST_LABELS``, with the Pareto front as a line."""
    logarithmic = cost in _LOGARITHMIC_COSTS
    up = axis(f"test {metric.noun} (mean over seeds)", tickformat=score_tick_format(metric, _shown_scores(summaries)))
    figure = empty_figure(420, showlegend=False, xaxis=axis(COST_LABELS[cost]), yaxis=up)
    costs = [cost_value(one, cost) for one in summaries]
    pairs = [(one, x) for one, x in zip(summaries, costs, strict=True) if x is not None and (x > 0 or not logarithmic)]
    if logarithmic:
        # By default plotly labels the ticks between powers of ten with their first digit only.
        ticks = log_ticks([x for _, x in pairs])
        figure.update_xaxes(type="log", tickvals=ticks, ticktext=[_format_tick(tick) for tick in ticks])
    best = pareto_front([x for _, x in pairs], [one.mean for one, _ in pairs])
    front_x, front_y = [pairs[index][1] for index in best], [pairs[index][0].mean for index in best]
    add_line(figure, front_x, front_y, "Pareto front", "", GREY, line_width=2, line_shape="hv")
    for one, x in pairs:
        method, span = _style_of(styles, one.method), one.interval
        title, colour = escape_text(method.title, 40), method.style.colour
        hover = f"{escape_hover(title)}<br>{COST_LABELS[cost]} %{{x:,.4~g}}<br>"
        hover += f"test %{{y:{metric.value_format}}}"
        bars = error_bars([span.low], [one.mean], [span.high], color=colour, thickness=1.2, width=3) if span else None
        look = {"marker_size": 12, "marker_symbol": method.style.symbol, "error_y": bars}
        add_points(figure, [x], [one.mean], title, hover, colour, **look)
    named = range(len(pairs)) if len(pairs) <= _MAX_LABELS else best
    titles = {index: escape_text(_style_of(styles, pairs[index][0].method).title, 26) for index in named}
    # On a logarithmic axis plotly expects exponents in annotations, though not in traces.
    points = [(_log10(x) if logarithmic else x, one.mean) for one, x in pairs]
    spans = [(one.interval.low, one.interval.high) if one.interval else (one.mean, one.mean) for one, _ in pairs]
    label_points(figure, points, titles, spans)
    return figure if pairs else add_note(figure, "No finished run has this value yet.")


def _shown_scores(summaries: Sequence[MethodSummary]) -> list[float]:
    """Return the scores that a figure of methods reaches to: every seed, and the ends of the intervals."""
    intervals = [end for one in summaries if one.interval for end in (one.interval.low, one.interval.high)]
    return [*(score for one in summaries for score in one.tests), *intervals]


def log_ticks(values: Sequence[float]) -> list[float]:
    """Return round tick values for a logarithmic axis, few enough for their labels not to overlap."""
    low, high = _log10(min(values, default=1.0)), _log10(max(values, default=1.0))
    decades = high - low
    digits = range(1, 10) if decades < 0.7 else (1, 2, 5) if decades < 2 else (1, 3) if decades < 4 else (1,)
    return [digit * 10.0**power for power in range(floor(low) - 1, ceil(high) + 2) for digit in digits]


def _format_tick(tick: float) -> str:
    return f"{tick:,.0f}" if tick >= 1 else f"{tick:g}"


def _log10(value: float) -> float:
    return log10(value) if value > 0 else 0.0


def draw_seed_spread(summaries: Sequence[MethodSummary], styles: MethodStyles, metric: Metric = ACCURACY) -> go.Figure:
    """Draw every seed's test score as a point, one row per method, the best mean on top, with mean and interval."""
    own = [_style_of(styles, one.method) for one in summaries]
    names = category_axis([one.title for one in own], 40, range=[len(own) - 0.4, -0.6], automargin=True, showgrid=None)
    figure = empty_figure(
        90 + 34 * max(len(summaries), 2),
        showlegend=False,
        margin={"l": 8},
        xaxis=axis(
            f"test {metric.noun}, one point per seed", tickformat=score_tick_format(metric, _shown_scores(summaries))
        ),
        yaxis=names,
    )
    for index, (one, title, method) in enumerate(zip(summaries, names["ticktext"], own, strict=True)):
        colour, row, hover = method.style.colour, [index] * len(one.tests), escape_hover(title)
        if one.interval:
            ends, faint = [one.interval.low, one.interval.high], with_alpha(colour, 0.35)
            add_line(figure, ends, [index] * 2, f"{title}, 95% interval", "", faint, line_width=8)
        look = {"marker_symbol": method.style.symbol, "marker_size": 9, "marker_opacity": 0.85}
        template = f"{hover}, seed %{{customdata}}: %{{x:{metric.value_format}}}"
        add_points(figure, one.tests, row, title, template, colour, customdata=one.seeds, **look)
        tick = {"marker_size": 20, "marker_symbol": "line-ns-open", "marker_line_width": 2.5}
        add_points(figure, [one.mean], [index], "mean", f"{hover}, mean: %{{x:{metric.value_format}}}", colour, **tick)
    return figure if summaries else add_note(figure, "No run of this comparison has finished yet.")


def draw_learning_rate_grid(grid: LearningRateGrid, metric: Metric = ACCURACY) -> go.Figure:
    """Draw the test score as a heat map, learning rates by seeds; a cross marks runs not better than zero-shot."""
    figure = empty_figure(90 + 44 * max(len(grid.learning_rates), 3))
    figure.update_xaxes(title={"text": "seed"}, type="category")
    figure.update_yaxes(title={"text": "learning rate"}, type="category")
    known = [value for row in grid.accuracies for value in row if value is not None]
    low = min(known, default=0.0)
    ends = low, max(*known, low + 0.05, low)  # plotly would scale equal cells beyond 0 and 100%
    cells = {
        "x": [str(seed) for seed in grid.seeds],
        "y": [f"{rate:g}" for rate in grid.learning_rates],
        "text": [
            [_cell_text(value, above, metric) for value, above in zip(*row, strict=True)]
            for row in zip(grid.accuracies, grid.above_zero_shot, strict=True)
        ],
        "texttemplate": "%{text}",
        "name": None,
    }
    hover, look = f"learning rate %{{y}}, seed %{{x}}: %{{z:{metric.value_format}}}", {"tickformat": metric.tick_format}
    add_cells(figure, [list(row) for row in grid.accuracies], "test", hover, ends, gap=None, **look, **cells)
    return figure if known else add_note(figure, "No run of this grid has finished yet.")


def _cell_text(value: float | None, above: bool | None, metric: Metric) -> str:
    if value is None:
        return ""
    return metric.format_short(value) + (" ✗" if above is False else "")
