"""Replicated findings as a forest plot: the mean difference of each comparison with its interval."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from ptviz.analysis.statistics import Verdict
from ptviz.figures.elements import add_line, add_note, add_points, axis, cell_axis, empty_figure, error_bars
from ptviz.figures.style import GREEN, GREY, VERMILLION, escape_hover, escape_text

VERDICT_STYLES: dict[Verdict, tuple[str, str]] = {
    "holds": (GREEN, "circle"),
    "does not hold": (VERMILLION, "x"),
    "unclear": (GREY, "circle-open"),
}
"""Colour and symbol of each verdict."""
_ROW_HEIGHT = 52
_LINE_LENGTH = 52
"""Characters of a name on one line of a phone."""


@dataclass(frozen=True)
class FindingRow:
    """One comparison: what it claims, its mean difference and interval in points, and its verdict.

    A positive difference supports the claim, down to ``-margin``. Unknown ends of the interval are NaN.
    """

    label: str
    mean: float
    low: float
    high: float
    seeds: int
    verdict: Verdict
    margin: float = 0.0


def draw_findings(rows: Sequence[FindingRow]) -> go.Figure:
    """Draw one line per comparison below its name; the dashed line is no difference, a short one the claim's margin."""
    figure = empty_figure(
        100 + _ROW_HEIGHT * max(len(rows), 2),
        margin={"l": 8},
        xaxis=axis("points in favour of the claim", zeroline=False),
        yaxis=cell_axis(range=[len(rows) - 0.4, -0.8], showticklabels=False),
    )
    if not rows:
        return add_note(figure, "Nothing was measured yet.")
    add_line(figure, [0, 0], [-0.6, len(rows) - 0.4], "no difference", "", GREY, line_width=1.5, line_dash="dash")
    for verdict, (colour, symbol) in VERDICT_STYLES.items():
        own = [(index, row) for index, row in enumerate(rows) if row.verdict == verdict]
        if not own:
            continue
        bars = error_bars(
            [row.low for _, row in own], [row.mean for _, row in own], [row.high for _, row in own],
            color=colour, thickness=1.6, width=4,
        )  # fmt: skip
        hover = [
            f"{escape_hover(row.label)}: {row.mean:+.1f} points ({row.low:+.1f} to {row.high:+.1f}), {row.seeds} seeds"
            for _, row in own
        ]
        add_points(
            figure, [row.mean for _, row in own], [index for index, _ in own], verdict, "%{text}", colour,
            text=hover, error_x=bars, marker_symbol=symbol, marker_size=10,
        )  # fmt: skip
    for index, row in enumerate(rows):
        # Above its line and not beside it: a phone has room for the whole name there.
        figure.add_annotation(
            text=_wrap(row.label), x=0, xref="paper", xanchor="left", y=index - 0.12, yanchor="bottom", align="left",
            showarrow=False, font={"size": 11},
        )  # fmt: skip
        if row.margin:
            ends = [index - 0.1, index + 0.3]
            add_line(figure, [-row.margin] * 2, ends, "margin of the claim", "", GREY, line_width=2, showlegend=False)
    return figure


def _wrap(label: str) -> str:
    lines = textwrap.wrap(label, _LINE_LENGTH, max_lines=2, placeholder=" …")
    return "<br>".join(escape_text(line, _LINE_LENGTH) for line in lines)
