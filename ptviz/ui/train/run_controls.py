"""The buttons of one run: stop, resume, replay, extend, branch, and a fresh run from the same settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import streamlit as st

from ptviz.runs import Run, Status
from ptviz.ui.backend import get_client, get_store
from ptviz.ui.classroom import visitor_rules
from ptviz.ui.components.errors import run_and_rerun, show_errors
from ptviz.ui.components.forms import max_steps
from ptviz.ui.heavy_libraries import load_libraries
from ptviz.ui.navigation import NEW_RUN_PAGE, form_query_params, open_replay, open_run_page


def render_run_controls(run: Run, status: Status) -> None:
    """Show the actions that the run's state allows."""
    config, may_change = run.config, get_store().may_change(run.id)
    if may_change and status.state in ("queued", "running"):
        _action_button(
            "Stop",
            ":material/stop:",
            lambda: get_client().stop(run.id),
            "ends after this step; the run can be resumed",
        )
    if status.state == "stopping":
        st.button("Stopping…", icon=":material/stop:", disabled=True, key="stopping")
    if may_change and status.state in ("stopped", "failed"):
        _action_button(
            "Resume",
            ":material/play_arrow:",
            lambda: get_client().resume(run.id),
            "continues from the newest snapshot",
            True,
        )
    if status.state == "finished":
        if st.button("Replay", icon=":material/replay:", key="replay-run", help="plays the recorded run again"):
            open_replay(run.id)
        if may_change:
            with st.popover("Extend", icon=":material/more_time:"):
                _extend_form(run)
    if run.snapshots():
        with st.popover("Branch", icon=":material/call_split:"):
            _branch_form(run)
    st.page_link(
        NEW_RUN_PAGE,
        label="Duplicate and edit",
        icon=":material/tune:",
        help="opens the form of a new run with these settings",
        query_params=form_query_params(config),
    )


def _action_button(label: str, icon: str, action: Callable[[], object], help: str, primary: bool = False) -> None:
    kind = "primary" if primary else "secondary"
    if st.button(label, icon=icon, help=help, type=kind, key=label.lower()):  # type: ignore[arg-type]
        run_and_rerun(action)


def _extend_form(run: Run) -> None:
    st.markdown("**Train for more steps**")
    rules = visitor_rules()
    most = max_steps() - (0 if rules is None else run.config.training.steps)
    if most < 1:
        st.caption(f"It has the {max_steps():,} steps that a run may have in this classroom.")
        return
    usual = min(max(run.config.training.steps // 2, 1), most)
    more = int(st.number_input("more steps", 1, most, usual, key=f"more-{run.id}"))
    st.caption(
        "The learning-rate schedule then covers the new total, without a second warm-up. Steps already made are kept."
    )
    _action_button("Extend by these steps", ":material/more_time:", lambda: get_client().extend(run.id, more), "", True)


def _branch_form(run: Run) -> None:
    st.markdown("**A new run from a snapshot of this one**")
    snapshots = [(info.stage, info.step) for info in run.whole_snapshots()]
    several = len({stage for stage, _ in snapshots}) > 1
    stage, step = st.selectbox(
        "from step",
        snapshots,
        index=len(snapshots) - 1,
        key=f"branch-from-{run.id}",
        format_func=lambda at: f"{at[1]} of stage {at[0] + 1}" if several else str(at[1]),
    )
    training = run.config.training
    left, right = st.columns(2)
    usual = min(training.steps, max_steps())
    steps = int(left.number_input("training steps", 1, max_steps(), usual, key=f"branch-steps-{run.id}"))
    seed = int(right.number_input("seed", 0, 2**31 - 1, training.seed, key=f"branch-seed-{run.id}"))
    lr = left.number_input(
        "learning rate", 0.0, 100.0, training.lr, format="%g", key=f"branch-lr-{run.id}", placeholder="default"
    )
    name = right.text_input("name", key=f"branch-name-{run.id}", max_chars=120, placeholder="generated")
    st.caption("It starts from the prompt of that step, with a fresh optimiser and a fresh schedule.")
    if st.button("Start the branch", type="primary", icon=":material/call_split:", key=f"branch-start-{run.id}"):
        made = None
        load_libraries()
        with show_errors():
            changes = {"training": replace(training, steps=steps, seed=seed, lr=lr), "name": name.strip()}
            made = get_client().branch(run.id, stage, step, changes)
        if made is not None:
            open_run_page(made.id)
