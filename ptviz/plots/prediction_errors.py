"""The errors of a run's best prompt on its test examples, and what the prompt changed against zero-shot."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import plotly.graph_objects as go

from ptviz.analysis.prediction_errors import (
    CALIBRATION_BINS,
    LENGTH_GROUPS,
    Calibration,
    ClassScores,
    ConfusionMatrix,
    LengthGroup,
    PromptChanges,
    compute_calibration,
    count_changes,
    count_confusions,
    group_by_words,
    score_classes,
)
from ptviz.figures.prediction_errors import (
    WITHOUT,
    describe_calibration,
    describe_class_scores,
    describe_confusion,
    describe_length_groups,
    draw_calibration,
    draw_class_scores,
    draw_confusion,
    draw_length_groups,
)
from ptviz.plots.alt_text import with_alt
from ptviz.plots.predictions import Rows, class_names, has_zero_shot, read_predictions
from ptviz.plots.run_argument import RunOrId, get_run
from ptviz.runs import StoreError
from ptviz.tasks.metrics import ACCURACY, Metric

_SCORE_CHANGES = {"higher": "fixed", "lower": "broken"}
"""What the changes of rows are called where texts have scores, which rise or fall without being right or wrong."""


def plot_confusion(run: RunOrId, *, zero_shot: bool = False) -> go.Figure:
    """Draw which classes a finished run's best prompt confuses on the test examples; those without it if ``zero_shot``.

    Rows are the classes of the examples, columns the predicted ones; colours are shares of a row.

    Raises:
        ValueError: if the run's task has no classes, or the run has several tasks: ``RUN@TASK`` names one.
        StoreError: if the run has no predictions, or none without the prompt.
    """
    matrix = _load_confusion(run, zero_shot=zero_shot)
    which = "Without a prompt. " if zero_shot else ""
    return with_alt(draw_confusion(matrix), f"{which}{describe_confusion(matrix)}")


def plot_calibration(run: RunOrId, *, bins: int = CALIBRATION_BINS) -> go.Figure:
    """Draw the reliability diagram of a finished run on its test examples, with and without the prompt.

    It compares confidence, the probability of the predicted class or choice, with accuracy in ``bins`` of equal width.
    Source: Guo et al. 2017, https://arxiv.org/abs/1706.04599.

    Raises:
        ValueError: for a number of bins outside 1 to 100, or if the answers of the run's task are texts.
        StoreError: if the run has no predictions.
    """
    found = load_calibrations(run, bins)
    return with_alt(draw_calibration(found), describe_calibration(found))


def plot_class_scores(run: RunOrId) -> go.Figure:
    """Draw the recall of each class on a finished run's test examples, with and without the prompt.

    Raises:
        ValueError: if the run's task has no classes.
        StoreError: if the run has no predictions.
    """
    found = load_class_scores(run)
    return with_alt(draw_class_scores(found), describe_class_scores(found))


def plot_score_by_length(run: RunOrId, *, groups: int = LENGTH_GROUPS) -> go.Figure:
    """Draw the accuracy, or the mean score of generated texts, by the number of words of the test examples.

    There are at most ``groups`` groups of about equally many examples; bars are 95% intervals over examples.

    Raises:
        StoreError: if the run has no predictions.
    """
    found, metric = load_length_groups(run, groups), _row_metric(run)
    return with_alt(draw_length_groups(found, metric), describe_length_groups(found, metric))


def error_summary(run: RunOrId) -> dict[str, Any]:
    """Return the errors of a finished run on its test examples as plain data; scores are shares, 0.8 for 80%.

    "examples", "right", "zero_shot_right", "changes" (both right, fixed, broken, both wrong, McNemar's exact p),
    "score_changes" (higher, lower), "classes" (precision, recall and F1 of each), "confusion", "calibration" with and
    without the prompt, and "lengths". A generated text is right if it equals a reference, and is changed if its score
    is. What is not defined for the task is None, and so is what needs answers without the prompt where a run of an
    earlier version has none.

    Raises:
        ValueError: if the run has several tasks: ``RUN@TASK`` names one.
        StoreError: if the run has no predictions.
    """
    rows = _load(run)
    compares, has_classes, judged = has_zero_shot(rows), bool(class_names(run)), "confidence" in rows[0]
    writes = "score" in rows[0]
    return {
        "examples": len(rows),
        "right": sum(row["right"] for row in rows),
        "zero_shot_right": sum(row["zero_shot_right"] for row in rows) if compares else None,
        "changes": asdict(_count_changes(rows)) if compares and not writes else None,
        "score_changes": _count_score_changes(rows) if compares and writes else None,
        "classes": [asdict(one) for one in load_class_scores(run)] if has_classes else None,
        "confusion": _load_confusion(run).counts.tolist() if has_classes else None,
        "calibration": {name: asdict(one) for name, one in load_calibrations(run)} if judged else None,
        "lengths": [asdict(group) for group in load_length_groups(run)],
    }


def describe_changes(rows: Rows) -> str:
    """Return in a sentence how many examples the prompt fixed and broke, and whether that may be chance."""
    if "score" in rows[0]:
        changes = _count_score_changes(rows)
        return (
            f"Against the backbone without the prompt, {changes['higher']:,} of {len(rows):,} outputs score higher and "
            f"{changes['lower']:,} score lower."
        )
    found = _count_changes(rows)
    return (
        f"Against zero-shot the prompt fixed {found.fixed:,} and broke {found.broken:,} of {len(rows):,} examples "
        f"(McNemar's exact test: p = {found.p:.2g}); {found.both_right:,} are right and {found.both_wrong:,} wrong "
        "both times."
    )


def load_class_scores(run: RunOrId) -> tuple[ClassScores, ...]:
    """Return what ``plot_class_scores`` draws."""
    return score_classes(
        _load_confusion(run), _load_confusion(run, zero_shot=True) if has_zero_shot(_load(run)) else None
    )


def load_calibrations(run: RunOrId, bins: int = CALIBRATION_BINS) -> list[tuple[str, Calibration]]:
    """Return what ``plot_calibration`` draws: with the prompt, and without it if that is known."""
    rows = _load(run)
    if "confidence" not in rows[0]:
        raise ValueError(f"run {get_run(run).id} writes texts: calibration is defined for classes and choices")
    sure, right = [row["confidence"] for row in rows], [row["right"] for row in rows]
    found = [("with the prompt", compute_calibration(sure, right, bins))]
    if has_zero_shot(rows):
        sure, right = [r["zero_shot_confidence"] for r in rows], [r["zero_shot_right"] for r in rows]
        found.append((WITHOUT, compute_calibration(sure, right, bins)))
    return found


def load_length_groups(run: RunOrId, groups: int = LENGTH_GROUPS) -> tuple[LengthGroup, ...]:
    """Return what ``plot_score_by_length`` draws."""
    rows = _load(run)
    text, score, zero = ("input", "score", "zero_shot_score") if "score" in rows[0] else (
        "text", "right", "zero_shot_right")  # fmt: skip
    values = [float("nan") if row[score] is None else float(row[score]) for row in rows]
    without = [float("nan") if row[zero] is None else float(row[zero]) for row in rows] if has_zero_shot(rows) else None
    return group_by_words([row[text] for row in rows], values, without, groups)


def _load_confusion(run: RunOrId, *, zero_shot: bool = False) -> ConfusionMatrix:
    rows, classes = _load(run), class_names(run)
    if not classes:
        raise ValueError(f"the task of run {get_run(run).id} has no classes: there is no confusion matrix")
    if zero_shot and not has_zero_shot(rows):
        raise StoreError(
            f"run {get_run(run).id} has no answers without the prompt: "
            f"ptviz errors {get_run(run).id} --zero-shot adds them"
        )
    predicted = [row["zero_shot" if zero_shot else "predicted"] for row in rows]
    return count_confusions([row["label"] for row in rows], predicted, classes)


def _count_score_changes(rows: Rows) -> dict[str, int]:
    return {name: sum(row["change"] == change for row in rows) for name, change in _SCORE_CHANGES.items()}


def _count_changes(rows: Rows) -> PromptChanges:
    return count_changes([row["right"] for row in rows], [row["zero_shot_right"] for row in rows])


def _row_metric(run: RunOrId) -> Metric:
    """Return the metric of single examples: accuracy for classes, whatever their metric is."""
    metric = get_run(run).metric
    return metric if metric.kind == "text" else ACCURACY


def _load(run: RunOrId) -> Rows:
    rows = read_predictions(run)
    if not rows:
        raise StoreError(f"run {get_run(run).id} has no predictions: a finished run has them")
    return rows
