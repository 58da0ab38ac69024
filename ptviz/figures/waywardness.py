"""Waywardness: F1 of a prompt's nearest words with a sentence, against the score lost."""

from __future__ import annotations

import plotly.graph_objects as go

from ptviz.analysis.waywardness import Waywardness
from ptviz.figures.elements import add_note, add_points, axis, empty_figure
from ptviz.figures.style import GREY, escape_text
from ptviz.tasks.metrics import ACCURACY, Metric


def draw_waywardness(found: Waywardness, metric: Metric = ACCURACY) -> go.Figure:
    """Draw prompt F1 (x) against the relative drop of the score (y), one point per run, labelled with its gamma."""
    across = axis("prompt F1: words shared with the sentence", range=[-0.06, 1.08], zeroline=None)
    figure = empty_figure(340, xaxis=across, yaxis=axis(f"{metric.noun} lost", tickformat=".1%"), showlegend=False)
    if not found.points:
        return add_note(figure, "Needs a finished run with gamma 0 to compare with.")
    runs = [point.run for point in found.points]
    look = {"mode": "markers+text", "marker_size": 12, "marker_line_width": 2.5, "textposition": "top center"}
    look["marker_symbol"] = ["circle-open" if run.gamma == 0 else "diamond" for run in runs]
    look["text"] = [f"{run.gamma:g}" for run in runs]
    look["customdata"] = [[escape_text(run.nearest_words, 80), escape_text(run.run), run.accuracy] for run in runs]
    hover = f"gamma %{{text}}: F1 %{{x:.2f}}, loses %{{y:.1%}} ({metric.noun} %{{customdata[2]:{metric.value_format}}})"
    hover += "<br>%{customdata[0]}<br>%{customdata[1]}"
    x, y = [point.f1 for point in found.points], [point.accuracy_drop for point in found.points]
    add_points(figure, x, y, "prompts", hover, **look)
    return figure.add_hline(y=0, line={"color": GREY, "width": 1.5, "dash": "dash"})


def describe_waywardness(found: Waywardness, metric: Metric = ACCURACY) -> str:
    """Describe the scatter: F1 and drop of the score by gamma."""
    if not found.points:
        return "Waywardness: no run with gamma 0 to compare with yet."
    described = [
        f"gamma {p.run.gamma:g}: F1 {p.f1:z.2f}, {p.accuracy_drop:+.1%} of the {metric.noun} lost"
        for p in found.points[:12]
    ]
    unconstrained = metric.format(found.unconstrained_accuracy or 0.0)
    return (
        f"Prompts pulled to a sentence; with gamma 0 the {metric.noun} is {unconstrained}. "
        + "; ".join(described)
        + "."
    )
