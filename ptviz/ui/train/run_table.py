"""The list of all runs: find, select, rename, delete and compare them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import streamlit as st

from ptviz.plots.method_style import method_title
from ptviz.runs import ACTIVE_STATES, RunSummary
from ptviz.tasks.metrics import ACCURACY
from ptviz.ui.backend import get_store
from ptviz.ui.components.csv_download import csv_download
from ptviz.ui.components.errors import error_box, run_and_rerun, show_errors
from ptviz.ui.components.formatting import STATE_BADGES, format_age, shorten_text
from ptviz.ui.navigation import open_run_page
from ptviz.ui.train.run_page import REFRESH_SECONDS
from ptviz.ui.train.training_curves import history_to_csv, render_run_comparison

if TYPE_CHECKING:
    import pandas as pd

_MAX_PROBLEMS = 20
_DELETE_ERRORS_KEY = "delete-errors"


def filter_runs(summaries: list[RunSummary], words: str) -> list[RunSummary]:
    """Return the runs whose name, id, method, backbone, task or state contain every one of the words."""
    wanted = words.lower().split()
    return [summary for summary in summaries if all(word in _searchable_text(summary) for word in wanted)]


def _searchable_text(summary: RunSummary) -> str:
    config = summary.config
    state = STATE_BADGES.get(summary.status.state, (summary.status.state,))[0]
    method = f"{config.method} {method_title(config.method)}"
    return f"{summary.name} {summary.id} {method} {config.backbone} {config.task_names} {state}".lower()


def render_run_table(summaries: list[RunSummary]) -> list[RunSummary]:
    """Show the runs as a table and return the selected ones; the address stores them by id, not by row."""
    ids = [summary.id for summary in summaries]
    wanted = st.query_params.get("pick", "").split(",")
    # Rows move when a run is added or filtered out: such a table is another widget, set from the address.
    key = "runs-" + hashlib.sha256("\n".join(ids).encode()).hexdigest()[:12]

    def chosen() -> None:
        rows = st.session_state[key]["selection"]["rows"]
        st.query_params["pick"] = ",".join(ids[row] for row in rows)
        if not rows:
            del st.query_params["pick"]

    st.dataframe(
        build_run_frame(summaries),
        hide_index=True,
        key=key,
        on_select=chosen,
        selection_mode="multi-row",
        selection_default={"selection": {"rows": [ids.index(id) for id in wanted if id in ids]}},
        height=min(38 + 35 * max(len(ids), 1), 460),
        column_config={
            "Run": st.column_config.TextColumn(width="medium"),
            **_score_columns(summaries),
        },
        placeholder="—",
        alt="All runs with their state and scores"
        if _has_other_metrics(summaries)
        else "All runs with their state and accuracies",
    )
    picked = st.query_params.get("pick", "").split(",")
    return [summary for summary in summaries if summary.id in picked]


def build_run_frame(summaries: list[RunSummary]) -> pd.DataFrame:
    """Return the content of the table, one row per run; it names the metric of each if not all are accuracies."""
    named = _has_other_metrics(summaries)
    rows = [
        {
            "Run": summary.name,
            "State": STATE_BADGES.get(summary.status.state, (summary.status.state,))[0],
            "Validation": _round_share(summary.status.accuracy),
            "Zero-shot": _round_share(summary.status.zero_shot),
            "Test": _round_share(summary.status.test),
            **({"Metric": summary.metric.title} if named else {}),
            "Method": method_title(summary.config.method),
            "Task": summary.config.task_names,
            "Backbone": summary.config.backbone,
            "Steps": format_steps(summary),
            "Started": format_age(summary.status.created),
        }
        for summary in summaries
    ]
    import pandas as pd  # Here, because a page without runs need not wait for it.

    return pd.DataFrame(rows)


def _has_other_metrics(summaries: list[RunSummary]) -> bool:
    return any(summary.metric != ACCURACY for summary in summaries)


def _score_columns(summaries: list[RunSummary]) -> dict[str, Any]:
    """Return how scores are shown: as percentages, or as numbers from -1 to 1 if one of them is a correlation."""
    if not all(summary.metric.unit for summary in summaries):
        return dict.fromkeys(("Validation", "Zero-shot", "Test"), st.column_config.NumberColumn(format="%.3f"))
    return {
        "Validation": st.column_config.ProgressColumn(format="percent", min_value=0, max_value=1, width="small"),
        "Zero-shot": st.column_config.NumberColumn(format="percent"),
        "Test": st.column_config.NumberColumn(format="percent"),
    }


def _round_share(share: float | None) -> float | None:
    return None if share is None else round(share, 3)


def format_steps(summary: RunSummary) -> str:
    """Return the steps made and planned, as "120 / 200"."""
    status = summary.status
    return f"{status.steps if status.state == 'finished' else status.step:,} / {status.steps:,}"


def render_run_actions(picked: list[RunSummary]) -> None:
    """Show the actions on the selected runs."""
    if errors := st.session_state.pop(_DELETE_ERRORS_KEY, None):
        error_box(errors)
    if not picked:
        st.caption("Select runs on the left edge of the table to open, rename, compare or delete them.")
        return
    with st.container(horizontal=True):
        if len(picked) == 1:
            if st.button("Open", icon=":material/monitoring:", type="primary", key="open"):
                open_run_page(picked[0].id)
            with st.popover("Rename", icon=":material/edit:"):
                _rename_form(picked[0])
        count = f"{len(picked)} runs" if len(picked) > 1 else "run"
        if st.button(f"Delete {count}", icon=":material/delete:", key="delete"):
            _delete_dialog(picked)


def _rename_form(summary: RunSummary) -> None:
    name = st.text_input(
        "new name", summary.config.name, max_chars=120, key=f"name-{summary.id}", placeholder=summary.id
    )
    if st.button("Save the name", type="primary", key="save-name"):
        run_and_rerun(lambda: get_store().rename(summary.id, name))


@st.dialog("Delete permanently?", icon=":material/delete:")
def _delete_dialog(picked: list[RunSummary]) -> None:
    st.markdown("This deletes their curves, snapshots and prompts, and cannot be undone.")
    for summary in picked[:10]:
        st.text(f"• {shorten_text(summary.name)}")
    if len(picked) > 10:
        st.text(f"and {len(picked) - 10} more")
    with st.container(horizontal=True):
        deleted = st.button(
            "Delete",
            type="primary",
            key="delete-really",
            on_click=_delete_runs,
            args=([summary.id for summary in picked],),
        )
        if st.button("Cancel", key="delete-not") or deleted:
            st.rerun()


def _delete_runs(ids: list[str]) -> None:
    errors = []
    for id in ids:
        try:
            get_store().delete(id)
        except (ValueError, OSError) as error:
            errors.append(str(error))
    if errors:
        st.session_state[_DELETE_ERRORS_KEY] = "\n".join(errors)
    if "pick" in st.query_params:
        del st.query_params["pick"]


def render_comparison_section(picked: list[RunSummary]) -> None:
    """Show the validation curves of the selected runs, refreshed while one of them trains."""
    follows = any(summary.status.state in ACTIVE_STATES for summary in picked)
    st.fragment(_render_overlay, run_every=2 * REFRESH_SECONDS if follows else None)(picked)
    if picked:
        csv_download(
            "Curves as CSV",
            lambda: history_to_csv(
                {summary.id: get_store().get(summary.id).history() for summary in picked},
                [summary.metric for summary in picked],
            ),
            "comparison.csv",
            key="csv",
        )


def _render_overlay(picked: list[RunSummary]) -> None:
    with show_errors():
        runs = [(summary, get_store().get(summary.id)) for summary in picked]
        render_run_comparison([run for _, run in runs])
        if any(s.status.state in ACTIVE_STATES and run.status().state not in ACTIVE_STATES for s, run in runs):
            st.rerun()


def rerun_on_change(summaries: list[RunSummary]) -> None:
    """Draw the page again whenever a run in the list has changed."""
    if any(summary.status.state in ACTIVE_STATES for summary in summaries):
        st.fragment(_rerun_if_changed, run_every=2 * REFRESH_SECONDS)(_run_states(summaries))


def _rerun_if_changed(known: list[tuple[str, str, int]]) -> None:
    if _run_states(get_store().list()) != known:
        st.rerun()


def _run_states(summaries: list[RunSummary]) -> list[tuple[str, str, int]]:
    return [(summary.id, summary.status.state, summary.status.step) for summary in summaries]


def render_unreadable_runs(summaries: list[RunSummary]) -> None:
    """Show the runs with damaged files and why; one that cannot be read has a button that deletes it."""
    for summary in summaries:
        if summary.status.is_derived:
            st.text(f"{shorten_text(summary.name, 48)}: {shorten_text(summary.status.reason, 300)}")
    problems = get_store().problems()
    if not problems:
        return
    st.subheader("Cannot be read")
    for number, found in enumerate(problems[:_MAX_PROBLEMS]):
        with st.container(border=True, horizontal=True, vertical_alignment="center"):
            st.badge("unreadable", icon=":material/error:", color="red")
            st.text(f"{shorten_text(found.id, 48)}: {shorten_text(found.reason, 300)}", width="stretch")
            if found.can_delete:
                key = f"delete-unreadable-{number}"
                st.button("Delete", icon=":material/delete:", key=key, on_click=_delete_runs, args=([found.id],))
    if len(problems) > _MAX_PROBLEMS:
        st.caption(f"and {len(problems) - _MAX_PROBLEMS} more; `ptviz runs` lists them")


def render_recent_runs(summaries: list[RunSummary], most: int = 5) -> None:
    """Show the newest runs, each with a button that opens it."""
    for summary in summaries[:most]:
        status = summary.status
        with st.container(border=True, horizontal=True, vertical_alignment="center"):
            label, icon, colour = STATE_BADGES.get(status.state, (status.state, ":material/help:", "gray"))
            st.badge(label, icon=icon, color=colour)  # type: ignore[arg-type]
            st.text(shorten_text(summary.name, 48), width="stretch")
            st.text(_result_text(summary))
            st.text(format_age(status.created))
            if st.button("Open", key=f"open-{summary.id}", icon=":material/monitoring:"):
                open_run_page(summary.id)


def _result_text(summary: RunSummary) -> str:
    status, metric = summary.status, summary.metric
    if status.accuracy is None:
        return f"step {format_steps(summary)}"
    against = f" (zero-shot {metric.format_short(status.zero_shot)})" if status.zero_shot is not None else ""
    named = "" if metric == ACCURACY else f" {metric.noun}"
    return f"{metric.format_short(status.accuracy)}{named} on validation{against}"
