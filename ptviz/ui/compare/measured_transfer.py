"""Measured transfer on the page: prompts as they are, prompts as a start, and whether similarity tells either."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from statistics import median

import numpy as np
import streamlit as st

from ptviz.analysis.comparison import RunResult, compute_seed_bands
from ptviz.analysis.similarity import NEURON_METRIC
from ptviz.analysis.transfer import TransferCorrelation, correlate_transfer, mean_error_reduction
from ptviz.experiments import transfer as record
from ptviz.experiments import transfer_gain
from ptviz.experiments.transfer_gain import TransferGainSettings
from ptviz.experiments.transfer_results import TargetTask, TransferRun, TransferRunKey, from_scratch_key
from ptviz.figures import transfer as drawn
from ptviz.figures.comparison import MethodStyle, draw_seed_bands
from ptviz.figures.style import SeriesStyle, series_style
from ptviz.plots.cache import cached_by_signature
from ptviz.ui.backend import get_client, get_store
from ptviz.ui.compare import prompt_similarity
from ptviz.ui.compare import transfer_scripts as scripts
from ptviz.ui.compare.prompt_selection import PromptSelection, short_task_name
from ptviz.ui.compare.transfer_scripts import START_GAIN, ZERO_SHOT_ACCURACY, ZERO_SHOT_GAIN
from ptviz.ui.components.errors import error_box, show_errors
from ptviz.ui.components.figure_panel import figure_panel
from ptviz.ui.components.formatting import format_duration
from ptviz.ui.train.run_page import REFRESH_SECONDS
from ptviz.worker import background_experiments
from ptviz.worker.background_experiments import TransferJob

_GRID_CAPTION = (
    "How to read it: one column a prompt, one row a task it is tried on, as it is. Brackets: the prompt's own task. A "
    "transfer is good where a cell beats the column *no prompt*."
)
_GAINS_CAPTION = (
    "How to read it: orange takes errors away, blue adds some: +50 % leaves half of the errors that the same training "
    "from scratch leaves. Empty on a prompt's own task. Colours end at 100 %."
)
_CURVES_CAPTION = (
    "How to read it: validation accuracy while the task is trained, grey from scratch, coloured from other tasks' "
    "prompts. A head start that shrinks saves steps; one that stays is worth more. Bands: lowest to highest seed."
)
_CORRELATION_CAPTION = (
    "How to read it: one point a prompt on a task that is not its own. If similarity told transfer, the points of "
    "each colour would rise to the right."
)
_ESTIMATES_CAPTION = (
    "How to read it: how well each measure foretells transfer: +1 always, 0 not at all. A bar that crosses 0 leaves "
    "open whether it does; bars come from drawing source prompts again and again."
)


def render_measured_transfer(chosen: PromptSelection) -> None:
    """Both grids as far as they are filled, the buttons that fill them, and what they say about similarity."""
    tasks = record.target_tasks(chosen.runs)
    if not tasks:
        st.caption("No task to try these prompts on: add a finished run of this backbone.")
        return
    order = background_experiments.current_job(get_store())
    going = order is not None and not order.problem

    def pace(lacking: int) -> float | None:
        # Whoever fills a grid, this app's worker or a command, does so beside the page: look again now and then.
        return REFRESH_SECONDS if going else 4 * REFRESH_SECONDS if lacking else None

    st.subheader("Measured: every prompt on every task, as it is")
    lacking = record.count_missing(get_store(), chosen.runs, tasks)
    st.fragment(_render_and_rerun, run_every=pace(lacking))(going, lambda: _render_zero_shot_grid(chosen, tasks))
    st.subheader("Measured: a few steps from every prompt, against from scratch")
    setting = _select_training_setting()
    lacking = transfer_gain.count_missing_runs(get_store(), chosen.runs, tasks, setting)
    st.fragment(_render_and_rerun, run_every=pace(lacking))(
        going, lambda: _render_transfer_gains(chosen, tasks, setting)
    )


def _select_training_setting() -> TransferGainSettings:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        steps = st.number_input("steps of a start", 1, 100_000, transfer_gain.DEFAULT_STEPS, 10, key="steps",
        bind="query-params",
                                help="how long each task is trained from each prompt, and from scratch")  # fmt: skip
        seeds = st.number_input("seeds", 1, 20, 1, key="seeds", bind="query-params",
                                help="how often each start is trained; several give bands")  # fmt: skip
    return TransferGainSettings(int(steps), int(seeds))


def _render_and_rerun(going: bool, show: Callable[[], None]) -> None:
    """A grid, and the whole page again when an order begins or ends."""
    with show_errors():
        order = background_experiments.current_job(get_store())
        if (order is not None and not order.problem) != going:
            st.rerun()
        if going:
            get_client().ensure_worker()
        show()


def _zero_shot_accuracies(chosen: PromptSelection, tasks: tuple[TargetTask, ...]) -> np.ndarray:
    """Accuracies without training, rows tasks, columns no prompt and then every prompt; NaN where unknown."""
    return record.accuracy_matrix(chosen.runs, tasks, record.measured_scores(get_store(), chosen.runs, tasks))


def _render_zero_shot_grid(chosen: PromptSelection, tasks: tuple[TargetTask, ...]) -> None:
    grid, titles = _zero_shot_accuracies(chosen, tasks), [short_task_name(task.name) for task in tasks]
    done = f"All {grid.size} cells are measured, each on up to {record.DEFAULT_ROWS} validation rows."
    wanted = TransferJob("zero-shot", tuple(run.id for run in chosen.runs))
    _render_fill_controls(
        chosen, wanted, (int(np.isnan(grid).sum()), grid.size), done, "cells are measured", "Measure", ""
    )
    if np.isfinite(grid).any():
        columns = ["no prompt", *chosen.names]
        own = [[False, *(run.config.task == task.name for run in chosen.runs)] for task in tasks]
        figure_panel(drawn.draw_transfer_grid(grid, titles, columns, own), drawn.describe_transfer_grid(grid, titles,
        columns), _GRID_CAPTION,
              key="grid", name="measured-transfer",
              python=scripts.transfer_grid_script(chosen, titles, "measured-transfer"))  # fmt: skip


def _render_transfer_gains(
    chosen: PromptSelection, tasks: tuple[TargetTask, ...], setting: TransferGainSettings
) -> None:
    """The gains, the curves, and what both grids say about similarity."""
    titles = [short_task_name(task.name) for task in tasks]
    size = transfer_gain.grid_size(get_store(), chosen.runs, tasks, setting)
    if not size:
        st.caption("Choose prompts of at least two tasks: a start from a task's own prompt is no transfer.")
        return
    found = transfer_gain.measured_runs(get_store(), chosen.runs, tasks, setting)
    lacking = size - len(found)
    times = [trial.seconds for trial in found.values()]
    left = f" The rest takes about {format_duration(lacking * median(times))}." if times and lacking else ""
    wanted = TransferJob("gain", tuple(run.id for run in chosen.runs), setting.steps, setting.seeds)
    _render_fill_controls(
        chosen, wanted, (lacking, size), f"All {size} trainings are made.", "trainings are made", "Train", left
    )
    reductions = mean_error_reduction(*transfer_gain.final_accuracies(get_store(), chosen.runs, tasks, found, setting))
    if np.isfinite(reductions).any():
        figure_panel(drawn.draw_transfer_gains(reductions, titles, chosen.names),
        drawn.describe_transfer_gains(reductions, titles, chosen.names),
              _GAINS_CAPTION, key="gains", name="gain-of-a-start",
              python=scripts.transfer_gains_script(chosen, titles, setting, "gain-of-a-start"))  # fmt: skip
    if found:
        _render_transfer_curves(chosen, tasks, found, setting)
    grid = _zero_shot_accuracies(chosen, tasks)
    if np.isfinite(grid).any() or np.isfinite(reductions).any():
        _render_correlation(chosen, tasks, titles, setting, grid, reductions)


def _render_fill_controls(
    chosen: PromptSelection,
    wanted: TransferJob,
    count: tuple[int, int],
    done: str,
    words: str,
    verb: str,
    left: str,
) -> None:
    """How far a grid is; the button and the command that fill it, or the one that stops that."""
    lacking, size = count
    order = background_experiments.current_job(get_store())
    if order is not None and order.problem and order.what == wanted.what:
        error_box(order.problem)
    if not lacking:
        st.caption(done)
        return
    told = f"{size - lacking} of {size} {words}.{left}"
    going = order is not None and not order.problem
    if (going and order is not None and order.what == wanted.what) or (not going and record.is_measuring(get_store())):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.progress(1 - lacking / size, text=told)
            if going and st.button("Stop", icon=":material/stop:", key=f"stop-{wanted.what}"):
                _run_action(lambda: background_experiments.cancel_job(get_store()))
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        label = f"{verb} {lacking} of them" if lacking < size else f"{verb} all {size}"
        if st.button(label, icon=":material/grid_on:", key=f"fill-{wanted.what}", disabled=going,
                     help="in the background, while no run trains; after a stop it goes on from there"):  # fmt: skip
            _run_action(lambda: _enqueue(wanted))
        st.caption(told)
        with st.popover("In a terminal"):
            st.code(_cli_command(chosen, wanted), language="shell", wrap_lines=True)


def _run_action(action: Callable[[], object]) -> None:
    done = False
    with show_errors():
        action()
        done = True
    if done:
        st.rerun()


def _enqueue(wanted: TransferJob) -> None:
    background_experiments.submit_job(get_store(), wanted)
    get_client().ensure_worker()


def _cli_command(chosen: PromptSelection, wanted: TransferJob) -> str:
    every = {run.id for run in record.source_prompts(get_store(), chosen.backbone)} == set(wanted.sources)
    ids = [] if every else ["--runs", ",".join(wanted.sources)]
    more = ["--gain", "--steps", str(wanted.steps), "--seeds", str(wanted.seeds)] if wanted.what == "gain" else []
    return shlex.join(["ptviz", "transfer", "--backbone", chosen.backbone, *ids, *more])


def _render_transfer_curves(
    chosen: PromptSelection,
    tasks: tuple[TargetTask, ...],
    found: dict[TransferRunKey, TransferRun],
    setting: TransferGainSettings,
) -> None:
    """Validation accuracy over steps on one task, from scratch and from every source."""
    trained = [task.name for task in tasks if any(trial.task == task.name for trial in found.values())]
    target = st.selectbox("Curves of the task", trained, key="course", format_func=short_task_name)
    own = [trial for trial in found.values() if trial.task == target]
    names, places = _name_starts(chosen, own)
    looks = {
        name: MethodStyle(name, SeriesStyle() if place is None else series_style(place))
        for name, place in places.items()
    }
    laps = [
        RunResult(names[trial.start], trial.seed, evaluated=trial.evaluated, accuracies=trial.accuracies)
        for trial in sorted(own, key=lambda trial: [*names].index(trial.start))
    ]
    curves = compute_seed_bands(laps)
    ends = ", ".join(f"{curve.method} {curve.mean[-1]:.0%}" for curve in curves if curve.mean)
    name = "from-source-against-from-scratch"
    figure_panel(draw_seed_bands(curves, looks),
    f"Validation accuracy on {short_task_name(str(target))} over steps. At the end: {ends}.",
          _CURVES_CAPTION, key="courses", name=name,
          python=scripts.transfer_curves_script(chosen, str(target), names, places, setting, name))  # fmt: skip


def _name_starts(chosen: PromptSelection, own: list[TransferRun]) -> tuple[dict[str, str], dict[str, int | None]]:
    """Names of starts by id, from scratch first, and the place of the mark that each has; None: none of its own."""
    lengths = sorted({len(array) for array in chosen.prompts.values()})
    fresh = {
        from_scratch_key(chosen.backbone, m): f"from scratch (m = {m})" if len(lengths) > 1 else "from scratch"
        for m in lengths
    }
    begun = {run.id: f"from {name}" for run, name in zip(chosen.runs, chosen.names, strict=True)}
    names = {id: name for id, name in {**fresh, **begun}.items() if any(trial.start == id for trial in own)}
    # By the place among all prompts: a prompt keeps its mark from task to task.
    marks = {run.id: place for place, run in enumerate(chosen.runs)}
    return names, {name: marks.get(id) for id, name in names.items()}


def _render_correlation(
    chosen: PromptSelection,
    tasks: tuple[TargetTask, ...],
    titles: list[str],
    setting: TransferGainSettings,
    grid: np.ndarray,
    reductions: np.ndarray,
) -> None:
    st.subheader("Does similarity foretell transfer?")
    places = chosen.comparable_indices
    trained_on = [chosen.runs[place].config.task for place in places]
    if len(set(trained_on)) < 2:
        st.caption("Choose prompts of at least two tasks: a prompt on its own task is no transfer.")
        return
    kinds = {
        START_GAIN: reductions[:, places],
        ZERO_SHOT_GAIN: grid[:, 1:][:, places] - grid[:, :1],
        ZERO_SHOT_ACCURACY: grid[:, 1:][:, places],
    }
    filled = [kind for kind, values in kinds.items() if np.isfinite(values).any()]
    kind = st.segmented_control("against", filled, default=filled[0], key="against") or filled[0]
    metric = str(st.session_state.get("metric") or prompt_similarity.SIMILARITY_MEASURES[0])
    centred, without = bool(st.session_state.get("centred")), bool(st.session_state.get("without"))
    values, targets = kinds[kind], [task.name for task in tasks]
    compared = {
        one: made
        for one in prompt_similarity.SIMILARITY_MEASURES
        if (made := prompt_similarity.compare_prompts(chosen, one, centred, without))
    }

    def every() -> dict[str, TransferCorrelation]:
        count = len(places)
        return {
            one: correlate_transfer(found.values[:count, :count], trained_on, values, targets)
            for one, (found, _) in compared.items()
        }

    key = ("relations", chosen.cache_key, tuple(compared), tuple(trained_on), centred, without, kind, values.tobytes())
    found = cached_by_signature(key, every)
    metric = metric if metric in found else next(iter(found))
    names = [chosen.names[place] for place in places]
    left, right = st.columns(2, gap="medium")
    with left:
        alt = drawn.describe_transfer_correlation(found[metric], metric)
        figure_panel(drawn.draw_transfer_correlation(found[metric], titles, names, metric, kind), alt,
        _CORRELATION_CAPTION, key="relation",
              name="similarity-and-transfer", title=f"By {metric}",
              python=scripts.correlation_script(chosen, titles, setting, kind, metric, centred, without,
                                     "similarity-and-transfer"))  # fmt: skip
    with right:
        figure_panel(drawn.draw_correlations(found), drawn.describe_correlations(found), _ESTIMATES_CAPTION,
        key="estimates",
              name="correlations", title="By every measure",
              python=scripts.correlations_script(chosen, titles, setting, kind, found, centred, without,
                                       "correlations"))  # fmt: skip
    points = len(found[metric].similarity)
    missing = "" if NEURON_METRIC in found else " Choose the measure *neurons* above once to have it here, too."
    st.caption(
        f"{points} point{'s' if points != 1 else ''}, own tasks left out. Accuracies of different tasks are on "
        "different levels, so a gain is the fairer axis. Few prompts make wide bars: this is evidence, not proof."
        + missing
    )
