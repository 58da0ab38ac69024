"""A race in pictures: curves with seed bands, accuracy against cost, spread over seeds, and a grid of rates and seeds.

Methods are drawn by their ``MethodStyle``: a title and a mark that is the same on every page.
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
    "trained": "parameters trained",
    "seconds": "seconds of training",
    "memory": "peak memory (MB)",
    "length": "effective prompt length (positions)",
    "size": "size of the result's file (MB)",
}
"""What accuracy can be drawn against: attributes of ``MethodSummary`` and the words for them."""
_LOGARITHMIC_COSTS = ("trained", "seconds", "size")
_MAX_LABELS = 18
"""So many points are labelled at most; of more, only those that nothing beats."""
_MANY_CURVES = 8
"""Above so many curves in one picture, the bands of seeds are fainter."""
_PANEL_HEIGHT = 190
"""Height of one row of small multiples in pixels, above the axis."""


@dataclass(frozen=True)
class MethodStyle:
    """How a method is shown: its title, and its mark."""

    title: str
    style: SeriesStyle = field(default_factory=SeriesStyle)


MethodStyles = Mapping[str, MethodStyle]


def _style_of(looks: MethodStyles, method: str) -> MethodStyle:
    return looks.get(method, MethodStyle(method))


def _with_alpha(colour: str, alpha: float) -> str:
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha})"


def draw_seed_bands(
    bands: Sequence[SeedBand], looks: MethodStyles, zero_shot: float | None = None, *, loss: bool = False
) -> go.Figure:
    """Validation accuracy of all methods over steps: means as lines, lowest to highest seed as bands.

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
        look = _style_of(looks, band.method)
        _draw_seed_band(figure, band, look, {}, legend=True, form=".3f" if loss else ".1%", alpha=alpha)
    _draw_zero_shot_line(figure, bands, zero_shot, {})
    if zero_shot is not None and any(band.steps for band in bands):
        figure.add_annotation(
            x=1, xref="paper", y=zero_shot, text="zero-shot", showarrow=False, xanchor="right", yshift=9,
            font={"size": 12},
        )  # fmt: skip
    if not any(band.steps for band in bands):
        add_note(figure, "No run of this race has been evaluated yet.")
    return figure


