"""The results of a comparison of methods: table, figures, paired differences and downloads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from ptviz import plots
from ptviz.analysis.comparison import (
    TABLE_COLUMNS,
    MethodSummary,
    RunResult,
    compare_with_each,
    summarise_methods,
    table_rows,
    to_mebibytes,
)
from ptviz.analysis.csv_text import table_to_csv
from ptviz.analysis.ensemble import TIE_RULE
from ptviz.analysis.statistics import INTERVAL_MARKS
from ptviz.experiments.comparison import comparison_command
from ptviz.experiments.planned_runs import PlannedRun
from ptviz.experiments.run_results import load_results, with_row_scores
from ptviz.figures.comparison import COST_LABELS
from ptviz.plots.comparison import load_learning_rate_grid
from ptviz.plots.method_style import method_title
from ptviz.plots.snippet import call_snippet
from ptviz.runs import ACTIVE_STATES, Run
from ptviz.tasks.metrics import ACCURACY, Metric, recorded_metric, shared_metric
from ptviz.ui.backend import get_store
from ptviz.ui.compare import methods_text as words
from ptviz.ui.compare.reference_lines import reference_scores
from ptviz.ui.components.address_values import expect_one_of
from ptviz.ui.components.csv_download import csv_download
from ptviz.ui.components.figure_panel import render_plot
from ptviz.ui.components.formatting import format_percent
from ptviz.ui.components.report_download import report_download
from ptviz.ui.heavy_libraries import load_libraries, wait_for_libraries

if TYPE_CHECKING:
    from ptviz.reports.document import Report

CHARTS: dict[str, tuple[Callable[..., go.Figure], str]] = {
    "Curves": (plots.plot_comparison, "comparison-curves"),
    "Side by side": (plots.plot_comparison_panels, "comparison-panels"),
    "Against cost": (plots.plot_pareto_front, "comparison-{cost}"),
    "Convergence": (plots.plot_convergence, "comparison-convergence"),
    "Seeds": (plots.plot_seeds, "comparison-seeds"),
}
"""The plots and their file names, by the name of the chart."""


def render_comparison_results(found: Sequence[PlannedRun]) -> None:
    """Show table and figures of a comparison, also while it is running."""
    results = load_results(get_store(), found)
    order = summarise_methods(with_row_scores(results, get_store().get))
    if not order and not any(entry.run for entry in found):
        return
    render_summary(order, results, found)
    chart = str(
        st.segmented_control("Chart", CHARTS, default="Curves", key="picture", required=True, bind="query-params")
    )
    references = reference_scores([entry.config for entry in found]) if chart == "Curves" else {}
    _render_chart(chart, _drawable_runs(found), order, references)
    if chart == "Seeds" and len(order) > 1:
        render_paired_comparisons(order, _metric_of(results))
    if chart == "Seeds":
        render_ensembles(results)
    training = found[0].config.training
    seeds = len({entry.config.training.seed for entry in found})
    st.caption(words.describe_budget([one.length for one in order], training.steps, training.batch, seeds))


def _metric_of(results: Sequence[RunResult]) -> Metric:
    return recorded_metric(results[0].metric) if results else ACCURACY


def _drawable_runs(found: Sequence[PlannedRun]) -> list[Run]:
    """Return the runs that are finished or under way.

    They are grouped by method in the order of the form, not of arrival: a figure must not jump when a run finishes.
    """
    methods = list(dict.fromkeys(entry.config.method for entry in found))
    drawable = [entry for entry in found if entry.run is not None and entry.state in ("finished", *ACTIVE_STATES)]
    drawable.sort(key=lambda entry: methods.index(entry.config.method))
    return [get_store().get(str(entry.run)) for entry in drawable]


def _render_chart(
    chart: str, runs: Sequence[Run], order: Sequence[MethodSummary], references: Mapping[str, float]
) -> None:
    plot, filename = CHARTS[chart]
    key, options = filename, dict[str, Any]()
    if chart == "Side by side":  # The zoom of one number of panels makes no sense for another.
        key = f"panels-{len({run.config.method for run in runs})}"
    if chart == "Against cost":
        options = {"cost": select_cost(list(COST_LABELS))}
        key = filename = filename.format(**options)
    if references:
        options = {"references": references}
    metric = runs[0].metric if runs else ACCURACY
    parts = [words.CAPTIONS[chart].format(metric=metric.noun)]
    if chart == "Against cost":
        parts.append(words.describe_cost_marks(order))
    if chart in ("Curves", "Side by side"):
        known = [score for run in runs if (score := run.status().zero_shot) is not None]
        parts.append(words.describe_zero_shot(known, metric))
    if references:
        parts.append(words.REFERENCE_LINES)
    caption = " ".join(part for part in parts if part)
    render_plot(plot, runs, key=key, caption=caption, filename=filename, **options)


def select_cost(costs: Sequence[str]) -> str:
    """Return the selected cost of a Pareto front, by default the first."""
    expect_one_of("cost", [COST_LABELS[cost] for cost in costs], COST_LABELS[costs[0]])
    return str(
        st.segmented_control(
            "Cost",
            costs,
            default=costs[0],
            key="cost",
            required=True,
            bind="query-params",
            format_func=COST_LABELS.__getitem__,
            label_visibility="collapsed",
        )
    )


def render_summary(order: Sequence[MethodSummary], results: Sequence[RunResult], found: Sequence[PlannedRun]) -> None:
    """Show the table, the best mean first, and its downloads."""
    if not order:
        st.caption("The table appears with the first finished run.")
        return
    metric = _metric_of(results)
    table = display_rows(order, metric=metric)
    zero_shots = {None if one.zero_shot is None else round(one.zero_shot, 4) for one in order}
    (zero_shot,) = zero_shots if len(zero_shots) == 1 else (None,)
    note = "" if zero_shot is None else f" Zero-shot, without a prompt: {metric.format(zero_shot)} on the test set."
    differs = "" if len(zero_shots) == 1 else " Zero-shot differs: these runs were tested on other examples."
    for row in table:
        if note:  # The same for all: no column.
            del row["Zero-shot"]
    render_table(table, "Results of the comparison", metric)
    st.caption(f"{words.describe_columns(order, metric)}{note}{differs}")
    if metric != ACCURACY:
        st.caption(f"Scores are by {metric.noun}. {metric.definition}")
    with st.container(horizontal=True):
        csv_download("Table as CSV", lambda: summary_to_csv(order), "comparison.csv")
        csv_download("Every evaluation as CSV", lambda: evaluations_to_csv(results), "comparison-curves.csv")
        finished = [str(entry.run) for entry in found if entry.state == "finished"]
        if len(finished) > 1:
            report_download(lambda: _make_report(finished), "comparison-report")
        if found:
            with st.popover("Share", icon=":material/ios_share:"):
                st.markdown("**The same comparison in the shell**")
                st.code(comparison_command([entry.config for entry in found]), language="shell", wrap_lines=True)
                st.markdown("**Its results in Python**")
                st.code(call_snippet(plots.comparison_table, finished), language="python")


def display_rows(
    order: Sequence[MethodSummary], name: Callable[[str], str] = method_title, metric: Metric = ACCURACY
) -> list[dict[str, object]]:
    """Return the rows of the table as the page shows them, the best mean first."""
    return [
        {
            "Method": name(one.method),
            "Test": round(one.mean, 3),
            "sd": None if one.sd is None else round(one.sd, 3),
            "95% interval": f"{metric.format(one.interval.low)} to {metric.format(one.interval.high)}"
            + INTERVAL_MARKS[one.interval.over]
            if one.interval
            else None,
            "Zero-shot": None if one.zero_shot is None else round(one.zero_shot, 3),
            "Trained": one.trained,
            "Stored": one.stored,
            "Seconds": one.seconds,
            "Memory (MB)": to_mebibytes(one.memory),
            "Length": one.length,
            "File (MB)": to_mebibytes(one.size),
            "Steps to 90 / 95% of best": None if one.steps95 is None else f"{one.steps90:.0f} / {one.steps95:.0f}",
            "Seeds": one.seed_count,
        }
        for one in order
    ]


def render_table(table: list[dict[str, object]], alt: str, metric: Metric = ACCURACY) -> None:
    """Show the table of a comparison, without columns that are empty for all."""
    share = st.column_config.NumberColumn(format="%.1f%%" if metric.unit else "%.2f")
    whole = st.column_config.NumberColumn(format="%.0f")
    config = {name: share for name in ("sd", "Zero-shot")}
    config |= {name: whole for name in ("Seconds", "Memory (MB)")}
    config |= {name: st.column_config.NumberColumn(format="localized") for name in ("Trained", "Stored")}
    config["File (MB)"] = st.column_config.NumberColumn(format="%.3g")
    bar = st.column_config.ProgressColumn(format="%.1f%%", min_value=0, max_value=100, width=140)
    # Streamlit narrows a column of long names; 7 pixels a character are enough for its font.
    longest = max((len(str(row["Method"])) for row in table), default=0)
    config["Method"] = st.column_config.Column(width=20 + 7 * min(longest, 40))
    rows = pd.DataFrame(table).dropna(axis="columns", how="all")
    if metric.unit:  # Streamlit's own percent leaves out the zero of 91.0%.
        scores = rows.columns.intersection(["Test", "sd", "Zero-shot"])
        rows[scores] = 100 * rows[scores]
    st.dataframe(
        rows,
        hide_index=True,
        placeholder="—",
        alt=alt,
        height=min(38 + 35 * max(len(table), 1), 640),
        column_config={**config, "Test": bar if metric.unit else share},
    )


def render_paired_comparisons(order: Sequence[MethodSummary], metric: Metric = ACCURACY) -> None:
    """Show the best method against every other, paired over seeds."""
    pairs = compare_with_each(order[0], order[1:])
    st.markdown(f"**{method_title(order[0].method)} against the others, seed by seed**")
    table = [
        {
            "Against": method_title(pair.second),
            "Difference (points)" if metric.unit else "Difference": _round_change(pair.mean, metric)
            if pair.differences
            else None,
            "95% interval": f"{metric.format_change(pair.interval.low, '')} to "
            f"{metric.format_change(pair.interval.high, '')}{INTERVAL_MARKS[pair.interval.over]}"
            if pair.interval
            else None,
            "Seeds": len(pair.seeds),
            "p": pair.p,
            "p, corrected": pair.adjusted,
            "Result": words.describe_paired_result(pair),
        }
        for pair in pairs
    ]
    st.dataframe(
        pd.DataFrame(table), hide_index=True, height="content", placeholder="—", alt="Paired differences",
        column_config=dict.fromkeys(("p", "p, corrected"), st.column_config.NumberColumn(format="%.2g")),
    )  # fmt: skip
    st.caption(
        f"Differences of test {metric.noun} on the same seed, so on the same examples and batches; p is that of the "
        "paired t test, corrected by Holm for the number of pairs. The top method was selected after seeing the "
        "results, so its lead is biased upwards."
    )


def _make_report(finished: Sequence[str]) -> Report:
    load_libraries()
    from ptviz.reports.several_runs import comparison_report  # It needs torch.

    return comparison_report(finished)


def render_ensembles(results: Sequence[RunResult]) -> None:
    """Show what the prompts of a method's seeds answer together, for methods of at least three seeds."""
    wait_for_libraries()
    from ptviz.experiments.ensemble import score_methods  # It needs torch.

    found = score_methods(results, get_store().get)
    if not found:
        return
    st.markdown("**The prompts of all seeds together**")
    table = [
        {
            "Method": method_title(method),
            "Mean of the prompts": scores.mean,
            "Best prompt": scores.best,
            "Vote": scores.vote,
            "Mean probability": scores.mean_probability,
            "Prompts": len(scores.members),
        }
        for method, scores in found.items()
    ]
    share = st.column_config.NumberColumn(format="percent")
    st.dataframe(
        pd.DataFrame(table),
        hide_index=True,
        height="content",
        alt="Accuracy of the vote of a method's prompts",
        column_config={name: share for name in ("Mean of the prompts", "Best prompt", "Vote", "Mean probability")},
    )
    st.caption(
        "Test accuracy of one frozen backbone with the prompts of all seeds ([Lester et al. 2021, section "
        f"6](https://aclanthology.org/2021.emnlp-main.243)). The class that most prompts give wins; {TIE_RULE}. The "
        "best prompt is selected on the test set, which favours it. New texts: `ptviz predict --ensemble RUN,RUN,RUN`."
    )


