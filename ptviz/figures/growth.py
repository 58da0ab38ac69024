"""Growth of a training step as small multiples: one panel per size, seconds above and memory below."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from ptviz.analysis.growth import GROWTH_SIZES, GrowthPoint
from ptviz.figures.elements import add_line, axis, empty_figure
from ptviz.figures.style import GREY, PROMPT

_GAP = 0.06
_MEASURES = (("ours_seconds", "peft_seconds", "seconds a step"), ("ours_peak_mb", "peft_peak_mb", "peak memory (MB)"))


def draw_growth(points: Sequence[GrowthPoint]) -> go.Figure:
    """Draw time and memory of a step over each size, of ptviz (filled marks) and PEFT (open); both axes logarithmic."""
    figure = empty_figure(460, margin={"l": 64, "t": 40})
    width = (1 - _GAP * (len(GROWTH_SIZES) - 1)) / len(GROWTH_SIZES)
    for row, (ours, peft, title) in enumerate(_MEASURES):
        for column, size in enumerate(GROWTH_SIZES):
            number = row * len(GROWTH_SIZES) + column + 1
            own = sorted((point for point in points if point.size == size), key=lambda point: point.value)
            x = [point.value for point in own]
            place = {"xaxis": f"x{number}", "yaxis": f"y{number}", "showlegend": number == 1, "mode": "lines+markers"}
            for name, field, colour, symbol in (("ptviz", ours, PROMPT, "circle"), ("PEFT", peft, GREY, "circle-open")):
                y = [getattr(point, field) for point in own]
                add_line(figure, x, y, name, "%{y:.3g}", colour, legendgroup=name, marker_symbol=symbol, **place)
            left = column * (width + _GAP)
            figure.layout[f"xaxis{number}"] = axis(
                size if row else "", type="log", domain=[left, left + width], anchor=f"y{number}", tickvals=x
            )
            figure.layout[f"yaxis{number}"] = axis(
                "" if column else title, type="log", anchor=f"x{number}", matches=f"y{row * len(GROWTH_SIZES) + 1}",
                domain=[0, 0.44] if row else [0.56, 1], showticklabels=not column,
            )  # fmt: skip
    return figure
