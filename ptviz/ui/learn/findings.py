"""The page of replicated findings: all verdicts in one figure, then each claim with its experiment and its runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from ptviz.engine.time_estimate import estimate_time
from ptviz.experiments import planned_runs
from ptviz.experiments.planned_runs import PlannedRun
from ptviz.experiments.replication import STUDIES, ReplicationStudy, StudyRecord, StudyResult
from ptviz.experiments.replication.record import DEFAULT_SEEDS
from ptviz.methods import list_methods
from ptviz.plots import plot_findings
from ptviz.plots.cache import cached_by_signature
from ptviz.plots.method_style import method_title
from ptviz.runs import ACTIVE_STATES, RunConfig
from ptviz.ui.backend import get_client, get_store
from ptviz.ui.classroom import is_classroom
from ptviz.ui.components.errors import run_and_rerun
from ptviz.ui.components.figure_panel import render_plot
from ptviz.ui.components.formatting import format_duration
from ptviz.ui.learn.paper_claims import VERDICT_BADGES, render_replication
from ptviz.ui.navigation import WATCH_PAGE

INTRODUCTION = (
    "What the papers claim, each repeated here by a small experiment on a frozen sentence encoder. Both sides of a "
    "comparison train on the same examples and batches. The verdict comes from the mean difference over "
    "[[seed|seeds]] and its [[confidence interval|95% interval]]: a claim **holds** if the whole interval lies on its "
    "side, **does not hold** if none of it does, and is **unclear** otherwise, or with fewer than five seeds. It "
    "may hold in the paper's own setting."
)
_ALL = "all"
_NOT_RUN = "not run"


def render_findings() -> None:
    """Show the figure of all findings, the filters, and every finding."""
    record = StudyRecord()
    # The user's own finished runs count towards the verdicts; those of a class do not change what all read.
    if not is_classroom():
        record.record_finished(STUDIES, get_store())
    results = [record.evaluate(study) for study in STUDIES]
    verdict, method = _select_filters(results)
    shown = [
        result
        for result in results
        if verdict in (_ALL, result.verdict)
        and (method is None or any(arm.method == method for arm in result.study.arms))
    ]
    shown.sort(key=lambda result: result.verdict == _NOT_RUN)
    if not shown:
        st.info("No finding has this verdict for this method. Choose another.", icon=":material/filter_alt_off:")
        return
    render_plot(
        plot_findings,
        [result.study.id for result in shown],
        answer=shown,
        key="findings",
        caption="How to read it: a point is the mean difference over seeds, its bar the 95% interval. To the right of "
        "the dashed line the difference is as claimed; a short line marks how far below it may be and still count as "
        "no loss. Comparisons of counts, such as parameters, stand in the tables below.",
        filename="ptviz-findings",
    )
    planned = _find_runs([result.study for result in shown])
    for result in shown:
        _render_finding(record, result, planned)


def _find_runs(studies: Sequence[ReplicationStudy]) -> dict[str, PlannedRun]:
    """Return the runs of these studies by fingerprint, in order: the store is read once for all of them."""
    configs = {key: config for study in studies for key, config in _configs(study).items()}
    return dict(zip(configs, planned_runs.find_runs(get_store(), configs.values()), strict=True))


def _select_filters(results: Sequence[StudyResult]) -> tuple[str, str | None]:
    left, right = st.columns([3, 2], vertical_alignment="bottom")
    verdicts = [_ALL, *VERDICT_BADGES, _NOT_RUN]
    with left:
        verdict = st.segmented_control(
            "Verdict",
            verdicts,
            default=_ALL,
            key="verdict",
            required=True,
            bind="query-params",
        )
    trained = {arm.method for result in results for arm in result.study.arms}
    with right:
        method = st.selectbox(
            "Method",
            [name for name in list_methods() if name in trained],
            index=None,
            format_func=method_title,
            placeholder="all methods",
            key="method",
            bind="query-params",
        )
    return str(verdict), method


def _render_finding(record: StudyRecord, result: StudyResult, planned: Mapping[str, PlannedRun]) -> None:
    study = result.study
    with st.container(border=True, key=f"finding-{study.id}"):
        render_replication(result)
        _render_runs([planned[key] for key in _configs(study)])
        missing = [planned[one.config.training_fingerprint] for one in record.list_missing(study)]
        if missing and result.verdict == _NOT_RUN:
            st.text(_describe_cost(study, missing))
        _render_buttons(study, missing)


def _describe_cost(study: ReplicationStudy, missing: Sequence[PlannedRun]) -> str:
    """Return how many runs a study that was not run needs, with the time of one."""
    config = missing[0].config
    # It depends on other runs of the store too, but a time from an earlier view is good enough here.
    time = cached_by_signature(("cost", str(get_store().root), study.id), lambda: estimate_time(get_store(), [config]))
    each = f", about {format_duration(time.seconds)} each on this machine" if time.seconds else ""
    return f"Not run yet. It takes {len(missing)} runs of {config.training.steps} steps{each}."


def _configs(study: ReplicationStudy) -> dict[str, RunConfig]:
    """Return the configs of a study by fingerprint; arms of one setting share their runs."""
    configs = (config for arm in study.arms for seed in DEFAULT_SEEDS for config in study.run_configs(arm, seed))
    return {config.training_fingerprint: config for config in configs}


def _render_runs(planned: Sequence[PlannedRun]) -> None:
    here = [entry for entry in planned if entry.run is not None]
    if not here:
        return
    with st.expander(f"{len(here)} of its runs are in your store", icon=":material/list:"):
        for entry in here:
            st.page_link(WATCH_PAGE, label=f"{entry.run} ({entry.state})", query_params={"run": entry.run or ""})


def _render_buttons(study: ReplicationStudy, planned: Sequence[PlannedRun]) -> None:
    waiting = [entry for entry in planned if entry.state not in ("finished", *ACTIVE_STATES)]
    alive = [entry for entry in planned if entry.state in ACTIVE_STATES]
    with st.container(horizontal=True, vertical_alignment="center"):
        if waiting:
            label = f"Train the {len(waiting)} missing runs" if len(waiting) > 1 else "Train the missing run"
            if st.button(label, icon=":material/play_arrow:", key=f"train-{study.id}"):
                run_and_rerun(lambda: planned_runs.start_runs(get_client(), waiting))
        if alive:
            st.text(f"{len(alive)} queued or training: the verdict changes when they have finished.")
            if st.button("Stop", icon=":material/stop:", key=f"stop-{study.id}"):
                run_and_rerun(lambda: planned_runs.stop_runs(get_client(), alive))
        st.code(f"ptviz findings --run {study.id}", language="shell")