def _round_change(change: float, metric: Metric) -> float:
    return (round(100 * change, 1) if metric.unit else round(change, 2)) + 0.0  # no -0.0


def render_learning_rate_grid(found: Sequence[PlannedRun]) -> None:
    """Show learning rates against seeds as a heat map."""
    runs = [get_store().get(entry.run) for entry in found if entry.run is not None]
    grid = load_learning_rate_grid(runs)
    if grid.share_above_zero_shot is not None:
        st.metric("Runs that beat zero-shot", format_percent(grid.share_above_zero_shot, 0))
    render_plot(
        plots.plot_learning_rate_grid,
        runs,
        key=f"learning-rates-{len(grid.learning_rates)}",
        caption="How to read it: brighter is better; ✗ marks a run that does not beat the zero-shot "
        f"{shared_metric(run.metric for run in runs).noun}.",
        filename="stability",
    )


def summary_to_csv(order: Sequence[MethodSummary]) -> str:
    """Return the table as CSV, one row per method."""
    return table_to_csv([TABLE_COLUMNS, *(tuple(row.values()) for row in table_rows(order))])


def evaluations_to_csv(results: Sequence[RunResult]) -> str:
    """Return every evaluation of every finished run as CSV, one row each, with the results of its run."""
    once = [
        field.name for field in fields(RunResult) if field.name not in ("evaluated", "accuracies", "metric", "rows")
    ]
    points = (
        [*(getattr(result, name) for name in once), *point]
        for result in results
        for point in zip(result.evaluated, result.accuracies, strict=True)
    )
    return table_to_csv([[*once, "step", f"validation_{_metric_of(results).name.replace('-', '_')}"], *points])
