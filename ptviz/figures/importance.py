"""The importance of each prompt token as bars: loss and score without it, and its first-order score."""

from __future__ import annotations

import plotly.graph_objects as go

from ptviz.analysis.importance import TokenImportance
from ptviz.figures.elements import add_note, add_text, axis, cell_axis, empty_figure
from ptviz.figures.style import BLUE, GREY, ORANGE, PROMPT
from ptviz.tasks.metrics import ACCURACY, Metric


def draw_importance(found: TokenImportance, metric: Metric = ACCURACY) -> go.Figure:
    """Draw three bar charts over the prompt tokens: loss increase (nats), change of the metric, score (nats)."""
    figure = empty_figure(470)
    if not len(found.tokens):
        return add_note(figure, "No token measured yet.")
    tokens = found.tokens.tolist()
    # Orange where removing the token is worse, in both charts; blue where it is better.
    increases, changes = found.loss_increases, (100 if metric.unit else 1) * found.accuracy_changes
    change = "%{y:+.1f} points" if metric.unit else "%{y:+.2f}"
    rows = [
        ("y", "loss without it", increases, increases >= 0, "loss increase: %{y:+.3~r} nats"),
        ("y2", f"{metric.noun} without it", changes, changes <= 0, f"{metric.noun}: {change}"),
    ]
    for up, name, values, worse, hover in rows:
        colours, template = [PROMPT if bad else BLUE for bad in worse], f"token %{{x}}, {hover}<extra></extra>"
        figure.add_bar(x=tokens, y=values, yaxis=up, name=name, marker_color=colours, hovertemplate=template)
    if found.scores is not None:
        marker = {"color": ORANGE, "pattern": {"shape": "/", "fgcolor": GREY}}
        template, name = "token %{x}, first-order score: %{y:.3~r} nats<extra></extra>", "first-order score"
        figure.add_bar(x=tokens, y=found.scores, yaxis="y3", name=name, marker=marker, hovertemplate=template)
    else:
        at = {"xref": "paper", "yref": "paper", "font": {"color": GREY}}
        add_text(figure, "no first-order score measured", 0.5, 0.14, **at)
    ticks = {"dtick": 1} if len(tokens) <= 20 else {"tickformat": "d"}
    return figure.update_layout(
        xaxis=cell_axis("prompt token", anchor="free", position=0, **ticks),
        yaxis=axis("loss (nats)", domain=[0.70, 1.0], zeroline=True),
        yaxis2=axis(f"{metric.noun} (points)" if metric.unit else metric.noun, domain=[0.36, 0.64], zeroline=True),
        yaxis3=axis("score (nats)", domain=[0.0, 0.28], zeroline=True),
        showlegend=False,
    )


def describe_importance(found: TokenImportance, metric: Metric = ACCURACY) -> str:
    """Describe the importance: the most and least important token, harmful tokens, agreement with the score."""
    if not len(found.tokens):
        return "No prompt token was measured yet."
    worst, best = int(found.loss_increases.argmax()), int(found.loss_increases.argmin())
    described = (
        f"{len(found.tokens)} prompt tokens removed one at a time. The loss rises most without token "
        f"{found.tokens[worst]}, by {found.loss_increases[worst]:+.3g} nats ({metric.noun} "
        f"{metric.format_change(found.accuracy_changes[worst])})"
    )
    described += f", and least without token {found.tokens[best]}, by {found.loss_increases[best]:+.3g} nats."
    harmful = int((found.loss_increases < 0).sum())
    described += f" {harmful} of them do harm: the loss falls without them." if harmful else " None of them does harm."
    if found.scores is not None:
        described += f" The first-order score is largest for token {found.tokens[int(found.scores.argmax())]}."
    if found.rank_correlation is not None:
        described += f" Rank correlation between the score and the measured change: {found.rank_correlation:z.2f}."
    return described
