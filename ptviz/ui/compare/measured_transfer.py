"""Measured transfer on the page: prompts as they are, prompts as a start, and whether similarity tells either."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from statistics import median

import numpy as np
import streamlit as st

from ptviz.analysis.comparison import Lap, bands
from ptviz.analysis.similarity import NEURONS
from ptviz.analysis.transfer import Relation, over_seeds, relation
from ptviz.experiments import transfer as record
from ptviz.experiments import transfer_gain
from ptviz.experiments.transfer_gain import Setting
from ptviz.experiments.transfer_results import Target, Trial, TrialKey, scratch
from ptviz.figures import transfer as drawn
from ptviz.figures.comparison import Look, draw_bands
from ptviz.figures.style import Mark, mark
from ptviz.ui.backend import executor, store
from ptviz.ui.cache import remembered
from ptviz.ui.compare import prompt_similarity
from ptviz.ui.compare import transfer_scripts as scripts
from ptviz.ui.compare.prompt_selection import Chosen, short
from ptviz.ui.compare.transfer_scripts import ACCURACY, START, ZERO_SHOT
from ptviz.ui.components.errors import explained, problem
from ptviz.ui.components.figure_panel import panel
from ptviz.ui.components.formatting import duration
from ptviz.ui.train.run_page import TICK
from ptviz.worker import background_experiments
from ptviz.worker.background_experiments import Order

_READ_GRID = (
    "How to read it: one column a prompt, one row a task it is tried on, as it is. Brackets: the prompt's own task. A "
    "transfer is good where a cell beats the column *no prompt*."
)
_READ_GAINS = (
    "How to read it: orange takes errors away, blue adds some: +50 % leaves half of the errors that the same training "
    "from scratch leaves. Empty on a prompt's own task. Colours end at 100 %."
)
_READ_COURSES = (
    "How to read it: validation accuracy while the task is trained, grey from scratch, coloured from other tasks' "
    "prompts. A head start that shrinks saves steps; one that stays is worth more. Bands: lowest to highest seed."
)
_READ_RELATION = (
    "How to read it: one point a prompt on a task that is not its own. If similarity told transfer, the points of "
    "each colour would rise to the right."
)
_READ_ESTIMATES = (
    "How to read it: how well each measure foretells transfer: +1 always, 0 not at all. A bar that crosses 0 leaves "
    "open whether it does; bars come from drawing source prompts again and again."
)


def show(chosen: Chosen) -> None:
    """Both grids as far as they are filled, the buttons that fill them, and what they say about similarity."""
    tasks = record.targets(chosen.runs)
    if not tasks:
        st.caption("No task to try these prompts on: add a finished run of this backbone.")
        return
    order = background_experiments.ordered(store())
    going = order is not None and not order.problem

    def pace(lacking: int) -> float | None:
        # Whoever fills a grid, this app's worker or a command, does so beside the page: look again now and then.
        return TICK if going else 4 * TICK if lacking else None

    st.subheader("Measured: every prompt on every task, as it is")
    lacking = record.missing(store(), chosen.runs, tasks)
    st.fragment(_watched, run_every=pace(lacking))(going, lambda: _as_they_are(chosen, tasks))
    st.subheader("Measured: a few steps from every prompt, against from scratch")
    setting = _setting()
    lacking = transfer_gain.missing(store(), chosen.runs, tasks, setting)
    st.fragment(_watched, run_every=pace(lacking))(going, lambda: _as_a_start(chosen, tasks, setting))


def _setting() -> Setting:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        steps = st.number_input("steps of a start", 1, 100_000, transfer_gain.STEPS, 10, key="steps",
        bind="query-params",
                                help="how long each task is trained from each prompt, and from scratch")  # fmt: skip
        seeds = st.number_input("seeds", 1, 20, 1, key="seeds", bind="query-params",
                                help="how often each start is trained; several give bands")  # fmt: skip
    return Setting(int(steps), int(seeds))


def _watched(going: bool, show: Callable[[], None]) -> None:
    """A grid, and the whole page again when an order begins or ends."""
    with explained():
        order = background_experiments.ordered(store())
        if (order is not None and not order.problem) != going:
            st.rerun()
        if going:
            executor().ensure_worker()
        show()


def _grid(chosen: Chosen, tasks: tuple[Target, ...]) -> np.ndarray:
    """Accuracies without training, rows tasks, columns no prompt and then every prompt; NaN where unknown."""
    return record.accuracies(chosen.runs, tasks, record.known(store(), chosen.runs, tasks))


def _as_they_are(chosen: Chosen, tasks: tuple[Target, ...]) -> None:
    grid, titles = _grid(chosen, tasks), [short(task.name) for task in tasks]
    done = f"All {grid.size} cells are measured, each on up to {record.ROWS} validation rows."
    wanted = Order("zero-shot", tuple(run.id for run in chosen.runs))
    _todo(chosen, wanted, (int(np.isnan(grid).sum()), grid.size), done, "cells are measured", "Measure", "")
    if np.isfinite(grid).any():
        columns = ["no prompt", *chosen.names]
        own = [[False, *(run.config.task == task.name for run in chosen.runs)] for task in tasks]
        panel(drawn.draw_grid(grid, titles, columns, own), drawn.tell_grid(grid, titles, columns), _READ_GRID,
              key="grid", name="measured-transfer",
              python=scripts.grid(chosen, titles, "measured-transfer"))  # fmt: skip


def _as_a_start(chosen: Chosen, tasks: tuple[Target, ...], setting: Setting) -> None:
    """The gains, the curves, and what both grids say about similarity."""
    titles = [short(task.name) for task in tasks]
    size = transfer_gain.size(store(), chosen.runs, tasks, setting)
    if not size:
        st.caption("Choose prompts of at least two tasks: a start from a task's own prompt is no transfer.")
        return
    found = transfer_gain.known(store(), chosen.runs, tasks, setting)
    lacking = size - len(found)
    times = [trial.seconds for trial in found.values()]
    left = f" The rest takes about {duration(lacking * median(times))}." if times and lacking else ""
    wanted = Order("gain", tuple(run.id for run in chosen.runs), setting.steps, setting.seeds)
    _todo(chosen, wanted, (lacking, size), f"All {size} trainings are made.", "trainings are made", "Train", left)
    reductions = over_seeds(*transfer_gain.ends(store(), chosen.runs, tasks, found, setting))
    if np.isfinite(reductions).any():
        panel(drawn.draw_gains(reductions, titles, chosen.names), drawn.tell_gains(reductions, titles, chosen.names),
              _READ_GAINS, key="gains", name="gain-of-a-start",
              python=scripts.gained(chosen, titles, setting, "gain-of-a-start"))  # fmt: skip
    if found:
        _courses(chosen, tasks, found, setting)
    grid = _grid(chosen, tasks)
    if np.isfinite(grid).any() or np.isfinite(reductions).any():
        _related(chosen, tasks, titles, setting, grid, reductions)


def _todo(
    chosen: Chosen,
    wanted: Order,
    count: tuple[int, int],
    done: str,
    words: str,
    verb: str,
    left: str,
) -> None:
    """How far a grid is; the button and the command that fill it, or the one that stops that."""
    lacking, size = count
    order = background_experiments.ordered(store())
    if order is not None and order.problem and order.what == wanted.what:
        problem(order.problem)
    if not lacking:
        st.caption(done)
        return
    told = f"{size - lacking} of {size} {words}.{left}"
    going = order is not None and not order.problem
    if (going and order is not None and order.what == wanted.what) or (not going and record.filling(store())):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.progress(1 - lacking / size, text=told)
            if going and st.button("Stop", icon=":material/stop:", key=f"stop-{wanted.what}"):
                _act(lambda: background_experiments.cancel(store()))
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        label = f"{verb} {lacking} of them" if lacking < size else f"{verb} all {size}"
        if st.button(label, icon=":material/grid_on:", key=f"fill-{wanted.what}", disabled=going,
                     help="in the background, while no run trains; after a stop it goes on from there"):  # fmt: skip
            _act(lambda: _order(wanted))
        st.caption(told)
        with st.popover("In a terminal"):
            st.code(_command(chosen, wanted), language="shell", wrap_lines=True)


def _act(action: Callable[[], object]) -> None:
    done = False
    with explained():
        action()
        done = True
    if done:
        st.rerun()


def _order(wanted: Order) -> None:
    background_experiments.place(store(), wanted)
    executor().ensure_worker()


def _command(chosen: Chosen, wanted: Order) -> str:
    every = {run.id for run in record.sources(store(), chosen.backbone)} == set(wanted.sources)
    ids = [] if every else ["--runs", ",".join(wanted.sources)]
    more = ["--gain", "--steps", str(wanted.steps), "--seeds", str(wanted.seeds)] if wanted.what == "gain" else []
    return shlex.join(["ptviz", "transfer", "--backbone", chosen.backbone, *ids, *more])


def _courses(chosen: Chosen, tasks: tuple[Target, ...], found: dict[TrialKey, Trial], setting: Setting) -> None:
    """Validation accuracy over steps on one task, from scratch and from every source."""
    trained = [task.name for task in tasks if any(trial.task == task.name for trial in found.values())]
    target = st.selectbox("Curves of the task", trained, key="course", format_func=short)
    own = [trial for trial in found.values() if trial.task == target]
    names, places = _starts(chosen, own)
    looks = {name: Look(name, Mark() if place is None else mark(place)) for name, place in places.items()}
    laps = [
        Lap(names[trial.start], trial.seed, evaluated=trial.evaluated, accuracies=trial.accuracies)
        for trial in sorted(own, key=lambda trial: [*names].index(trial.start))
    ]
    curves = bands(laps)
    ends = ", ".join(f"{curve.method} {curve.mean[-1]:.0%}" for curve in curves if curve.mean)
    name = "from-source-against-from-scratch"
    panel(draw_bands(curves, looks), f"Validation accuracy on {short(str(target))} over steps. At the end: {ends}.",
          _READ_COURSES, key="courses", name=name,
          python=scripts.courses(chosen, str(target), names, places, setting, name))  # fmt: skip


def _starts(chosen: Chosen, own: list[Trial]) -> tuple[dict[str, str], dict[str, int | None]]:
    """Names of starts by id, from scratch first, and the place of the mark that each has; None: none of its own."""
    lengths = sorted({len(array) for array in chosen.prompts.values()})
    fresh = {
        scratch(chosen.backbone, m): f"from scratch (m = {m})" if len(lengths) > 1 else "from scratch" for m in lengths
    }
    begun = {run.id: f"from {name}" for run, name in zip(chosen.runs, chosen.names, strict=True)}
    names = {id: name for id, name in {**fresh, **begun}.items() if any(trial.start == id for trial in own)}
    # By the place among all prompts: a prompt keeps its mark from task to task.
    marks = {run.id: place for place, run in enumerate(chosen.runs)}
    return names, {name: marks.get(id) for id, name in names.items()}


def _related(
    chosen: Chosen,
    tasks: tuple[Target, ...],
    titles: list[str],
    setting: Setting,
    grid: np.ndarray,
    reductions: np.ndarray,
) -> None:
    st.subheader("Does similarity foretell transfer?")
    places = chosen.places
    trained_on = [chosen.runs[place].config.task for place in places]
    if len(set(trained_on)) < 2:
        st.caption("Choose prompts of at least two tasks: a prompt on its own task is no transfer.")
        return
    kinds = {
        START: reductions[:, places],
        ZERO_SHOT: grid[:, 1:][:, places] - grid[:, :1],
        ACCURACY: grid[:, 1:][:, places],
    }
    filled = [kind for kind, values in kinds.items() if np.isfinite(values).any()]
    kind = st.segmented_control("against", filled, default=filled[0], key="against") or filled[0]
    metric = str(st.session_state.get("metric") or prompt_similarity.MEASURES[0])
    centred, without = bool(st.session_state.get("centred")), bool(st.session_state.get("without"))
    values, targets = kinds[kind], [task.name for task in tasks]
    compared = {
        one: made
        for one in prompt_similarity.MEASURES
        if (made := prompt_similarity.compare(chosen, one, centred, without))
    }

    def every() -> dict[str, Relation]:
        count = len(places)
        return {
            one: relation(found.values[:count, :count], trained_on, values, targets)
            for one, (found, _) in compared.items()
        }

    key = ("relations", chosen.key, tuple(compared), tuple(trained_on), centred, without, kind, values.tobytes())
    found = remembered(key, every)
    metric = metric if metric in found else next(iter(found))
    names = [chosen.names[place] for place in places]
    left, right = st.columns(2, gap="medium")
    with left:
        alt = drawn.tell_relation(found[metric], metric)
        panel(drawn.draw_relation(found[metric], titles, names, metric, kind), alt, _READ_RELATION, key="relation",
              name="similarity-and-transfer", title=f"By {metric}",
              python=scripts.related(chosen, titles, setting, kind, metric, centred, without,
                                     "similarity-and-transfer"))  # fmt: skip
    with right:
        panel(drawn.draw_estimates(found), drawn.tell_estimates(found), _READ_ESTIMATES, key="estimates",
              name="correlations", title="By every measure",
              python=scripts.estimated(chosen, titles, setting, kind, found, centred, without,
                                       "correlations"))  # fmt: skip
    points = len(found[metric].similarity)
    missing = "" if NEURONS in found else " Choose the measure *neurons* above once to have it here, too."
    st.caption(
        f"{points} point{'s' if points != 1 else ''}, own tasks left out. Accuracies of different tasks are on "
        "different levels, so a gain is the fairer axis. Few prompts make wide bars: this is evidence, not proof."
        + missing
    )
