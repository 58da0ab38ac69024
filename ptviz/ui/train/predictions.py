"""The predictions of a finished run on its test examples: as a searchable table, and their errors as figures."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import asdict
from typing import Any, get_args

import pandas as pd
import streamlit as st

from ptviz.analysis.csv_text import table_to_csv
from ptviz.analysis.prediction_errors import CALIBRATION_BINS
from ptviz.plots import (
    plot_calibration,
    plot_class_scores,
    plot_confusion,
    plot_score_by_length,
    predictions_table,
)
from ptviz.plots.prediction_errors import describe_changes, load_calibrations, load_class_scores
from ptviz.plots.predictions import Order, Rows, class_names, has_zero_shot, read_predictions, select_predictions
from ptviz.plots.snippet import call_snippet
from ptviz.runs import Run, Status
from ptviz.runs.prediction_files import ZERO_SHOT, ZERO_SHOT_CONFIDENCE, ZERO_SHOT_SCORE, read_predictions_error
from ptviz.tasks.metrics import Metric
from ptviz.ui.backend import request_answer
from ptviz.ui.components.address_values import expect_one_of
from ptviz.ui.components.csv_download import figure_csv_download
from ptviz.ui.components.errors import show_errors
from ptviz.ui.components.figure_panel import render_plot
from ptviz.ui.components.python_popover import python_popover
from ptviz.ui.train.run_page import ANSWER_SECONDS

CONFUSION_CAPTION = (
    "How to read it: each row is a true class, each column a predicted class; correct predictions are on the diagonal. "
    "Colours are shares of the row, numbers are examples."
)
CLASSES_CAPTION = (
    "How to read it: recall is the share of a class's test examples that are predicted as that class; the grey square "
    "is the backbone without the prompt."
)
CALIBRATION_CAPTION = (
    "How to read it: examples are grouped by confidence, the probability of the predicted class, in bins of equal "
    "width. On the diagonal, confidence equals accuracy; below it the model is overconfident. Bars are 95% intervals "
    "(Wilson). The expected calibration error is the mean gap, weighted by examples (Guo et al. 2017, "
    "https://arxiv.org/abs/1706.04599); with few examples it is above 0 even for a perfectly calibrated model."
)
LENGTH_CAPTION = (
    "How to read it: test examples in groups of about equal size by their number of words, with 95% intervals over "
    "examples. Texts longer than the maximum length of the run are cut, so that their end is not read."
)
_TABLE = "Answers"
_ROW_HEIGHT = 64
"""Pixels: room for two lines of text."""
_MARKS = {True: "✓ right", False: "✗ wrong"}


def render_predictions(run: Run, status: Status) -> None:
    """Show the predictions of a finished run on one task, or of one task of it; nothing for any other."""
    if status.state == "finished" and not run.config.more_tasks:
        st.fragment(_render)(run)


def _render(run: Run) -> None:
    with show_errors():
        rows = read_predictions(run)
        st.header("Predictions on the test set")
        if not rows:
            reason = read_predictions_error(run.path).reason
            st.text(f"They could not be made: {reason}" if reason else "The worker makes them when it has time.")
            return
        if has_zero_shot(rows):
            st.text(describe_changes(rows))
        elif not run.recorded:
            _offer_zero_shot(run)
        views = _views(run, rows)
        view = views[0]
        if len(views) > 1:
            view = str(
                st.segmented_control(
                    "Show", views, default=views[0], key="errors", required=True, bind="query-params",
                    label_visibility="collapsed",
                )
            )  # fmt: skip
        if view == _TABLE:
            _render_table(run, rows)
        else:
            _FIGURES[view](run, has_zero_shot(rows))


def _views(run: Run, rows: Rows) -> list[str]:
    """Return the views that the task of a run has: generated texts have no classes and no confidence."""
    views = [_TABLE]
    if class_names(run):
        views += ["Confusion matrix", "Classes"]
    return [*views, *(["Calibration"] if "confidence" in rows[0] else []), "Length"]


def _offer_zero_shot(run: Run) -> None:
    """Offer to answer the test set without the prompt, which the training of an earlier version did not."""
    key = f"zero-shot-{run.id}"
    if st.button("Compare with zero-shot", icon=":material/play_arrow:", key="zero-shot"):
        st.session_state[key] = request_answer("zero-shot", run.id)
    if key in st.session_state:
        st.fragment(_wait_for_zero_shot, run_every=ANSWER_SECONDS)(key)
        return
    st.caption(
        "This run has no answers of the backbone without the prompt. The worker adds them; a run in progress "
        "pauses for a few seconds."
    )


def _wait_for_zero_shot(key: str) -> None:
    answer: Future[dict[str, Any]] | None = st.session_state.get(key)
    if answer is None or not answer.done():
        st.caption("The worker answers the test set without the prompt.")
        return
    del st.session_state[key]
    with show_errors():
        answer.result()
        st.rerun()


def _render_table(run: Run, rows: Rows) -> None:
    writes, compares = "score" in rows[0], has_zero_shot(rows)
    wrong = sum(not row["right"] for row in rows)
    options = _choose(writes, compares)
    shown = select_predictions(rows, **options)
    which = "are no reference" if writes else "are wrong"
    st.caption(
        f"{len(shown):,} of {len(rows):,} examples; {wrong:,} of all {which}. Double-click a cell to read it whole."
    )
    st.dataframe(
        pd.DataFrame([_to_shown(row) for row in shown], columns=list(rows[0])),
        hide_index=True,
        row_height=_ROW_HEIGHT,
        height=min(_ROW_HEIGHT * len(shown) + 40, 500),
        column_config=_column_config(writes, run.metric),
        column_order=[name for name in rows[0] if name != "zero_shot_right"],
        alt="The test examples with the answers of the run's best prompt",
    )
    with st.container(horizontal=True, gap="small"):
        python_popover(call_snippet(predictions_table, run, **options), "predictions")
        figure_csv_download(
            lambda: table_to_csv([list(rows[0]), *(list(row.values()) for row in shown)]),
            f"{run.id}-predictions",
            "predictions",
        )


def _render_confusion(run: Run, compares: bool) -> None:
    without = compares and st.toggle("without the prompt", key="confusion-zero", bind="query-params")
    render_plot(
        plot_confusion, run, zero_shot=without, key="confusion", caption=CONFUSION_CAPTION,
        filename=f"{run.id}-confusion",
    )  # fmt: skip


def _render_classes(run: Run, compares: bool) -> None:
    render_plot(plot_class_scores, run, key="class-scores", caption=CLASSES_CAPTION, filename=f"{run.id}-classes")
    st.dataframe(
        pd.DataFrame([asdict(one) for one in load_class_scores(run)]).dropna(axis=1, how="all"),
        hide_index=True,
        column_config={
            "name": "class",
            "support": st.column_config.NumberColumn("examples"),
            **{
                name: st.column_config.NumberColumn(name.replace("zero_shot_recall", "zero-shot recall"), format="%.3f")
                for name in ("precision", "recall", "f1", "zero_shot_recall")
            },
        },
        alt="Precision, recall and F1 of each class",
    )


def _render_calibration(run: Run, compares: bool) -> None:
    bins = st.slider("bins of equal width", 5, 20, CALIBRATION_BINS, key="bins", bind="query-params")
    for name, found in load_calibrations(run, bins):
        st.text(
            f"Expected calibration error {name}: {found.error:.1%}; {found.perfect:.1%} on average for a perfectly "
            f"calibrated model with the same certainties on {found.count:,} examples."
        )
    render_plot(
        plot_calibration, run, bins=bins, key="calibration", caption=CALIBRATION_CAPTION,
        filename=f"{run.id}-calibration",
    )  # fmt: skip


def _render_lengths(run: Run, compares: bool) -> None:
    render_plot(plot_score_by_length, run, key="lengths", caption=LENGTH_CAPTION, filename=f"{run.id}-lengths")


_FIGURES = {
    "Confusion matrix": _render_confusion,
    "Classes": _render_classes,
    "Calibration": _render_calibration,
    "Length": _render_lengths,
}


def _choose(writes: bool, compares: bool) -> dict[str, Any]:
    """Return the options of ``predictions_table`` from widgets, whose state is in the address."""
    what = "score" if writes else "confidence"
    change = "any"
    if compares:
        names = {"any": "all", "fixed": "score higher than zero-shot", "broken": "score lower than zero-shot"} if (
            writes) else {"any": "all", "fixed": "fixed by the prompt", "broken": "broken by the prompt"}  # fmt: skip
        expect_one_of("change", names.values(), names["any"])
        change = st.segmented_control(
            "Examples", list(names), format_func=names.__getitem__, default="any", key="change", required=True,
            bind="query-params",
        )  # fmt: skip
    search, order, wrong = st.columns([3, 2, 2], vertical_alignment="bottom")
    words = search.text_input(
        "find in texts and answers", key="find", icon=":material/search:", max_chars=200, bind="query-params"
    )
    by = order.selectbox(f"order (by {what})", get_args(Order), key="order", bind="query-params")
    only = wrong.toggle("wrong only", key="wrong", bind="query-params")
    return {"wrong_only": only, "order": by, "search": words.strip(), "change": change}


def _to_shown(row: dict[str, Any]) -> dict[str, Any]:
    shares = ("confidence", "score", ZERO_SHOT_CONFIDENCE, ZERO_SHOT_SCORE)
    percent = {name: 100 * row[name] for name in shares if row.get(name) is not None}
    return {**row, **percent, "right": _MARKS[row["right"]]}


def _column_config(writes: bool, metric: Metric) -> dict[str, Any]:
    without = {ZERO_SHOT: "zero-shot", "change": "change"}
    if writes:
        scores = {"score": metric.noun, ZERO_SHOT_SCORE: f"zero-shot {metric.noun}"}
        return {**without, **_percentages(scores), "right": "as a reference"}
    return {
        **without,
        "right": "",
        **_percentages({"confidence": "confidence", ZERO_SHOT_CONFIDENCE: "zero-shot confidence"}),
    }


def _percentages(titles: dict[str, str]) -> dict[str, Any]:
    return {name: st.column_config.NumberColumn(title, format="%.1f%%") for name, title in titles.items()}
