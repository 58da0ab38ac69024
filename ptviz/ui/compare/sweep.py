"""The page of a sweep: choose or write one, start it, and see its runs and what their settings do."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from ptviz import plots
from ptviz.analysis.csv_text import table_to_csv
from ptviz.analysis.statistics import INTERVAL_MARKS
from ptviz.analysis.sweep import SweepTable, estimate_importance
from ptviz.experiments import planned_runs
from ptviz.experiments.planned_runs import PlannedRun
from ptviz.experiments.sweep import SweepSpec, expand_sweep, parse_sweep, read_sweep, save_sweep, saved_sweeps
from ptviz.experiments.sweep_cost import estimate_sweep
from ptviz.experiments.sweep_results import load_best_settings, load_sweep_table, table_rows
from ptviz.plots.method_style import method_title
from ptviz.plots.snippet import call_snippet
from ptviz.runs import Run
from ptviz.tasks.metrics import Metric
from ptviz.ui.backend import get_client, get_store
from ptviz.ui.compare.methods_setup import comparison_controls
from ptviz.ui.compare.methods_text import describe_intervals
from ptviz.ui.components.address_values import expect_one_of
from ptviz.ui.components.csv_download import csv_download
from ptviz.ui.components.errors import show_errors
from ptviz.ui.components.figure_panel import render_plot
from ptviz.ui.components.formatting import STATE_BADGES, score_format
from ptviz.ui.train.run_page import REFRESH_SECONDS

EXAMPLE = """name = "first-sweep"
methods = ["prompt-tuning", "dept"]
tasks = "trec6"
seeds = 3

[training]
steps = 100
lr = { low = 0.01, high = 0.3, scale = "log", points = 4 }

[hyperparameters]
m = [5, 20]
"""
_NEW = "A new sweep"
MAX_RUNS = 5000
"""Runs up to which the page shows a sweep: a larger one is for the shell."""
CAPTION_IMPORTANCE = (
    "Main effects of functional ANOVA (Hutter, Hoos and Leyton-Brown, [ICML 2014]"
    "(https://proceedings.mlr.press/v32/hutter14.html)): a random forest predicts the validation score from the "
    "settings; a bar is the share of the variance that one setting explains alone, averaged over the others. The rest "
    "are interactions, and what the forest does not predict."
)


def select_sweep() -> SweepSpec | None:
    """Return the selected sweep; None while there is none. The choice is in the page's address."""
    saved = {path.stem: path for path in saved_sweeps()}
    names = [*saved, ""]
    expect_one_of("sweep", [*saved, _NEW], names[0] or _NEW)
    chosen = st.selectbox(
        "Sweep",
        names,
        key="sweep",
        bind="query-params",
        format_func=lambda name: name or _NEW,
        help="Sweeps of this page and of `ptviz sweep`, the newest first.",
    )
    if chosen:
        with st.expander("Its settings", icon=":material/tune:"):
            st.code(saved[chosen].read_text(encoding="utf-8", errors="replace"), language="toml")
            st.code(f"ptviz sweep {saved[chosen]}", language="shell", wrap_lines=True)
        return read_sweep(saved[chosen])
    text = st.text_area(
        "Settings, as TOML",
        EXAMPLE,
        height=300,
        key="sweep-text",
        help='A value, a list, or a range such as { low = 0.01, high = 0.3, scale = "log", points = 4 }. '
        'search = "random" and samples = 20 draw settings instead of trying all.',
    )
    spec = parse_sweep(text.encode())
    expand_sweep(spec)  # What cannot be tried is not saved either.
    st.button("Save this sweep", icon=":material/save:", key="sweep-save", on_click=_save, args=(spec, text))
    return spec


def _save(spec: SweepSpec, text: str) -> None:
    """Save a sweep and select it: before the page is drawn, because a widget cannot be changed afterwards."""
    with show_errors():
        st.session_state["sweep"] = save_sweep(spec, text.encode()).stem


def render_sweep(spec: SweepSpec) -> None:
    """Show what a sweep costs, its controls and its results, which follow the runs while any is in progress."""
    configs = expand_sweep(spec)
    if len(configs) > MAX_RUNS:
        st.warning(f"{len(configs):,} runs: this page shows at most {MAX_RUNS:,}. Use `ptviz sweep` for this sweep.")
        return
    found = planned_runs.find_runs(get_store(), configs)
    _render_cost(found)
    comparison_controls(found, key="sweep-runs")
    groups = list(dict.fromkeys((entry.config.task, entry.config.backbone) for entry in found))
    place = groups[0]
    if len(groups) > 1:
        place = st.selectbox(
            "Task and backbone", groups, key="sweep-place", format_func=lambda pair: f"{pair[0]} on {pair[1]}"
        )
    own = [entry for entry in found if (entry.config.task, entry.config.backbone) == place]
    every = None if planned_runs.is_done(found) else 2 * REFRESH_SECONDS
    st.fragment(_render_results, run_every=every)(tuple(own), sum(entry.state == "finished" for entry in own))


def _render_cost(found: Sequence[PlannedRun]) -> None:
    cost = estimate_sweep(get_store(), found)
    if not cost.to_train:
        return
    hours = "an unknown time" if cost.processor_hours is None else f"{cost.processor_hours:,.2f} CPU hours"
    st.caption(
        f"{cost.to_train:,} of {cost.runs:,} runs are to train: {hours} and {cost.bytes / 1e6:,.0f} MB, "
        f"{cost.measured:,} of them estimated from finished runs of yours."
    )


