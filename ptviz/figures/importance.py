"""The importance of each prompt token as bars: loss and accuracy without it, and its first-order score."""

from __future__ import annotations

import plotly.graph_objects as go

from ptviz.analysis.importance import TokenImportance
from ptviz.figures.style import BLUE, GREY, ORANGE, PROMPT, add_note, empty_figure


def draw_importance(found: TokenImportance) -> go.Figure:
    """Draw three bar charts over the prompt tokens: loss increase (nats), accuracy change (points), score (nats)."""
    figure = empty_figure(470)
    if not len(found.tokens):
        return add_note(figure, "No token measured yet.")
    tokens = found.tokens.tolist()
    rows = [
        ("y", "loss without it", found.loss_increases, "loss increase: %{y:+.3g} nats"),
        ("y2", "accuracy without it", 100 * found.accuracy_changes, "accuracy: %{y:+.1f} points"),
    ]
    for axis, name, values, hover in rows:
        # Orange where removing the token is worse, in both charts; blue where it is better.
        worse = values >= 0 if axis == "y" else values <= 0
        figure.add_bar(
            x=tokens, y=values, yaxis=axis, name=name, marker={"color": [PROMPT if bad else BLUE for bad in worse]},
            hovertemplate=f"token %{{x}}, {hover}<extra></extra>",
        )  # fmt: skip
    if found.scores is not None:
        figure.add_bar(
            x=tokens, y=found.scores, yaxis="y3", name="first-order score",
            marker={"color": ORANGE, "pattern": {"shape": "/", "fgcolor": GREY}},
            hovertemplate="token %{x}, first-order score: %{y:.3g} nats<extra></extra>",
        )  # fmt: skip
    titles = ("loss (nats)", "accuracy (points)", "score (nats)")
    spans = ([0.70, 1.0], [0.36, 0.64], [0.0, 0.28])
    axes = {
        f"yaxis{'' if i == 0 else i + 1}": {"title": {"text": title}, "domain": span, "zeroline": True}
        for i, (title, span) in enumerate(zip(titles, spans, strict=True))
    }
    figure.update_layout(
        xaxis={
            "title": {"text": "prompt token"},
            "anchor": "free",
            "position": 0,
            "showgrid": False,
            "zeroline": False,
            **({"dtick": 1} if len(tokens) <= 20 else {"tickformat": "d"}),
        },
        **axes,
        hovermode="closest",
        showlegend=False,
    )
    if found.scores is None:
        figure.add_annotation(
            text="no first-order score measured", x=0.5, y=0.14, xref="paper", yref="paper", showarrow=False,
            font={"color": GREY},
        )  # fmt: skip
    return figure


def describe_importance(found: TokenImportance) -> str:
    """Describe the importance: the most and least important token, harmful tokens, agreement with the score."""
    if not len(found.tokens):
        return "No prompt token was measured yet."
    worst, best = int(found.loss_increases.argmax()), int(found.loss_increases.argmin())
    described = (
        f"{len(found.tokens)} prompt tokens removed one at a time. The loss rises most without token "
        f"{found.tokens[worst]}, by {found.loss_increases[worst]:+.3g} nats (accuracy "
        f"{100 * found.accuracy_changes[worst]:+.1f} points)"
    )
    described += f", and least without token {found.tokens[best]}, by {found.loss_increases[best]:+.3g} nats."
    harmful = int((found.loss_increases < 0).sum())
    described += f" {harmful} of them do harm: the loss falls without them." if harmful else " None of them does harm."
    if found.scores is not None:
        described += f" The first-order score is largest for token {found.tokens[int(found.scores.argmax())]}."
    if found.rank_correlation is not None:
        described += f" Rank correlation between the score and the measured change: {found.rank_correlation:.2f}."
    return described
