"""Prompts that were pulled to a sentence: how much they read like it, against the accuracy that this costs."""

from __future__ import annotations

import plotly.graph_objects as go

from ptviz.analysis.waywardness import Waywardness
from ptviz.figures.style import GREY, PROMPT, canvas, note, plain


def draw_waywardness(found: Waywardness) -> go.Figure:
    """Prompt F1 to the right, the share of accuracy lost upwards: one mark a run, named by its gamma."""
    figure = canvas(340)
    figure.update_layout(
        xaxis={"title": {"text": "prompt F1: words shared with the sentence"}, "range": [-0.06, 1.08]},
        yaxis={"title": {"text": "accuracy lost"}, "tickformat": ".1%", "zeroline": False},
        hovermode="closest",
        showlegend=False,
    )
    if not found.places:
        return note(figure, "Needs a finished run without a pull, gamma 0, to compare with.")
    figure.add_scatter(
        x=[place.f1 for place in found.places],
        y=[place.drop for place in found.places],
        mode="markers+text",
        marker={
            "size": 12,
            "symbol": ["circle-open" if place.prompt.gamma == 0 else "diamond" for place in found.places],
            "color": PROMPT,
            "line": {"width": 2.5},
        },
        text=[f"{place.prompt.gamma:g}" for place in found.places],
        textposition="top center",
        customdata=[
            [plain(place.prompt.words, 80), plain(place.prompt.run), place.prompt.accuracy] for place in found.places
        ],
        name="prompts",
        hovertemplate="gamma %{text}: F1 %{x:.2f}, loses %{y:.1%} (accuracy %{customdata[2]:.1%})"
        "<br>%{customdata[0]}<br>%{customdata[1]}<extra></extra>",
    )
    figure.add_hline(y=0, line={"color": GREY, "width": 1.5, "dash": "dash"})
    return figure


def tell_waywardness(found: Waywardness) -> str:
    """The scatter in words."""
    if not found.places:
        return "Waywardness: no run without a pull to compare with yet."
    told = [f"gamma {p.prompt.gamma:g}: F1 {p.f1:.2f}, {p.drop:+.1%} of the accuracy lost" for p in found.places[:12]]
    return f"Prompts pulled to a sentence; without a pull the accuracy is {found.free:.1%}. " + "; ".join(told) + "."
