"""Measured transfer on the page: prompts without training, prompts as a start, and what similarity predicts."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
import streamlit as st

from ptviz.analysis.prompt_similarity import NEURON_METRIC
from ptviz.analysis.transfer_correlation import mean_error_reduction
from ptviz.experiments import transfer_gain, transfer_prompts, transfer_results, zero_shot_transfer
from ptviz.experiments.transfer_gain import TransferGainSettings
from ptviz.experiments.transfer_results import (
    TargetTask,
    TransferRun,
    TransferRunKey,
    describe_damaged_entries,
    metrics_of_tasks,
)
from ptviz.plots import (
    plot_similarity_vs_transfer,
    plot_transfer,
    plot_transfer_correlations,
    plot_transfer_curves,
    plot_transfer_gain,
)
from ptviz.plots.prompt_set import target_titles
from ptviz.plots.prompt_similarity import SIMILARITY_MEASURES
from ptviz.plots.transfer import TRANSFER_GAIN, ZERO_SHOT_ACCURACY, ZERO_SHOT_GAIN
from ptviz.training.config import MAX_STEPS
from ptviz.ui.backend import get_client, get_store
from ptviz.ui.classroom import visitor_rules
from ptviz.ui.compare import prompt_similarity
from ptviz.ui.compare.prompt_selection import PromptSelection
from ptviz.ui.components.address_values import expect_whole_number
from ptviz.ui.components.errors import error_box, run_and_rerun, show_errors
from ptviz.ui.components.figure_panel import render_plot
from ptviz.ui.components.formatting import format_duration
from ptviz.ui.train.run_page import REFRESH_SECONDS
from ptviz.worker import background_jobs
from ptviz.worker.background_jobs import TransferJob

_GRID_CAPTION = (
    "How to read it: one column per prompt, one row per task that it is applied to, without training. Brackets: "
    "the prompt's own task. Transfer is positive where a cell beats the column *no prompt*."
)
_GAINS_CAPTION = (
    "How to read it: orange means fewer errors, blue more: +50% is half of the errors of the same training from "
    "scratch. Empty on a prompt's own task. Colours end at 100%."
)
_CURVES_CAPTION = (
    "How to read it: validation {metric} while the task is trained, grey from scratch, coloured from other tasks' "
    "prompts. A lead that shrinks saves steps; one that stays also improves the result. Bands: lowest to highest seed."
)
_CORRELATION_CAPTION = (
    "How to read it: one point per prompt and task that is not its own. If similarity predicted transfer, the "
    "points of each colour would rise to the right."
)
_ESTIMATES_CAPTION = (
    "How to read it: how well each measure predicts transfer: +1 perfectly, 0 not at all. An interval that contains "
    "0 is inconclusive; intervals come from a bootstrap over source prompts."
)


def render_measured_transfer(chosen: PromptSelection) -> None:
    """Show both grids as far as they are filled, the buttons that fill them, and the correlation with similarity."""
    tasks = transfer_prompts.target_tasks(chosen.runs)
    if not tasks:
        st.caption("There is no task to apply these prompts to: add a finished run of this backbone.")
        return
    if problem := describe_damaged_entries(get_store()):
        error_box(problem)
    running = _is_job_running()

    def refresh_interval(missing: int) -> float | None:
        # A grid is filled by the worker or by a command in a shell, at the same time as this page is open.
        return REFRESH_SECONDS if running else 4 * REFRESH_SECONDS if missing else None

    st.header("Measured: every prompt on every task, without training")
    missing = zero_shot_transfer.count_missing(get_store(), chosen.runs, tasks)
    st.fragment(_render_and_rerun, run_every=refresh_interval(missing))(
        running, lambda: _render_zero_shot_grid(chosen, tasks)
    )
    st.header("Measured: a few steps from every prompt, compared with from scratch")
    setting = _select_training_setting()
    missing = transfer_gain.count_missing_runs(get_store(), chosen.runs, tasks, setting)
    st.fragment(_render_and_rerun, run_every=refresh_interval(missing))(
        running, lambda: _render_transfer_gains(chosen, tasks, setting)
    )


def _select_training_setting() -> TransferGainSettings:
    expect_whole_number("steps", 1, MAX_STEPS, str(transfer_gain.DEFAULT_STEPS))
    expect_whole_number("seeds", 1, 20, "1")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        help, usual = "updates of each task from each prompt, and from scratch", transfer_gain.DEFAULT_STEPS
        steps = st.number_input("training steps", 1, MAX_STEPS, usual, 10, key="steps", bind="query-params", help=help)
        help = "runs per task and prompt; several give bands"
        seeds = st.number_input("seeds", 1, 20, 1, key="seeds", bind="query-params", help=help)
    return TransferGainSettings(int(steps), int(seeds))


def _render_and_rerun(running: bool, render: Callable[[], None]) -> None:
    """Show a grid; draw the page again when a job starts or ends."""
    with show_errors():
        if _is_job_running() != running:
            st.rerun()
        if running:
            get_client().ensure_worker()
        render()


def _is_job_running() -> bool:
    job = background_jobs.current_job(get_store())
    return job is not None and not job.problem


def _zero_shot_accuracies(chosen: PromptSelection, tasks: tuple[TargetTask, ...]) -> np.ndarray:
    """Return scores without training: rows are tasks, columns no prompt, then every prompt; NaN where unknown."""
    return zero_shot_transfer.accuracy_matrix(
        chosen.runs, tasks, zero_shot_transfer.measured_scores(get_store(), chosen.runs, tasks)
    )


def _render_zero_shot_grid(chosen: PromptSelection, tasks: tuple[TargetTask, ...]) -> None:
    grid = _zero_shot_accuracies(chosen, tasks)
    done = f"All {grid.size} cells are measured, each on up to {transfer_results.DEFAULT_ROWS} validation examples."
    wanted = TransferJob("zero-shot", tuple(run.id for run in chosen.runs))
    _render_fill_controls(
        chosen, wanted, (int(np.isnan(grid).sum()), grid.size), done, "cells are measured", "Measure", ""
    )
    if np.isfinite(grid).any():
        render_plot(
            plot_transfer,
            chosen.run_ids,
            key="grid",
            caption=_GRID_CAPTION,
            filename="measured-transfer",
            names=chosen.names,
        )


def _render_transfer_gains(
    chosen: PromptSelection, tasks: tuple[TargetTask, ...], setting: TransferGainSettings
) -> None:
    """Show the gains, the curves, and the correlation with similarity."""
    size = transfer_gain.grid_size(get_store(), chosen.runs, tasks, setting)
    if not size:
        st.caption("Select prompts of at least two tasks: a start from a task's own prompt is no transfer.")
        return
    found = transfer_gain.measured_runs(get_store(), chosen.runs, tasks, setting)
    missing = size - len(found)
    times = [run.seconds for run in found.values()]
    left = f" The rest takes about {format_duration(missing * median(times))}." if times and missing else ""
    wanted = TransferJob("gain", tuple(run.id for run in chosen.runs), setting.steps, setting.seeds)
    _render_fill_controls(
        chosen, wanted, (missing, size), f"All {size} trainings are done.", "trainings are done", "Train", left
    )
    reductions = mean_error_reduction(*transfer_gain.final_accuracies(get_store(), chosen.runs, tasks, found, setting))
    if np.isfinite(reductions).any():
        render_plot(
            plot_transfer_gain,
            chosen.run_ids,
            key="gains",
            caption=_GAINS_CAPTION,
            filename="gain-of-a-start",
            names=chosen.names,
            **_training_options(setting),
        )
    if found:
        _render_transfer_curves(chosen, tasks, found, setting)
    grid = _zero_shot_accuracies(chosen, tasks)
    if np.isfinite(grid).any() or np.isfinite(reductions).any():
        _render_correlation(chosen, tasks, setting, grid, reductions)


def _render_fill_controls(
    chosen: PromptSelection, wanted: TransferJob, count: tuple[int, int], done: str, words: str, verb: str, left: str
) -> None:
    """Show the progress of a grid, and the buttons and the command that fill it or stop that."""
    missing, size = count
    job = background_jobs.current_job(get_store())
    if job is not None and job.problem and job.what == wanted.what:
        error_box(job.problem)
    if not missing:
        st.caption(done)
        return
    if visitor_rules() is not None:
        st.caption(f"{size - missing} of {size} {words}. The rest is measured by the teacher in a classroom.")
        return
    progress = f"{size - missing} of {size} {words}.{left}"
    running = job is not None and not job.problem
    if (running and job is not None and job.what == wanted.what) or (
        not running and transfer_results.is_measuring(get_store())
    ):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.progress(1 - missing / size, text=progress)
            if running and st.button("Stop", icon=":material/stop:", key=f"stop-{wanted.what}"):
                run_and_rerun(lambda: background_jobs.cancel_job(get_store()))
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        label = f"{verb} {missing} of them" if missing < size else f"{verb} all {size}"
        if st.button(
            label,
            icon=":material/grid_on:",
            key=f"fill-{wanted.what}",
            disabled=running,
            help="in the background, while no run trains; after a stop it continues",
        ):
            run_and_rerun(lambda: _enqueue(wanted))
        st.caption(progress)
        with st.popover("In a terminal"):
            st.code(_cli_command(chosen, wanted), language="shell", wrap_lines=True)


def _enqueue(wanted: TransferJob) -> None:
    background_jobs.submit_job(get_store(), wanted)
    get_client().ensure_worker()


def _cli_command(chosen: PromptSelection, wanted: TransferJob) -> str:
    every = {run.id for run in transfer_prompts.source_prompts(get_store(), chosen.backbone)} == set(wanted.sources)
    ids = [] if every else ["--runs", ",".join(wanted.sources)]
    more = ["--gain", "--steps", str(wanted.steps), "--seeds", str(wanted.seeds)] if wanted.what == "gain" else []
    return shlex.join(["ptviz", "transfer", "--backbone", chosen.backbone, *ids, *more])


def _render_transfer_curves(
    chosen: PromptSelection,
    tasks: tuple[TargetTask, ...],
    found: dict[TransferRunKey, TransferRun],
    setting: TransferGainSettings,
) -> None:
    """Show the validation score over steps on one task, from scratch and from every source prompt."""
    trained = [task.key for task in tasks if any(run.task == task.key for run in found.values())]
    titles = {task.key: title for task, title in zip(tasks, target_titles(tasks), strict=True)}
    target = st.selectbox("Curves of the task", trained, key="course", format_func=lambda key: titles.get(key, key))
    (metric,) = metrics_of_tasks(found.values(), [task for task in tasks if task.key == target])
    render_plot(
        plot_transfer_curves,
        chosen.run_ids,
        transfer_results.task_names(tasks).get(target, str(target)),
        key="courses",
        caption=_CURVES_CAPTION.format(metric=metric.noun),
        filename="from-source-against-from-scratch",
        names=chosen.names,
        **_training_options(setting),
    )


def _render_correlation(
    chosen: PromptSelection,
    tasks: tuple[TargetTask, ...],
    setting: TransferGainSettings,
    grid: np.ndarray,
    reductions: np.ndarray,
) -> None:
    st.header("Does similarity predict transfer?")
    comparable = chosen.comparable_indices
    if len({transfer_prompts.own_task_key(chosen.runs[index], tasks) for index in comparable}) < 2:
        st.caption("Select prompts of at least two tasks: a prompt on its own task is no transfer.")
        return
    accuracies = grid[:, 1:][:, comparable]
    measured = {
        TRANSFER_GAIN: reductions[:, comparable],
        ZERO_SHOT_GAIN: accuracies - grid[:, :1],
        ZERO_SHOT_ACCURACY: accuracies,
    }
    filled = [kind for kind, values in measured.items() if np.isfinite(values).any()]
    against = st.segmented_control("against", filled, default=filled[0], key="against") or filled[0]
    options: dict[str, Any] = {
        "against": against,
        "centred": bool(st.session_state.get("centred")),
        "exclude_outliers": bool(st.session_state.get("without")),
        **_training_options(setting),
        **chosen.plot_options,
    }
    metrics = [metric for metric in SIMILARITY_MEASURES if prompt_similarity.has_similarity(chosen, metric)]
    metric = str(st.session_state.get("metric") or metrics[0])
    metric = metric if metric in metrics else metrics[0]
    left, right = st.columns(2, gap="medium")
    with left:
        render_plot(
            plot_similarity_vs_transfer,
            chosen.prompt_ids,
            key="relation",
            caption=_CORRELATION_CAPTION,
            filename="similarity-and-transfer",
            title=f"By {metric}",
            metric=metric,
            **options,
        )
    with right:
        render_plot(
            plot_transfer_correlations,
            chosen.prompt_ids,
            key="estimates",
            caption=_ESTIMATES_CAPTION,
            filename="correlations",
            title="By every measure",
            metrics=tuple(metrics),
            **options,
        )
    missing = "" if NEURON_METRIC in metrics else " Select the measure *neurons* above once to include it here."
    st.caption(
        "A prompt's own task is left out. Scores of different tasks are on different levels, so a gain is the "
        f"fairer axis. With few prompts the intervals are wide: this is evidence, not proof.{missing}"
    )


def _training_options(setting: TransferGainSettings) -> dict[str, Any]:
    """Return the options of a plot of trained starts."""
    return {"steps": setting.steps, "seeds": setting.seeds}
