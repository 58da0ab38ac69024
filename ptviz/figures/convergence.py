"""Convergence of methods: updates until 90 and 95% of a run's own best validation accuracy."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from ptviz.analysis.comparison import MethodSummary
from ptviz.figures.comparison import MethodStyle, MethodStyles
from ptviz.figures.elements import add_line, add_note, axis, category_axis, empty_figure


def draw_convergence(summaries: Sequence[MethodSummary], styles: MethodStyles) -> go.Figure:
    """Draw one line per method: the mean updates until 90% (open marker) and 95% (filled) of its runs' own best."""
    known = [one for one in summaries if one.steps95 is not None]
    known.sort(key=lambda one: (one.steps95, one.steps90))
    own = [styles.get(one.method, MethodStyle(one.method)) for one in known]
    names = category_axis([style.title for style in own], 40, range=[len(known) - 0.4, -0.6], automargin=True)
    figure = empty_figure(
        90 + 34 * max(len(known), 2),
        showlegend=False,
        margin={"l": 8},
        xaxis=axis("updates, through all stages", rangemode="tozero"),
        yaxis=names,
    )
    hover = "%{text} of its own best after %{x:,.0f} updates, mean of %{customdata} seeds"
    for index, (one, style) in enumerate(zip(known, own, strict=True)):
        symbol, colour = style.style.symbol, style.style.colour
        more = {"mode": "lines+markers", "text": ["90%", "95%"], "customdata": [one.seed_count] * 2}
        marker = {"size": 11, "color": colour, "symbol": [f"{symbol}-open", symbol], "line": {"width": 2}}
        x, name = [one.steps90, one.steps95], names["ticktext"][index]
        add_line(figure, x, [index, index], name, hover, colour, marker=marker, **more)
    return figure if known else add_note(figure, "No finished run was evaluated during training.")
