"""The page of one run: settings, metrics, curves, predictions and actions."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import streamlit as st

from ptviz import tasks
from ptviz.plots.method_style import method_title
from ptviz.runs import ACTIVE_STATES, Run, RunConfig, RunHistory, Status, StoreError
from ptviz.runs.placement import cluster_resources
from ptviz.runs.target_run import split_targets
from ptviz.tasks.metrics import ACCURACY, Metric
from ptviz.ui.backend import get_client, get_store
from ptviz.ui.classroom import is_classroom, refresh_seconds
from ptviz.ui.components.address_values import expect_one_of
from ptviz.ui.components.errors import error_box, show_errors
from ptviz.ui.components.formatting import delta_options, format_duration, format_score, render_heading, state_badge
from ptviz.ui.components.glossary import meaning
from ptviz.ui.recorded_runs import list_runs, render_recorded_note
from ptviz.ui.train import run_controls, samples, training_curves, try_prompt
from ptviz.ui.train.classroom_queue import render_turn
from ptviz.ui.train.export_menu import export_menu

REFRESH_SECONDS = 1.0
"""Seconds between two refreshes while a run trains; one takes a few hundredths of a second."""
FIRST_STEP_SECONDS = 0.15
"""The same before the first step."""
ANSWER_SECONDS = 0.6
"""The same while a prediction is pending and nothing else changes."""


def run_from_address() -> Run | None:
    """Return the run that ``?run=`` names; without it the active run, else the newest, else the first recorded one.

    None if there is no run.

    Raises:
        StoreError: if the address names a run that is not there or cannot be read.
    """
    named = st.query_params.get("run")
    if named is None:
        known = list_runs()
        alive = [summary for summary in known if summary.status.state in ACTIVE_STATES]
        if not known:
            return None
        named = st.query_params["run"] = (alive or known)[0].id
    return get_store().get(named)


def render_run_header(run: Run, status: Status) -> None:
    """Show name, state, actions and settings of the run, and the reason of its state if there is one."""
    config = run.config
    with st.container(horizontal=True, vertical_alignment="center"):
        render_heading(config.name or run.id)
        state_badge(status.state)
        st.space("stretch")
        run_controls.render_run_controls(run, status)
        export_menu(run)
    st.text(describe_settings(config))
    render_recorded_note(run)
    if notes := run.task_notes():
        with st.expander(f"Notes on the data ({len(notes)})"):
            for note in notes:
                st.text(note)
    if config.parent is not None:
        st.text(f"Branched from step {config.parent[2]} of run {config.parent[0]}")
    if status.state == "queued" and is_classroom():
        render_turn(run.id)
    elif status.state == "queued":
        st.text(_queue_text(run))
    elif status.state == "failed":
        error_box(status.reason)
    elif status.reason and (status.state != "finished" or status.is_derived):
        st.text(status.reason)
    if config.task.startswith(tasks.ELSEWHERE_PREFIX):
        st.text(
            "The task is a file on another machine and is never opened here. To use the prompt on its texts, import "
            "the run again and name your copy of the file: ptviz import BUNDLE --task PATH"
        )


def describe_settings(config: RunConfig) -> str:
    """Return method, backbone, tasks and seed of a run in one line."""
    noun = "tasks" if config.more_tasks else "task"
    return (
        f"{method_title(config.method)} on {config.backbone}, {noun} {task_title(config)}, seed {config.training.seed}"
    )


def _queue_text(run: Run) -> str:
    """Return what a queued run waits for."""
    if cluster_resources(run.path) is not None:
        reason = run.status().reason
        return f"Queued on the cluster: {reason}." if reason else "Queued on the cluster: it waits for a node."
    worker = get_client().worker_info()
    if worker is not None and worker.run not in (None, run.id):
        return f"Queued: {worker.run} is training."
    return "The worker is starting; the first step comes in a few seconds."


def task_title(config: RunConfig) -> str:
    """Return a task's title; its name, path or id if it is not built in."""
    if config.task.startswith(tasks.ELSEWHERE_PREFIX):
        return f"{config.task.removeprefix(tasks.ELSEWHERE_PREFIX)} (on another machine)"
    if config.more_tasks:
        return ", ".join(task_title(config.for_target(index)) for index in range(len(config.targets)))
    task = tasks.named_task(config.task)
    return task.title if task else config.task_labels


