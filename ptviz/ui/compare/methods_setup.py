"""The form of a comparison of methods, its start and its progress; every choice is in the page's address."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pandas as pd
import streamlit as st

from ptviz.experiments import comparison, planned_runs
from ptviz.experiments.planned_runs import PlannedRun
from ptviz.methods import list_methods
from ptviz.plots.method_style import method_title
from ptviz.runs import ACTIVE_STATES, RunConfig, RunSummary
from ptviz.safe_text import safe_list
from ptviz.training import TrainConfig
from ptviz.ui.backend import get_client, get_store
from ptviz.ui.compare import methods_results
from ptviz.ui.components.address_values import expect_whole_number, refuse, take_given
from ptviz.ui.components.errors import run_and_rerun, show_errors
from ptviz.ui.components.formatting import STATE_BADGES, format_duration, format_score
from ptviz.ui.components.forms import max_steps
from ptviz.ui.heavy_libraries import wait_for_libraries
from ptviz.ui.recorded_runs import TIMES_NOTE, list_runs, shown_recorded_runs
from ptviz.ui.train import run_form
from ptviz.ui.train.example_preview import render_example_preview
from ptviz.ui.train.run_page import REFRESH_SECONDS

_DEFAULT_COUNT = 4
"""Methods selected on a first visit: all of them take long."""
_METHODS_KEY = "methods"


def comparison_form() -> tuple[RunConfig, ...] | None:
    """Show the form; return the configs of its runs, none while it is incomplete; None if it shows an error."""
    methods = _select_methods()
    left, right = st.columns([3, 4], gap="medium")
    with left:
        backbone = run_form.select_backbone()
        usual_steps = min(200, max_steps())
        expect_whole_number("seeds", 1, 20, "3")
        expect_whole_number("steps", 1, max_steps(), str(usual_steps))
        expect_whole_number("m", 1, 200, "The default of each method")
        with st.grid(3, vertical_alignment="bottom"):
            seeds = st.number_input("seeds", 1, 20, 3, key="seeds", help="runs per method", bind="query-params")
            steps = st.number_input("training steps", 1, max_steps(), usual_steps, 50, key="steps", bind="query-params")
            help = "the same for every method that has this hyperparameter; empty: each method's default"
            m = st.number_input(
                "prompt tokens", 1, 200, None, key="m", help=help, placeholder="default", bind="query-params"
            )
    with right:
        task = run_form.with_layout_choices(run_form.select_task(), backbone)
    if not methods or not backbone or not task.name:
        return ()
    base = RunConfig(
        backbone, task.name, training=TrainConfig(steps=int(steps)), text=task.text, label=task.label, table=task.table
    )
    sized = m is not None and any("m" in list_methods()[name].hyperparameters for name in methods)
    made = comparison.make_configs(methods, range(int(seeds)), base, {"m": int(m)} if sized and m is not None else None)
    if task.columns is None:  # No example of it is shown.
        return made
    slots = [_count_slots(one) for one in made[: len(methods)]]
    with right:
        fits = render_example_preview(task, backbone, slots, base.training.length)
    return made if fits else None


def _count_slots(config: RunConfig) -> int:
    wait_for_libraries()
    return config.estimate().slots


def _select_methods() -> list[str]:
    """Return the selected methods in the order of the registry."""
    given = take_given(_METHODS_KEY)
    unknown = [name for name in given.split(",") if name not in ("all", *list_methods())]
    if given and unknown:
        some = len(unknown) < len(given.split(","))
        instead = "The others are selected" if some else "The usual methods are selected instead"
        refuse(_METHODS_KEY, f"some of {safe_list([*list_methods()])}, or all", ", ".join(unknown), instead)
    if _METHODS_KEY not in st.session_state:
        asked = str(st.query_params.get(_METHODS_KEY, ""))
        named = [name for name in asked.split(",") if name in list_methods()]
        st.session_state[_METHODS_KEY] = [*list_methods()] if asked == "all" else named or _default_methods()

    def save_selection() -> None:
        chosen = st.session_state[_METHODS_KEY]
        st.query_params[_METHODS_KEY] = "all" if len(chosen) == len(list_methods()) else ",".join(chosen)

    def select_all() -> None:
        st.session_state[_METHODS_KEY] = [*list_methods()]
        save_selection()

    with st.container(horizontal=True, vertical_alignment="bottom"):
        chosen = st.multiselect(
            "Methods", [*list_methods()], key=_METHODS_KEY, format_func=method_title, on_change=save_selection
        )
        st.button("All", key="all-methods", on_click=select_all, help=f"all {len(list_methods())} methods")
    return [name for name in list_methods() if name in chosen]


def _default_methods() -> list[str]:
    """Return all methods if nothing has to be trained to see them, else a few."""
    own = any(summary.status.state == "finished" for summary in get_store().list())
    return [*list_methods()][: None if shown_recorded_runs() and not own else _DEFAULT_COUNT]


def comparison_controls(found: tuple[PlannedRun, ...], key: str = "comparison") -> None:
    """Show how many runs exist, how many are to train and how long that takes, with buttons to start and stop."""
    _controls_without_time(found, key)()


def _controls_without_time(found: tuple[PlannedRun, ...], key: str) -> Callable[[], None]:
    """Show the controls, and return what adds how long the rest takes: the estimate needs torch."""
    waiting = [entry for entry in found if entry.state not in ("finished", *ACTIVE_STATES)]
    alive = [entry for entry in found if entry.state in ACTIVE_STATES]
    with st.container(horizontal=True, vertical_alignment="center"):
        if waiting:
            label = f"Train {len(waiting)} run{'s' if len(waiting) != 1 else ''}"
            if st.button(label, type="primary", icon=":material/flag:", key=f"{key}-start"):
                run_and_rerun(lambda: planned_runs.start_runs(get_client(), waiting))
        if alive and st.button("Stop", icon=":material/stop:", key=f"{key}-stop"):
            run_and_rerun(lambda: planned_runs.stop_runs(get_client(), alive))
        line = st.empty()
    said = _status_text(found, waiting, len(alive))
    line.text(said)

    def add_time() -> None:
        if seconds := _estimate_seconds(waiting):
            line.text(f"{said} The rest takes about {format_duration(seconds)} on this machine.")

    return add_time


def _status_text(found: tuple[PlannedRun, ...], waiting: list[PlannedRun], alive: int) -> str:
    finished = sum(entry.state == "finished" for entry in found)
    stopped = sum(entry.state == "stopped" for entry in waiting)
    failed = sum(entry.state == "failed" for entry in waiting)
    parts = [f"{finished} of {len(found)} runs exist"]
    parts += [f"{alive} in progress"] if alive else []
    parts += [f"{stopped} stopped and will be resumed"] if stopped else []
    parts += [f"{failed} failed and will be retried"] if failed else []
    return ", ".join(parts) + "."


def _estimate_seconds(waiting: Sequence[PlannedRun]) -> float | None:
    """Return an estimate for what is to train, source prompts included; None if it is not known."""
    if not waiting:
        return None
    wait_for_libraries()
    from ptviz.engine.time_estimate import estimate_time  # It needs torch.

    return estimate_time(get_store(), [entry.config for entry in waiting]).seconds


def render_live_comparison(configs: tuple[RunConfig, ...]) -> None:
    """Show state and figures of the comparison; they follow the runs while any is in progress."""
    recorded = _add_recorded(configs)
    found = planned_runs.find_runs(get_store(), configs, recorded)
    add_time = _controls_without_time(found, "comparison")  # The results do not wait for torch.
    st.fragment(_render_results, run_every=None if planned_runs.is_done(found) else 2 * REFRESH_SECONDS)(
        configs, recorded, _run_states(found)
    )
    add_time()


def _add_recorded(configs: tuple[RunConfig, ...]) -> list[RunSummary]:
    """Return the recorded runs to compare where none of yours has these settings; unasked only if none of yours does.

    A switch adds them to your own, or leaves them out.
    """
    shown = shown_recorded_runs()
    count = sum(entry.run is not None for entry in planned_runs.find_runs(get_store(), configs, shown))
    own = sum(entry.run is not None for entry in planned_runs.find_runs(get_store(), configs))
    if count == own:
        return []
    label = f"include {count - own} recorded run{'s' if count - own != 1 else ''}"
    help = "runs that came with ptviz, of the methods and seeds that you have not trained with these settings"
    # Its own key for either default: with the first run of one's own, the recorded ones leave.
    if not st.toggle(label, value=own == 0, key=f"with-recorded-{own == 0}", help=help):
        return []
    st.caption(TIMES_NOTE)
    return shown


def _run_states(found: tuple[PlannedRun, ...]) -> list[tuple[str | None, bool, bool]]:
    """Return what the buttons depend on: a change means that the page is drawn again."""
    return [(entry.run, entry.state in ACTIVE_STATES, entry.state == "finished") for entry in found]


def _render_results(
    configs: tuple[RunConfig, ...], recorded: list[RunSummary], known: list[tuple[str | None, bool, bool]]
) -> None:
    with show_errors():
        found = planned_runs.find_runs(get_store(), configs, recorded)
        if not planned_runs.is_done(found):
            get_client().ensure_worker()
        render_progress_table(found)
        methods_results.render_comparison_results(found)
        if _run_states(found) != known:
            st.rerun()


def render_progress_table(found: tuple[PlannedRun, ...]) -> None:
    """Show every run in one table: one row per method, one column per seed."""
    if all(entry.run is None for entry in found):
        st.caption("No run with these settings exists yet. Existing runs are included automatically.")
        return
    known = {summary.id: summary for summary in list_runs()}
    share = 0.0
    cells: dict[str, dict[str, str]] = {}
    for entry in found:
        summary = known.get(entry.run) if entry.run else None
        status = summary.status if summary else None
        if summary is None or status is None:
            text = "not started"
        elif status.state == "finished":
            share += 1
            text = f"test {format_score(summary.metric, status.test)}{' (recorded)' if summary.recorded else ''}"
        else:
            share += status.step / max(status.steps, 1) if status.stage == 0 else 0.5
            where = f" {status.step}/{status.steps}" if status.state != "queued" else ""
            text = STATE_BADGES.get(status.state, (status.state,))[0] + where
        cells.setdefault(method_title(entry.config.method), {})[f"seed {entry.config.training.seed}"] = text
    if not planned_runs.is_done(found):
        st.progress(min(share / len(found), 1.0))
    with st.expander("Runs of this comparison", expanded=not all(entry.state == "finished" for entry in found)):
        frame = pd.DataFrame([{"Method": method, **row} for method, row in cells.items()])
        st.dataframe(frame, hide_index=True, height="content", alt="State of every run of this comparison")


def render_learning_rate_study(configs: tuple[RunConfig, ...]) -> None:
    """Show a grid of learning rates and seeds for one method, trained on demand."""
    names = list(dict.fromkeys(config.method for config in configs))
    with st.container(horizontal=True, vertical_alignment="bottom"):
        method = st.selectbox("Method", names, key="grid-method", format_func=method_title)
        factors = st.pills(
            "learning rates, as multiples of the default",
            [0.1, 0.3, 1.0, 3.0, 10.0],
            selection_mode="multi",
            default=[0.1, 1.0, 10.0],
            key="grid-rates",
            format_func=lambda factor: f"{factor:g}x",
        )
    own = [config for config in configs if config.method == method]
    rated = tuple(
        replace(config, training=replace(config.training, lr=config.effective_lr * factor))
        for factor in sorted(factors)
        for config in own
    )
    if not rated:
        st.caption("Choose at least one learning rate.")
        return
    found = planned_runs.find_runs(get_store(), rated)
    comparison_controls(found, key="grid")
    methods_results.render_learning_rate_grid(found)
    if not planned_runs.is_done(found):
        st.fragment(_rerun_if_changed, run_every=2 * REFRESH_SECONDS)(rated, _run_states(found))


def _rerun_if_changed(configs: tuple[RunConfig, ...], known: list[tuple[str | None, bool, bool]]) -> None:
    """Draw the page again when a run of the grid ends."""
    with show_errors():
        if _run_states(planned_runs.find_runs(get_store(), configs)) != known:
            st.rerun()