def _draw_seed_band(
    figure: go.Figure,
    band: SeedBand,
    look: MethodStyle,
    axes: Mapping[str, str],
    legend: bool,
    form: str = ".1%",
    alpha: float = 0.14,
) -> None:
    title = escape_text(look.title, 40)
    group = {"legendgroup": band.method, **axes}
    if band.seeds > 1:
        figure.add_scatter(
            x=[*band.steps, *reversed(band.steps)],
            y=[*band.high, *reversed(band.low)],
            fill="toself",
            fillcolor=_with_alpha(look.style.colour, alpha),
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
        line={"color": look.style.colour, "width": 2.2, "dash": look.style.dash},
        marker={"size": 6, "symbol": look.style.symbol},
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
    bands: Sequence[SeedBand], looks: MethodStyles, zero_shot: float | None = None, columns: int = 4
) -> go.Figure:
    """The same curves, one small panel a method, all on the same axes."""
    columns = max(1, min(columns, len(bands)))
    rows = max(1, -(-len(bands) // columns))
    figure = empty_figure(height=80 + _PANEL_HEIGHT * rows)
    figure.update_layout(hovermode="closest", margin={"t": 28})
    known = [level for band in bands for level in (*band.low, *band.high)] + ([zero_shot] if zero_shot else [])
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    end = max([1, *(band.steps[-1] for band in bands if band.steps)])
    width, height = 1 / columns, 1 / rows
    for place, band in enumerate(bands):
        row, column = divmod(place, columns)
        axes = {"xaxis": _axis_name("x", place), "yaxis": _axis_name("y", place)}
        left, top = column * width, 1 - row * height
        suffix = str(place + 1) if place else ""
        below = place + columns >= len(bands)
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
        look = _style_of(looks, band.method)
        _draw_seed_band(figure, band, look, axes, legend=False)
        _draw_zero_shot_line(figure, [band], zero_shot, axes)
        figure.add_annotation(
            text=f"<b>{escape_text(look.title, 24)}</b>", xref=f"{axes['xaxis']} domain",
            yref=f"{axes['yaxis']} domain",
            x=0, y=1.02, xanchor="left", yanchor="bottom", showarrow=False, font={"size": 12},
        )  # fmt: skip
    if not bands:
        add_note(figure, "Choose methods to let them race.")
    return figure


def _axis_name(letter: str, place: int) -> str:
    return letter if place == 0 else f"{letter}{place + 1}"


def cost_value(standing: MethodSummary, cost: str) -> float | None:
    """One of ``COST_LABELS`` of a method, in the unit of its axis."""
    value: float | None = getattr(standing, cost)
    return value / 2**20 if cost in ("memory", "size") and value is not None else value


def draw_pareto_front(standings: Sequence[MethodSummary], cost: str, looks: MethodStyles) -> go.Figure:
    """Test accuracy against a cost of ``COST_LABELS``, with the methods that nothing beats in both joined by a line."""
    figure, logarithmic = empty_figure(height=420), cost in _LOGARITHMIC_COSTS
    figure.update_layout(hovermode="closest", showlegend=False)
    figure.update_xaxes(title={"text": COST_LABELS[cost]}, zeroline=False)
    figure.update_yaxes(title={"text": "test accuracy (mean over seeds)"}, **ACCURACY_AXIS)
    known = [
        one for one in standings if (value := cost_value(one, cost)) is not None and (value > 0 or not logarithmic)
    ]
    if logarithmic:
        # Left alone, plotly shortens the ticks between powers of ten to their first digit.
        ticks = log_ticks([cost_value(one, cost) or 1.0 for one in known])
        figure.update_xaxes(type="log", tickvals=ticks, ticktext=[_format_tick(tick) for tick in ticks])
    best = pareto_front([cost_value(one, cost) for one in known], [one.mean for one in known])
    figure.add_scatter(
        x=[cost_value(known[place], cost) for place in best],
        y=[known[place].mean for place in best],
        mode="lines",
        line={"color": GREY, "width": 2, "shape": "hv"},
        name="nothing here is cheaper and better",
        hoverinfo="skip",
    )
    for one in known:
        look = _style_of(looks, one.method)
        title = escape_text(look.title, 40)
        span = one.interval
        figure.add_scatter(
            x=[cost_value(one, cost)],
            y=[one.mean],
            error_y={
                "type": "data", "symmetric": False, "array": [span.high - one.mean], "color": look.style.colour,
                "arrayminus": [one.mean - span.low], "thickness": 1.2, "width": 3,
            } if span else None,
            mode="markers",
            marker={"size": 12, "symbol": look.style.symbol, "color": look.style.colour},
            name=title,
            hovertemplate=f"{_escape_hover(title)}<br>{COST_LABELS[cost]} %{{x:,.4~g}}<br>test %{{y:.1%}}<extra></extra>",
        )  # fmt: skip
    _draw_labels(figure, known, range(len(known)) if len(known) <= _MAX_LABELS else best, cost, looks)
    if not known:
        add_note(figure, "No finished run tells this yet.")
    return figure


def log_ticks(values: Sequence[float]) -> list[float]:
    """Round values for a logarithmic axis, so few that their words do not touch."""
    low, high = _log10(min(values, default=1.0)), _log10(max(values, default=1.0))
    decades = high - low
    digits = range(1, 10) if decades < 0.7 else (1, 2, 5) if decades < 2 else (1, 3) if decades < 4 else (1,)
    return [digit * 10.0**power for power in range(floor(low) - 1, ceil(high) + 2) for digit in digits]


def _format_tick(tick: float) -> str:
    return f"{tick:,.0f}" if tick >= 1 else f"{tick:g}"


def _draw_labels(
    figure: go.Figure, known: Sequence[MethodSummary], named: Sequence[int], cost: str, looks: MethodStyles
) -> None:
    """Titles beside some of the points, where they cover nothing."""
    # On a logarithmic axis plotly wants the exponent here, though not in traces.
    across = [_log10(x) if cost in _LOGARITHMIC_COSTS else x for x in (cost_value(one, cost) or 0 for one in known)]
    up = [one.mean for one in known]
    shares = list(zip(_axis_fractions(across), _axis_fractions(up), strict=True))
    order = [*named, *(place for place in range(len(known)) if place not in named)]
    titles = [escape_text(_style_of(looks, known[place].method).title, 26) for place in named]
    found = place_labels([shares[place] for place in order], titles)
    for place, title, at in zip(named, titles, found, strict=True):
        figure.add_annotation(
            x=across[place], y=up[place], text=title, showarrow=False, xanchor=at.anchor, xshift=at.dx,
            yshift=at.dy, font={"size": 12},
        )  # fmt: skip


def _axis_fractions(values: Sequence[float]) -> list[float]:
    """Values as shares of the axis that plotly will make for them."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    return [0.05 + 0.9 * (value - low) / ((high - low) or 1.0) for value in values]


def _log10(value: float) -> float:
    return log10(value) if value > 0 else 0.0


def draw_seed_spread(standings: Sequence[MethodSummary], looks: MethodStyles) -> go.Figure:
    """Every seed's test accuracy as a point, one line a method, best mean on top; a tick at the mean, the interval."""
    figure = empty_figure(height=90 + 34 * max(len(standings), 2))
    titles = [escape_text(_style_of(looks, one.method).title, 40) for one in standings]
    figure.update_layout(hovermode="closest", showlegend=False, margin={"l": 8})
    figure.update_xaxes(title={"text": "test accuracy, one point a seed"}, **ACCURACY_AXIS)
    figure.update_yaxes(
        tickvals=list(range(len(titles))), ticktext=titles, range=[len(titles) - 0.4, -0.6], zeroline=False,
        automargin=True,
    )  # fmt: skip
    for place, one in enumerate(standings):
        look = _style_of(looks, one.method)
        if one.interval:
            figure.add_scatter(
                x=[one.interval.low, one.interval.high], y=[place, place], mode="lines", hoverinfo="skip",
                line={"color": _with_alpha(look.style.colour, 0.35), "width": 8}, name=f"{titles[place]}, 95 % interval",
            )  # fmt: skip
        figure.add_scatter(
            x=one.tests, y=[place] * len(one.tests), mode="markers", customdata=one.seeds, name=titles[place],
            marker={"size": 9, "symbol": look.style.symbol, "color": look.style.colour, "opacity": 0.85},
            hovertemplate=f"{_escape_hover(titles[place])}, seed %{{customdata}}: %{{x:.1%}}<extra></extra>",
        )  # fmt: skip
        figure.add_scatter(
            x=[one.mean], y=[place], mode="markers", name="mean",
            marker={"size": 20, "symbol": "line-ns-open", "color": look.style.colour, "line": {"width": 2.5}},
            hovertemplate=f"{_escape_hover(titles[place])}, mean: %{{x:.1%}}<extra></extra>",
        )  # fmt: skip
    if not standings:
        add_note(figure, "No run of this race has finished yet.")
    return figure


def draw_learning_rate_grid(grid: LearningRateGrid) -> go.Figure:
    """Test accuracy as a heat map, learning rates against seeds; a cross where a run does not beat zero-shot."""
    figure = empty_figure(height=90 + 44 * max(len(grid.learning_rates), 3))
    figure.update_layout(hovermode="closest")
    figure.update_xaxes(title={"text": "seed"}, type="category")
    figure.update_yaxes(title={"text": "learning rate"}, type="category")
    zero = grid.zero_shot
    texts = [[_cell_text(value, zero) for value in row] for row in grid.accuracies]
    known = [value for row in grid.accuracies for value in row if value is not None] or [0.0]
    figure.add_heatmap(
        zmin=min(known),
        zmax=max(*known, min(known) + 0.05),  # equal cells would otherwise get a scale beyond 0 and 100 %
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