def render_live_run(run: Run, status: Status) -> None:
    """Show metrics, curves and predictions, refreshed while the run trains."""
    interval = _refresh_seconds(run, status)
    st.fragment(_render_run, run_every=interval)(run, status.state, interval)


def _refresh_seconds(run: Run, status: Status) -> float | None:
    """Return the seconds between two refreshes; None when nothing will change by itself."""
    if status.state in ACTIVE_STATES and not len(run.history()):
        return refresh_seconds(FIRST_STEP_SECONDS)
    if status.state in ACTIVE_STATES:
        return refresh_seconds(REFRESH_SECONDS)
    return ANSWER_SECONDS if try_prompt.has_pending_prediction() else None


def select_target(run: Run) -> Run:
    """Return the target task to show of a run on several, chosen in a box; the run itself for the mean, or on one."""
    targets = split_targets(run)
    if len(targets) == 1:
        return run
    titles = {"": "mean of all"} | {one.config.task: task_title(one.config) for one in targets}
    expect_one_of("target", titles.values(), titles[""])
    chosen = st.segmented_control(
        "Scores of", list(titles), format_func=titles.__getitem__, default="", key="target", required=True,
        bind="query-params",
    )  # fmt: skip
    return next((one for one in targets if one.config.task == chosen), run)


def _render_target_scores(run: Run) -> None:
    """Show the scores of each target task of a run on several."""
    rows = []
    for one in split_targets(run):
        status, metric = one.status(), one.metric
        scores = {"Zero-shot": status.zero_shot, "Validation": status.accuracy, "Test": status.test}
        rows.append(
            {"Task": one.config.task_labels, "Metric": metric.noun}
            | {name: format_score(metric, score) for name, score in scores.items()}
        )
    import pandas as pd  # Here, because the home page, which needs this module, need not wait for it.

    st.table(pd.DataFrame(rows).set_index("Task"))
    st.caption("Choose a task above for its curve, its texts and predictions. The mean chooses the best prompt.")


def _render_run(run: Run, state: str, interval: float | None) -> None:
    with show_errors():
        status, curve = run.status(), run.history()
        render_metrics(run, status, curve)
        if curve.damage:
            st.text(f"{curve.damaged_lines} damaged lines are left out of the curves; {curve.damage}")
        _render_source_prompts(run, status, curve)
        left, right = st.columns([3, 2], gap="medium")
        with left:
            figure = st.container()
            # Above in the code because the figure needs it, below on the page because few readers do.
            smoothing = st.slider("smoothing of the loss", 0.0, 0.99, 0.9, 0.01, key="smooth", bind="query-params")
            with figure:
                training_curves.render_training_curve(run, smoothing)
        with right:
            if run.config.more_tasks:
                _render_target_scores(run)
            else:
                _render_prediction_box(run, status)
        samples.render_samples(run)
        # The buttons above and the interval depend on the state: a new one means the whole page.
        if status.state != state or _refresh_seconds(run, status) != interval:
            st.rerun()


def render_metrics(run: Run, status: Status, curve: RunHistory, *, progress: bool = True) -> None:
    """Show step, speed, time and scores of a run whose history is given, up to now or up to an earlier step.

    ``progress`` shows the bar of steps made.
    """
    metric, total = run.metric, _planned_steps(run, status, curve)
    made = max([0, *curve.global_steps[-1:].tolist(), *curve.evaluation_steps[-1:]])
    zero = curve.baselines.zero_shot if curve.baselines else None
    best = curve.best_evaluation.accuracy if curve.best_evaluation else None
    speed = curve.steps_per_second if status.state in ACTIVE_STATES else status.steps_per_second
    left = (total - made) / speed if speed and status.state == "running" else None
    if progress:
        st.progress(min(made / total, 1.0) if total else 0.0)
    test = curve.finished.test if curve.finished else None
    row = st.container(horizontal=True, gap="medium")
    row.metric("Step", f"{made:,} / {total:,}", help=meaning("step"))
    row.metric("Steps per second", f"{speed:.1f}" if speed else None)
    if status.state in ACTIVE_STATES:
        row.metric("Time left", format_duration(left))
    else:
        row.metric("Training time", format_duration(status.seconds or None))
    about = "" if metric == ACCURACY else f". {metric.title}: {metric.definition}"
    help = f"{metric.noun} of the best prompt so far, on examples that are not trained on{about}"
    if metric.is_row_mean and curve.evaluations and curve.evaluations[-1].written:
        help += (
            ". Among prompts within one standard error of the highest score, the best is the one with the lowest loss"
        )
    # Before training the prompt is a disturbance, and no result to be marked as one.
    starts = len(curve.evaluation_steps) < 2
    change = _zero_shot_delta(best, zero, metric) | ({"delta_color": "off"} if starts else {})
    row.metric("Best on validation", format_score(metric, best), help=help, **change)
    help = "measured once, when the run ends, on examples that were not used before"
    row.metric(
        "Test",
        format_score(metric, test),
        help=help,
        **_zero_shot_delta(test, curve.finished.zero_shot if curve.finished else None, metric),
    )

    if starts and best is not None and zero is not None and best < zero:
        st.caption(
            "Below zero-shot at the start: an untrained prompt is noise, or words that have nothing to do with the "
            "text, and the frozen backbone reads it with the text. Training turns it into something that helps."
        )


