"""The predictions of a finished run on its test examples: filtered, sorted, searched, and as CSV."""

from __future__ import annotations

from typing import Any, get_args

import pandas as pd
import streamlit as st

from ptviz.analysis.csv_text import table_to_csv
from ptviz.plots import predictions_table
from ptviz.plots.predictions import Order, read_predictions, select_predictions
from ptviz.plots.snippet import call_snippet
from ptviz.runs import Run, Status
from ptviz.runs.predictions import read_predictions_error
from ptviz.tasks.metrics import Metric
from ptviz.ui.components.csv_download import figure_csv_download
from ptviz.ui.components.errors import show_errors
from ptviz.ui.components.python_snippet import python_popover

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
        st.subheader("Predictions on the test set")
        if not rows:
            reason = read_predictions_error(run.path).reason
            st.text(f"They could not be made: {reason}" if reason else "The worker makes them when it has time.")
            return
        writes = "score" in rows[0]
        wrong = sum(not row["right"] for row in rows)
        options = _choose(writes)
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
            alt="The test examples with the answers of the run's best prompt",
        )
        with st.container(horizontal=True, gap="small"):
            python_popover(call_snippet(predictions_table, run, **options), "predictions")
            figure_csv_download(
                lambda: table_to_csv([list(rows[0]), *(list(row.values()) for row in shown)]),
                f"{run.id}-predictions",
                "predictions",
            )


def _choose(writes: bool) -> dict[str, Any]:
    """Return the options of ``predictions_table`` from widgets, whose state is in the address."""
    what = "score" if writes else "certainty"
    search, order, wrong = st.columns([3, 2, 2], vertical_alignment="bottom")
    words = search.text_input(
        "find in texts and answers", key="find", icon=":material/search:", max_chars=200, bind="query-params"
    )
    by = order.selectbox(f"order (by {what})", get_args(Order), key="order", bind="query-params")
    only = wrong.toggle("wrong only", key="wrong", bind="query-params")
    return {"wrong_only": only, "order": by, "search": words.strip()}


def _to_shown(row: dict[str, Any]) -> dict[str, Any]:
    percent = {name: 100 * row[name] for name in ("certainty", "score") if row.get(name) is not None}
    return {**row, **percent, "right": _MARKS[row["right"]]}


def _column_config(writes: bool, metric: Metric) -> dict[str, Any]:
    number = st.column_config.NumberColumn
    if writes:
        return {"score": number(metric.noun, format="%.1f%%"), "right": "as a reference"}
    return {"certainty": number("certainty", format="%.1f%%"), "right": ""}
