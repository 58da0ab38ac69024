"""How soon methods get near their own best: updates until 90 and 95 % of it, one line a method."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from ptviz.analysis.comparison import MethodSummary
from ptviz.figures.comparison import MethodStyle, MethodStyles
from ptviz.figures.style import add_note, category_axis, empty_figure


def draw_convergence(standings: Sequence[MethodSummary], looks: MethodStyles) -> go.Figure:
    """Means over seeds: an open mark at 90 % of a run's own best validation accuracy, a filled one at 95 %."""
    known = [one for one in standings if one.steps95 is not None]
    known.sort(key=lambda one: (one.steps95, one.steps90))
    figure = empty_figure(height=90 + 34 * max(len(known), 2))
    figure.update_layout(hovermode="closest", showlegend=False, margin={"l": 8})
    figure.update_xaxes(title={"text": "updates, through all stages"}, zeroline=False, rangemode="tozero")
    own = [looks.get(one.method, MethodStyle(one.method)) for one in known]
    axis = category_axis([look.title for look in own], 40)
    figure.update_yaxes(**axis, range=[len(known) - 0.4, -0.6], automargin=True)
    for place, (one, look) in enumerate(zip(known, own, strict=True)):
        symbol, colour = look.style.symbol, look.style.colour
        figure.add_scatter(
            x=[one.steps90, one.steps95], y=[place, place], mode="lines+markers", name=axis["ticktext"][place],
            line={"color": colour, "width": 2.5}, text=["90 %", "95 %"], customdata=[len(one.seeds)] * 2,
            marker={"size": 11, "color": colour, "symbol": [f"{symbol}-open", symbol], "line": {"width": 2}},
            hovertemplate="%{text} of its own best after %{x:,.0f} updates, mean of %{customdata} seeds<extra></extra>",
        )  # fmt: skip
    if not known:
        add_note(figure, "No finished run was evaluated on the way.")
    return figure
