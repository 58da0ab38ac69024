"""Comparison of methods: curves with seed bands, accuracy against cost, spread over seeds, learning rates by seed.

Methods are drawn by their ``MethodStyle``, which is the same on every page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil, floor, log10

import plotly.graph_objects as go

from ptviz.analysis.comparison import LearningRateGrid, MethodSummary, SeedBand, pareto_front
from ptviz.figures.label_placement import place_labels
from ptviz.figures.style import GREY, SeriesStyle, add_note, empty_figure, escape_text

ACCURACY_AXIS = {"tickformat": ".0%", "zeroline": False}
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


def _with_alpha(colour: str, alpha: float) -> str:
    red, green, blue = (int(colour[index : index + 2], 16) for index in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha})"


def draw_seed_bands(
    bands: Sequence[SeedBand], styles: MethodStyles, zero_shot: float | None = None, *, loss: bool = False
) -> go.Figure:
    """Draw validation accuracy of all methods over steps: means as lines, lowest to highest seed as bands.

    With ``loss`` the bands hold training losses instead, in nats.
    """
    figure = empty_figure(height=440 + 10 * max(3, len(bands)))
    # A unified hover box of sixteen methods would cover the figure.
    figure.update_layout(hovermode="closest", legend={"y": -0.2, "yanchor": "top"})
    figure.update_xaxes(title={"text": "updates, through all stages"}, zeroline=False, rangemode="tozero")
    if loss:
        figure.update_yaxes(title={"text": "training loss (nats)"}, zeroline=False)
    else:
        figure.update_yaxes(title={"text": "validation accuracy"}, **ACCURACY_AXIS)
    alpha = 0.14 if len(bands) <= _MANY_CURVES else 0.07
    for band in bands:
        method_style = _style_of(styles, band.method)
        _draw_seed_band(figure, band, method_style, {}, legend=True, form=".3f" if loss else ".1%", alpha=alpha)
    _draw_zero_shot_line(figure, bands, zero_shot, {})
    if zero_shot is not None and any(band.steps for band in bands):
        figure.add_annotation(
            x=1, xref="paper", y=zero_shot, text="zero-shot", showarrow=False, xanchor="right", yshift=9,
            font={"size": 12},
        )  # fmt: skip
    if not any(band.steps for band in bands):
        add_note(figure, "No run of this comparison has been evaluated yet.")
    return figure


def _draw_seed_band(
    figure: go.Figure,
    band: SeedBand,
    method_style: MethodStyle,
    axes: Mapping[str, str],
    legend: bool,
    form: str = ".1%",
    alpha: float = 0.14,
) -> None:
    title = escape_text(method_style.title, 40)
    group = {"legendgroup": band.method, **axes}
    if band.seeds > 1:
        figure.add_scatter(
            x=[*band.steps, *reversed(band.steps)],
            y=[*band.high, *reversed(band.low)],
            fill="toself",
            fillcolor=_with_alpha(method_style.style.colour, alpha),
            line={"width": 0},
            mode="lines",
            name=f"{title}, lowest to highest seed",
            hoverinfo="skip",
            showlegend=False,
            **group,
        )
    figure.add_scatter(
        x=band.steps,
        y=band.mean,
        mode="lines+markers",
        line={"color": method_style.style.colour, "width": 2.2, "dash": method_style.style.dash},
        marker={"size": 6, "symbol": method_style.style.symbol},
        name=title,
        customdata=list(zip(band.low, band.high, strict=True)),
        hovertemplate=f"{_escape_hover(title)}<br>step %{{x}}: %{{y:{form}}}, seeds %{{customdata[0]:{form}}} to "
        f"%{{customdata[1]:{form}}}<extra></extra>",
        showlegend=legend,
        **group,
    )


def _escape_hover(title: str) -> str:
    return title.replace("%{", "%&#123;")


def _draw_zero_shot_line(
    figure: go.Figure, bands: Sequence[SeedBand], zero_shot: float | None, axes: Mapping[str, str]
) -> None:
    ends = [band.steps[-1] for band in bands if band.steps]
    if zero_shot is None or not ends:
        return
    figure.add_scatter(
        x=[0, max(ends)], y=[zero_shot, zero_shot], mode="lines", line={"color": GREY, "width": 1.5, "dash": "dash"},
        name="zero-shot", hovertemplate=f"zero-shot {zero_shot:.1%}<extra></extra>", showlegend=False, **axes,
    )  # fmt: skip


def draw_small_multiples(
    bands: Sequence[SeedBand], styles: MethodStyles, zero_shot: float | None = None, columns: int = 4
) -> go.Figure:
    """Draw the curves of ``draw_seed_bands`` in one small panel per method, all on the same axes."""
    columns = max(1, min(columns, len(bands)))
    rows = max(1, -(-len(bands) // columns))
    figure = empty_figure(height=80 + _PANEL_HEIGHT * rows)
    figure.update_layout(hovermode="closest", margin={"t": 28})
    known = [level for band in bands for level in (*band.low, *band.high)] + ([zero_shot] if zero_shot else [])
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    end = max([1, *(band.steps[-1] for band in bands if band.steps)])
    width, height = 1 / columns, 1 / rows
    for index, band in enumerate(bands):
        row, column = divmod(index, columns)
        axes = {"xaxis": _axis_name("x", index), "yaxis": _axis_name("y", index)}
        left, top = column * width, 1 - row * height
        suffix = str(index + 1) if index else ""
        below = index + columns >= len(bands)
        figure.update_layout({
            f"xaxis{suffix}": {
                "domain": [left, left + width * 0.88], "anchor": axes["yaxis"], "range": [0, end], "nticks": 4,
                "showticklabels": below, "zeroline": False,
                "title": {"text": "updates" if below else "", "standoff": 4},
            },
            f"yaxis{suffix}": {
                "domain": [top - height * 0.78, top - height * 0.06], "anchor": axes["xaxis"], **ACCURACY_AXIS,
                "nticks": 4,
                "range": [max(0, low - 0.05), min(1.03, high + 0.05)], "showticklabels": column == 0,
                "title": {"text": "accuracy" if column == 0 else "", "standoff": 4},
            },
        })  # fmt: skip
        method_style = _style_of(styles, band.method)
        _draw_seed_band(figure, band, method_style, axes, legend=False)
        _draw_zero_shot_line(figure, [band], zero_shot, axes)
        figure.add_annotation(
            text=f"<b>{escape_text(method_style.title, 24)}</b>", xref=f"{axes['xaxis']} domain",
            yref=f"{axes['yaxis']} domain",
            x=0, y=1.02, xanchor="left", yanchor="bottom", showarrow=False, font={"size": 12},
        )  # fmt: skip
    if not bands:
        add_note(figure, "Select methods to compare them.")
    return figure


def _axis_name(letter: str, index: int) -> str:
    return letter if index == 0 else f"{letter}{index + 1}"


def cost_value(summary: MethodSummary, cost: str) -> float | None:
    """Return one of ``COST_LABELS`` of a method in the unit of its axis; None if unknown."""
    value: float | None = getattr(summary, cost)
    return value / 2**20 if cost in ("memory", "size") and value is not None else value


def draw_pareto_front(summaries: Sequence[MethodSummary], cost: str, styles: MethodStyles) -> go.Figure:
    """Draw test accuracy against a cost of ``COST_LABELS``, with the Pareto front as a line."""
    figure, logarithmic = empty_figure(height=420), cost in _LOGARITHMIC_COSTS
    figure.update_layout(hovermode="closest", showlegend=False)
    figure.update_xaxes(title={"text": COST_LABELS[cost]}, zeroline=False)
    figure.update_yaxes(title={"text": "test accuracy (mean over seeds)"}, **ACCURACY_AXIS)
    known = [
        one for one in summaries if (value := cost_value(one, cost)) is not None and (value > 0 or not logarithmic)
    ]
    if logarithmic:
        # By default plotly labels the ticks between powers of ten with their first digit only.
        ticks = log_ticks([cost_value(one, cost) or 1.0 for one in known])
        figure.update_xaxes(type="log", tickvals=ticks, ticktext=[_format_tick(tick) for tick in ticks])
    best = pareto_front([cost_value(one, cost) for one in known], [one.mean for one in known])
    figure.add_scatter(
        x=[cost_value(known[index], cost) for index in best],
        y=[known[index].mean for index in best],
        mode="lines",
        line={"color": GREY, "width": 2, "shape": "hv"},
        name="Pareto front",
        hoverinfo="skip",
    )
    for one in known:
        method_style = _style_of(styles, one.method)
        title = escape_text(method_style.title, 40)
        span = one.interval
        figure.add_scatter(
            x=[cost_value(one, cost)],
            y=[one.mean],
            error_y={
                "type": "data", "symmetric": False, "array": [span.high - one.mean], "color": method_style.style.colour,
                "arrayminus": [one.mean - span.low], "thickness": 1.2, "width": 3,
            } if span else None,
            mode="markers",
            marker={"size": 12, "symbol": method_style.style.symbol, "color": method_style.style.colour},
            name=title,
            hovertemplate=f"{_escape_hover(title)}<br>{COST_LABELS[cost]} %{{x:,.4~g}}<br>test %{{y:.1%}}"
            "<extra></extra>",
        )  # fmt: skip
    _draw_labels(figure, known, range(len(known)) if len(known) <= _MAX_LABELS else best, cost, styles)
    if not known:
        add_note(figure, "No finished run has this value yet.")
    return figure


def log_ticks(values: Sequence[float]) -> list[float]:
    """Return round tick values for a logarithmic axis, few enough for their labels not to overlap."""
    low, high = _log10(min(values, default=1.0)), _log10(max(values, default=1.0))
    decades = high - low
    digits = range(1, 10) if decades < 0.7 else (1, 2, 5) if decades < 2 else (1, 3) if decades < 4 else (1,)
    return [digit * 10.0**power for power in range(floor(low) - 1, ceil(high) + 2) for digit in digits]


def _format_tick(tick: float) -> str:
    return f"{tick:,.0f}" if tick >= 1 else f"{tick:g}"


def _draw_labels(
    figure: go.Figure, known: Sequence[MethodSummary], named: Sequence[int], cost: str, styles: MethodStyles
) -> None:
    """Label some of the points with their methods' titles."""
    # On a logarithmic axis plotly expects exponents in annotations, though not in traces.
    across = [_log10(x) if cost in _LOGARITHMIC_COSTS else x for x in (cost_value(one, cost) or 0 for one in known)]
    up = [one.mean for one in known]
    shares = list(zip(_axis_fractions(across), _axis_fractions(up), strict=True))
    order = [*named, *(index for index in range(len(known)) if index not in named)]
    titles = [escape_text(_style_of(styles, known[index].method).title, 26) for index in named]
    found = place_labels([shares[index] for index in order], titles)
    for index, title, at in zip(named, titles, found, strict=True):
        figure.add_annotation(
            x=across[index], y=up[index], text=title, showarrow=False, xanchor=at.anchor, xshift=at.dx,
            yshift=at.dy, font={"size": 12},
        )  # fmt: skip


