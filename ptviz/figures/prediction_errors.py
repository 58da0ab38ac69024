"""The errors of a run on its test examples: confusion matrix, reliability diagram, recall by class, score by length."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from ptviz.analysis.prediction_errors import Calibration, ClassScores, ConfusionMatrix, LengthGroup
from ptviz.figures.elements import (
    TOP_DOWN,
    add_line,
    add_note,
    add_points,
    axis,
    category_axis,
    empty_figure,
    error_bars,
    hatching,
)
from ptviz.figures.heatmap import add_cells
from ptviz.figures.style import GREY, PROMPT, escape_hover, escape_text
from ptviz.tasks.metrics import ACCURACY, Metric

WITHOUT = "without a prompt"
_MAX_NUMBERED = 16
"""Classes up to which each cell shows its count."""
_LONGEST_NAME = 22
_CLASS_TITLE = {"text": "class", "standoff": 12}
"""The title of the axis of classes, clear of their names."""
_ROW = 30
"""Pixels of a row of classes."""


def draw_confusion(matrix: ConfusionMatrix) -> go.Figure:
    """Draw the share of each class (row) that was predicted as each class (column), with the counts in the cells."""
    names = [escape_text(name, 40) for name in matrix.classes]
    figure = empty_figure(max(260, 130 + _ROW * len(names)), margin={"l": 56, "r": 16, "t": 16, "b": 90})
    if not matrix.counts.sum():
        return add_note(figure, "No predictions yet.")
    shares = matrix.shares
    hover = [
        [
            f"{escape_hover(right)} predicted as {escape_hover(guess)}: {matrix.counts[i, j]:,}"
            + ("" if np.isnan(shares[i, j]) else f" ({shares[i, j]:.1%} of its examples)")
            for j, guess in enumerate(names)
        ]
        for i, right in enumerate(names)
    ]
    numbered = len(names) <= _MAX_NUMBERED
    texts = [[f"{count:,}" if count else "" for count in row] for row in matrix.counts.tolist()]
    add_cells(
        figure,
        [[None if np.isnan(share) else share for share in row] for row in shares.tolist()],
        "share of the class",
        "%{hovertext}",
        hovertext=hover,
        text=texts if numbered else None,
        texttemplate="%{text}" if numbered else None,
        tickformat=".0%",
        gap=int(len(names) <= 40),
    )
    return figure.update_layout(
        xaxis=category_axis(matrix.classes, _LONGEST_NAME, "predicted class", automargin=True),
        yaxis=category_axis(matrix.classes, _LONGEST_NAME, title=_CLASS_TITLE, **TOP_DOWN),
    )


def describe_confusion(matrix: ConfusionMatrix) -> str:
    """Return the confusion matrix in words: how many are right, and the commonest confusions."""
    counts = matrix.counts
    total, right = int(counts.sum()), int(counts.diagonal().sum())
    if not total:
        return "Confusion matrix: no predictions yet."
    wrong = counts - np.diag(counts.diagonal())
    order = [divmod(int(at), len(matrix.classes)) for at in np.argsort(-wrong, axis=None, kind="stable")[:3]]
    common = [f"{matrix.classes[i]} predicted as {matrix.classes[j]} ({wrong[i, j]})" for i, j in order if wrong[i, j]]
    most = f" Most frequent confusions: {'; '.join(common)}." if common else ""
    return f"Confusion matrix of {len(matrix.classes)} classes: {right} of {total} examples are right.{most}"


def draw_calibration(calibrations: Sequence[tuple[str, Calibration]]) -> go.Figure:
    """Draw accuracy over confidence in bins (above), and how many examples each bin has (below).

    ``calibrations`` are (name, calibration), the first with the prompt. Bars are 95% intervals over examples.
    """
    figure = empty_figure(
        470,
        xaxis=axis("confidence: probability of the predicted class", range=[0, 1.02], tickformat=".0%", anchor="y2"),
        yaxis=axis("accuracy", range=[0, 1.03], tickformat=".0%", domain=[0.36, 1]),
        yaxis2=axis("examples", domain=[0, 0.26], rangemode="tozero"),
        barmode="group",
    )
    known = [(name, found) for name, found in calibrations if found.bins]
    if not known:
        return add_note(figure, "No predictions yet.")
    look = {"line_width": 1.5, "line_dash": "dash"}
    add_line(figure, [0, 1], [0, 1], "perfect calibration", "", GREY, **look)
    for index, (name, found) in enumerate(known):
        colour, dash, symbol = (PROMPT, "solid", "circle") if not index else (GREY, "dot", "square")
        x, y = [one.confidence for one in found.bins], [one.accuracy for one in found.bins]
        bars = error_bars([b.interval.low for b in found.bins], y, [b.interval.high for b in found.bins])
        counts = [one.count for one in found.bins]
        add_line(
            figure, x, y, name, "confidence %{x:.1%}, accuracy %{y:.1%}, %{customdata} examples", colour,
            mode="lines+markers", line_dash=dash, marker_size=8, marker_symbol=symbol, customdata=counts,
            error_y={**bars, "thickness": 1.2, "width": 3}, cliponaxis=False,
        )  # fmt: skip
        middles = [(one.low + one.high) / 2 for one in found.bins]
        figure.add_bar(
            x=middles, y=counts, yaxis="y2", name=f"examples {name}", showlegend=False, width=None,
            marker={"color": colour, "pattern": hatching("/" if index else "")},
            hovertemplate="%{y} examples, confidence about %{x:.0%}<extra></extra>",
        )  # fmt: skip
    return figure


def describe_calibration(calibrations: Sequence[tuple[str, Calibration]]) -> str:
    """Return the reliability diagram in words."""
    known = [(name, found) for name, found in calibrations if found.bins]
    if not known:
        return "Reliability diagram: no predictions yet."
    parts = [
        f"{name}: expected calibration error {found.error:.1%} "
        f"(a perfectly calibrated model on {found.count} examples: {found.perfect:.1%} on average)"
        for name, found in known
    ]
    return f"Reliability diagram with {known[0][1].number_of_bins} bins of equal width; {'; '.join(parts)}."


def draw_class_scores(classes: Sequence[ClassScores]) -> go.Figure:
    """Draw the recall of each class with the prompt (dot) and without one (square), joined by a line."""
    figure = empty_figure(
        max(220, 110 + _ROW * len(classes)),
        xaxis=axis("recall", range=[-0.02, 1.03], tickformat=".0%"),
        yaxis=category_axis([one.name for one in classes], _LONGEST_NAME, title=_CLASS_TITLE, **TOP_DOWN),
    )
    known = [(row, one) for row, one in enumerate(classes) if one.recall is not None]
    if not known:
        return add_note(figure, "No predictions yet.")
    both = [(row, one.recall, one.zero_shot_recall) for row, one in known if one.zero_shot_recall is not None]
    for row, recall, zero in both:
        add_line(figure, [zero, recall], [row, row], "", "", GREY, line_width=2, showlegend=False)
    if both:
        x, y = [zero for _, _, zero in both], [row for row, _, _ in both]
        add_points(figure, x, y, WITHOUT, "without: %{x:.1%}", GREY, marker_size=10, marker_symbol="square")
    hover = [
        f"{escape_hover(escape_text(one.name, 40))}: recall {one.recall:.1%}, precision "
        f"{'not defined' if one.precision is None else format(one.precision, '.1%')}, {one.support:,} examples"
        for _, one in known
    ]
    recalls, look = [one.recall for _, one in known], {"marker_size": 12, "hovertext": hover, "cliponaxis": False}
    add_points(figure, recalls, [row for row, _ in known], "with the prompt", "%{hovertext}", PROMPT, **look)
    return figure


def describe_class_scores(classes: Sequence[ClassScores]) -> str:
    """Return the recall by class in words: the best and the worst class."""
    known = [(one.recall, one) for one in classes if one.recall is not None]
    if not known:
        return "Recall by class: no predictions yet."
    (low, worst), (high, best) = min(known, key=lambda pair: pair[0]), max(known, key=lambda pair: pair[0])
    return (
        f"Recall of {len(known)} classes. Best {best.name}, {high:.1%} of {best.support} examples; worst {worst.name}, "
        f"{low:.1%} of {worst.support}."
    )


def draw_length_groups(groups: Sequence[LengthGroup], metric: Metric = ACCURACY) -> go.Figure:
    """Draw the mean score of the examples by their number of words, with 95% intervals over examples."""
    names = [length_range(group) for group in groups]
    figure = empty_figure(
        320,
        xaxis=category_axis([f"{name} ({g.count})" for name, g in zip(names, groups, strict=True)], 30,
                            "words in the text (examples)"),
        yaxis=axis(metric.noun, range=[min(0, metric.low), metric.high + 0.03], tickformat=metric.tick_format),
    )  # fmt: skip
    if not groups:
        return add_note(figure, "No predictions yet.")
    places = list(range(len(groups)))
    form = metric.value_format
    if any(group.zero_shot is not None for group in groups):
        zero, dashed = [group.zero_shot for group in groups], {"line_dash": "dot", "marker_symbol": "square"}
        look = {"mode": "lines+markers", "marker_size": 9, "cliponaxis": False}
        add_line(figure, places, zero, WITHOUT, f"without: %{{y:{form}}}", GREY, **look, **dashed)
    ends = [group.interval for group in groups]
    scores = [group.score for group in groups]
    bars = error_bars(
        [one.low if one else np.nan for one in ends], scores, [one.high if one else np.nan for one in ends]
    )
    add_line(
        figure, places, scores, "with the prompt", f"with: %{{y:{form}}}", PROMPT, mode="lines+markers", marker_size=10,
        error_y={**bars, "thickness": 1.2, "width": 3}, cliponaxis=False,
    )  # fmt: skip
    return figure


def length_range(group: LengthGroup) -> str:
    """Return the lengths of a group, as "4" or "4 to 7"."""
    return str(group.shortest) if group.shortest == group.longest else f"{group.shortest} to {group.longest}"


def describe_length_groups(groups: Sequence[LengthGroup], metric: Metric = ACCURACY) -> str:
    """Return the score by length in words."""
    if not groups:
        return f"{metric.title} by length: no predictions yet."
    parts = "; ".join(f"{length_range(one)} words {metric.format(one.score)} ({one.count} examples)" for one in groups)
    return f"{metric.title} by the number of words in the text: {parts}."
