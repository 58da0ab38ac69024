"""Prompts that were pulled to a sentence: how much they read like it, against the accuracy that this costs."""

from __future__ import annotations

import plotly.graph_objects as go

from ptviz.analysis.waywardness import Waywardness
from ptviz.figures.style import GREY, PROMPT, add_note, empty_figure, escape_text


def draw_waywardness(found: Waywardness) -> go.Figure:
    """Prompt F1 to the right, the share of accuracy lost upwards: one mark a run, named by its gamma."""
    figure = empty_figure(340)
    figure.update_layout(
        xaxis={"title": {"text": "prompt F1: words shared with the sentence"}, "range": [-0.06, 1.08]},
        yaxis={"title": {"text": "accuracy lost"}, "tickformat": ".1%", "zeroline": False},
        hovermode="closest",
        showlegend=False,
    )
    if not found.points:
        return add_note(figure, "Needs a finished run without a pull, gamma 0, to compare with.")
    figure.add_scatter(
        x=[place.f1 for place in found.points],
        y=[place.accuracy_drop for place in found.points],
        mode="markers+text",
        marker={
            "size": 12,
            "symbol": ["circle-open" if place.run.gamma == 0 else "diamond" for place in found.points],
            "color": PROMPT,
            "line": {"width": 2.5},
        },
        text=[f"{place.run.gamma:g}" for place in found.points],
        textposition="top center",
        customdata=[
            [escape_text(place.run.nearest_words, 80), escape_text(place.run.run), place.run.accuracy]
            for place in found.points
        ],
        name="prompts",
        hovertemplate="gamma %{text}: F1 %{x:.2f}, loses %{y:.1%} (accuracy %{customdata[2]:.1%})"
        "<br>%{customdata[0]}<br>%{customdata[1]}<extra></extra>",
    )
    figure.add_hline(y=0, line={"color": GREY, "width": 1.5, "dash": "dash"})
    return figure


def describe_waywardness(found: Waywardness) -> str:
    """The scatter in words."""
    if not found.points:
        return "Waywardness: no run without a pull to compare with yet."
    told = [
        f"gamma {p.run.gamma:g}: F1 {p.f1:.2f}, {p.accuracy_drop:+.1%} of the accuracy lost" for p in found.points[:12]
    ]
    return (
        f"Prompts pulled to a sentence; without a pull the accuracy is {found.unconstrained_accuracy:.1%}. "
        + "; ".join(told)
        + "."
    )