def _axis_fractions(values: Sequence[float]) -> list[float]:
    """Return values as fractions of the axis range that plotly chooses for them."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    return [0.05 + 0.9 * (value - low) / ((high - low) or 1.0) for value in values]


def _log10(value: float) -> float:
    return log10(value) if value > 0 else 0.0


def draw_seed_spread(summaries: Sequence[MethodSummary], styles: MethodStyles) -> go.Figure:
    """Draw every seed's test accuracy as a point, one row per method, the best mean on top, with mean and interval."""
    figure = empty_figure(height=90 + 34 * max(len(summaries), 2))
    titles = [escape_text(_style_of(styles, one.method).title, 40) for one in summaries]
    figure.update_layout(hovermode="closest", showlegend=False, margin={"l": 8})
    figure.update_xaxes(title={"text": "test accuracy, one point per seed"}, **ACCURACY_AXIS)
    figure.update_yaxes(
        tickvals=list(range(len(titles))), ticktext=titles, range=[len(titles) - 0.4, -0.6], zeroline=False,
        automargin=True,
    )  # fmt: skip
    for index, one in enumerate(summaries):
        method_style = _style_of(styles, one.method)
        if one.interval:
            figure.add_scatter(
                x=[one.interval.low, one.interval.high], y=[index, index], mode="lines", hoverinfo="skip",
                line={"color": _with_alpha(method_style.style.colour, 0.35), "width": 8},
                name=f"{titles[index]}, 95 % interval",
            )  # fmt: skip
        figure.add_scatter(
            x=one.tests, y=[index] * len(one.tests), mode="markers", customdata=one.seeds, name=titles[index],
            marker={
                "size": 9, "symbol": method_style.style.symbol, "color": method_style.style.colour, "opacity": 0.85,
            },
            hovertemplate=f"{_escape_hover(titles[index])}, seed %{{customdata}}: %{{x:.1%}}<extra></extra>",
        )  # fmt: skip
        figure.add_scatter(
            x=[one.mean], y=[index], mode="markers", name="mean",
            marker={"size": 20, "symbol": "line-ns-open", "color": method_style.style.colour, "line": {"width": 2.5}},
            hovertemplate=f"{_escape_hover(titles[index])}, mean: %{{x:.1%}}<extra></extra>",
        )  # fmt: skip
    if not summaries:
        add_note(figure, "No run of this comparison has finished yet.")
    return figure