def _planned_steps(run: Run, status: Status, curve: RunHistory) -> int:
    """Return the updates of all stages of a run, those included that have not begun."""
    started = sum(stage.steps for stage in curve.stages_started)
    with suppress(StoreError):
        return max(started, int(run.environment().get("steps", 0))) or status.steps
    return started or status.steps


def _render_source_prompts(run: Run, status: Status, curve: RunHistory) -> None:
    """Show the source prompts of the run and where they come from."""
    wanted = run.config.source_tasks()
    if not wanted:
        return
    ready = {prompt.task: prompt for prompt in curve.source_prompts}
    made = [
        f"{prompt.task} ({'reused' if prompt.reused else 'trained'}, {_source_score(prompt.run, prompt.accuracy)}, run "
        f"{prompt.run})"
        for prompt in curve.source_prompts
    ]
    missing = [task for task in wanted if task not in ready]
    if not made and (len(curve) or status.state not in ACTIVE_STATES):
        st.caption(f"Source tasks: {', '.join(wanted)}.")
    elif missing and status.state in ACTIVE_STATES:
        st.caption(f"The source prompt of {missing[0]} is being trained; it is listed as a run of its own.")
    if made:
        st.text(f"Source prompts: {'; '.join(made)}")


def _source_score(run: str, score: float) -> str:
    """Return the score of a source prompt by the metric of its own task, which its run has recorded."""
    metric = ACCURACY
    with suppress(StoreError):  # It was deleted, or the prompt was trained within the run.
        metric = get_store().get(run).metric
    return metric.format(score)


def _zero_shot_delta(score: float | None, zero: float | None, metric: Metric) -> dict[str, Any]:
    if score is None or zero is None:
        return {}
    return delta_options(metric.format_change(score - zero)) | {"delta_description": "vs zero-shot"}


def _render_prediction_box(run: Run, status: Status) -> None:
    text = sentence_input(run)
    at = None if status.state in ACTIVE_STATES else _select_snapshot(run)
    snapshots = run.snapshots()
    if not snapshots:
        st.caption("Predictions start with the first snapshot, shortly after training begins.")
        return
    newest = snapshots[-1].stage, snapshots[-1].step
    if run.metric.kind == "text":
        with show_errors():
            try_prompt.generated_text_panel(run, text, at, newest if status.state in ACTIVE_STATES else None)
    else:
        try_prompt.prediction_panel(run, text, at, newest)


def sentence_input(run: Run) -> str:
    """Return the text typed into the box Try it, which begins with a sentence like those of the run's task."""
    task = tasks.named_task(run.config.task)
    return try_prompt.sentence_input(task.family if task else "", run.config.text or "")


def _select_snapshot(run: Run) -> tuple[int, int] | None:
    """Return the snapshot that predicts, from a slider; None for the best prompt."""
    snapshots = [(info.stage, info.step) for info in run.snapshots()]
    if len(snapshots) < 2:
        return None
    several = len({stage for stage, _ in snapshots}) > 1
    labels = {(f"{stage + 1}:{step}" if several else str(step)): (stage, step) for stage, step in snapshots}
    chosen = st.select_slider("with the prompt of step", [*labels, "best"], value="best", key="at", bind="query-params")
    return labels.get(chosen)
