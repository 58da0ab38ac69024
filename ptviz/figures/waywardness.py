"""Waywardness: F1 of a prompt's nearest words with a sentence, against the accuracy lost."""

from __future__ import annotations

import plotly.graph_objects as go

from ptviz.analysis.waywardness import Waywardness
from ptviz.figures.style import GREY, PROMPT, add_note, empty_figure, escape_text


def draw_waywardness(found: Waywardness) -> go.Figure:
    """Draw prompt F1 (x) against the relative accuracy drop (y), one point per run, labelled with its gamma."""
    figure = empty_figure(340)
    figure.update_layout(
        xaxis={"title": {"text": "prompt F1: words shared with the sentence"}, "range": [-0.06, 1.08]},
        yaxis={"title": {"text": "accuracy lost"}, "tickformat": ".1%", "zeroline": False},
        hovermode="closest",
        showlegend=False,
    )
    if not found.points:
        return add_note(figure, "Needs a finished run with gamma 0 to compare with.")
    figure.add_scatter(
        x=[point.f1 for point in found.points],
        y=[point.accuracy_drop for point in found.points],
        mode="markers+text",
        marker={
            "size": 12,
            "symbol": ["circle-open" if point.run.gamma == 0 else "diamond" for point in found.points],
            "color": PROMPT,
            "line": {"width": 2.5},
        },
        text=[f"{point.run.gamma:g}" for point in found.points],
        textposition="top center",
        customdata=[
            [escape_text(point.run.nearest_words, 80), escape_text(point.run.run), point.run.accuracy]
            for point in found.points
        ],
        name="prompts",
        hovertemplate="gamma %{text}: F1 %{x:.2f}, loses %{y:.1%} (accuracy %{customdata[2]:.1%})"
        "<br>%{customdata[0]}<br>%{customdata[1]}<extra></extra>",
    )
    figure.add_hline(y=0, line={"color": GREY, "width": 1.5, "dash": "dash"})
    return figure


def describe_waywardness(found: Waywardness) -> str:
    """Describe the scatter: F1 and accuracy drop by gamma."""
    if not found.points:
        return "Waywardness: no run with gamma 0 to compare with yet."
    described = [
        f"gamma {p.run.gamma:g}: F1 {p.f1:.2f}, {p.accuracy_drop:+.1%} of the accuracy lost" for p in found.points[:12]
    ]
    return (
        f"Prompts pulled to a sentence; with gamma 0 the accuracy is {found.unconstrained_accuracy:.1%}. "
        + "; ".join(described)
        + "."
    )