def _render_results(found: tuple[PlannedRun, ...], known: int) -> None:
    with show_errors():
        now = planned_runs.refresh(get_store(), found)
        if not planned_runs.is_done(now):
            get_client().ensure_worker()
        runs = [get_store().get(entry.run) for entry in now if entry.run is not None]
        if not runs:
            st.caption("No run with these settings exists yet.")
            return
        table, metric = load_sweep_table(runs)
        _render_table(table, metric, now, runs)
        finished = [run for run, row in zip(runs, table.rows, strict=True) if row.state == "finished"]
        if finished:
            _render_figures(finished, load_sweep_table(finished)[0], metric)
        if planned_runs.is_done(now) and not planned_runs.is_done(found):
            st.rerun()  # The buttons above follow.


def _render_table(table: SweepTable, metric: Metric, now: Sequence[PlannedRun], runs: Sequence[Run]) -> None:
    done = sum(entry.state == "finished" for entry in now)
    if not planned_runs.is_done(now):
        st.progress(done / len(now), f"{done} of {len(now)} runs have finished")
    rows = [{**row, "state": STATE_BADGES.get(str(row["state"]), (str(row["state"]),))[0]} for row in table_rows(table)]
    share = st.column_config.NumberColumn(format="percent" if metric.unit else "%.3f")
    frame = pd.DataFrame(rows).sort_values("validation", ascending=False, na_position="last")
    st.dataframe(
        frame,
        hide_index=True,
        placeholder="—",
        height=min(38 + 35 * max(len(frame), 1), 400),
        alt="The runs of the sweep with their settings and scores",
        column_config={
            "validation": share,
            "test": share,
            "seconds": st.column_config.NumberColumn(format="%.1f"),
            "lr": st.column_config.NumberColumn(format="%.6g"),
        },
    )
    with st.container(horizontal=True):
        csv_download(
            "Table as CSV", lambda: table_to_csv([list(rows[0]), *(list(row.values()) for row in rows)]), "sweep.csv"
        )
        with st.popover("Python", icon=":material/code:"):
            st.code(call_snippet(plots.sweep_table, [run.id for run in runs]), language="python")


def _render_figures(runs: Sequence[Run], table: SweepTable, metric: Metric) -> None:
    _render_best(runs, metric)
    render_plot(
        plots.plot_sweep,
        runs,
        key="sweep-parallel",
        title="Settings of every run",
        caption="How to read it: a line is a run, from axis to axis through its settings to its best validation "
        f"{metric.noun}. Brighter and wider lines score higher; the best run is orange.",
        filename="sweep-parallel",
    )
    importance = estimate_importance(table)
    fit = "" if importance.fit != importance.fit else f" The forest explains {importance.fit:.0%} out of bag."
    render_plot(
        plots.plot_sweep_importance,
        runs,
        key=f"sweep-importance-{len(importance.names)}",
        title="Importance of the settings",
        caption=CAPTION_IMPORTANCE + fit,
        filename="sweep-importance",
    )
    if len(table.names) < 2:
        return
    st.markdown("**Two settings**")
    with st.container(horizontal=True):
        # Not the seed first: the means are over seeds unless it is chosen.
        order = [name for name in table.names if name != "seed"] + [name for name in table.names if name == "seed"]
        x = st.selectbox("Across", order, key="sweep-x")
        y = st.selectbox("Down", [name for name in order if name != x], key="sweep-y")
    render_plot(
        plots.plot_sweep_heatmap,
        runs,
        key=f"sweep-{x}-{y}",
        caption=f"Mean best validation {metric.noun} over seeds and all other settings.",
        filename=f"sweep-{x}-{y}",
        x=x,
        y=y,
    )


def _render_best(runs: Sequence[Run], metric: Metric) -> None:
    best = load_best_settings(runs)
    factor, form = score_format([metric])
    rows = [
        {
            "Method": method_title(one.summary.method),
            "Best settings": ", ".join(f"{name} {value}" for name, value in one.settings.items()) or "defaults",
            "Tried": one.tried,
            "Validation": factor * one.validation,
            "Test": factor * one.summary.mean,
            "95% interval": None
            if one.summary.interval is None
            else f"{metric.format(one.summary.interval.low)} to {metric.format(one.summary.interval.high)}"
            + INTERVAL_MARKS[one.summary.interval.over],
            "Seeds": one.summary.seed_count,
        }
        for one in best
    ]
    st.markdown("**The best of each method**")
    st.dataframe(
        pd.DataFrame(rows), hide_index=True, height="content", placeholder="—", alt="Best settings by method",
        column_config=dict.fromkeys(("Validation", "Test"), st.column_config.NumberColumn(format=form)),
    )  # fmt: skip
    over = describe_intervals([one.summary for one in best])
    interval = f" with its 95% interval {over}" if over else ""
    st.caption(
        f"Chosen by mean validation {metric.noun}; test {metric.noun}{interval}. The "
        "more settings a method was tried with, the more its validation score is biased upwards; its test score is not."
    )
    with st.container(horizontal=True):
        listed = plots.best_settings_table(runs)
        csv_download(
            "Best as CSV",
            lambda: table_to_csv([list(listed[0]), *(list(row.values()) for row in listed)] if listed else []),
            "sweep-best.csv",
        )
        with st.popover("Python", icon=":material/code:"):
            st.code(call_snippet(plots.best_settings_table, [run.id for run in runs]), language="python")