def draw_learning_rate_grid(grid: LearningRateGrid) -> go.Figure:
    """Draw test accuracy as a heat map, learning rates by seeds; a cross marks runs not better than zero-shot."""
    figure = empty_figure(height=90 + 44 * max(len(grid.learning_rates), 3))
    figure.update_layout(hovermode="closest")
    figure.update_xaxes(title={"text": "seed"}, type="category")
    figure.update_yaxes(title={"text": "learning rate"}, type="category")
    zero = grid.zero_shot
    texts = [[_cell_text(value, zero) for value in row] for row in grid.accuracies]
    known = [value for row in grid.accuracies for value in row if value is not None] or [0.0]
    figure.add_heatmap(
        zmin=min(known),
        zmax=max(*known, min(known) + 0.05),  # plotly would scale equal cells beyond 0 and 100 %
        z=[list(row) for row in grid.accuracies],
        x=[str(seed) for seed in grid.seeds],
        y=[f"{rate:g}" for rate in grid.learning_rates],
        text=texts,
        texttemplate="%{text}",
        colorscale="Cividis",
        colorbar={"tickformat": ".0%", "title": {"text": "test"}},
        hovertemplate="learning rate %{y}, seed %{x}: %{z:.1%}<extra></extra>",
    )
    if not any(value is not None for row in grid.accuracies for value in row):
        add_note(figure, "No run of this grid has finished yet.")
    return figure


def _cell_text(value: float | None, zero: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.0%}" + (" ✗" if zero is not None and value <= zero + 1e-9 else "")
