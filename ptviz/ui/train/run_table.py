"""The list of all runs: find, group, select, annotate, rename, delete and compare them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import streamlit as st

from ptviz.plots.method_style import method_title
from ptviz.runs import ACTIVE_STATES, RunSummary
from ptviz.runs.annotations import MAX_NOTES_LENGTH, MAX_TAG_LENGTH, MAX_TAGS
from ptviz.runs.run_filters import Condition, format_setting, summary_values
from ptviz.runs.source_runs import find_source_runs
from ptviz.tasks.metrics import ACCURACY, recorded_metric
from ptviz.ui.backend import get_store
from ptviz.ui.classroom import is_teacher, refresh_seconds
from ptviz.ui.components.address_values import refuse, take_given
from ptviz.ui.components.csv_download import csv_download
from ptviz.ui.components.deletion import confirm_deletion
from ptviz.ui.components.errors import error_box, run_and_rerun, show_errors
from ptviz.ui.components.formatting import (
    STATE_BADGES,
    format_age,
    score_format,
    shorten_text,
    unique_labels,
)
from ptviz.ui.components.report_download import report_download
from ptviz.ui.heavy_libraries import load_libraries
from ptviz.ui.navigation import open_run_page
from ptviz.ui.train.run_page import REFRESH_SECONDS
from ptviz.ui.train.training_curves import history_to_csv, render_run_comparison

if TYPE_CHECKING:
    import pandas as pd

    from ptviz.reports.document import Report

_MAX_PROBLEMS = 20
_MAX_FILTER_VALUES = 200
_DELETE_ERRORS_KEY = "delete-errors"
_PIN, _SOURCE = ":material/push_pin: ", ":material/subdirectory_arrow_right: "
"""In front of a run's name in the table: it is pinned, or a source prompt of the run above it."""


def render_filter(summaries: list[RunSummary]) -> str:
    """Show the box of the filter, and a menu that adds a condition on any setting; return the filter."""
    box, menu = st.columns([5, 1], vertical_alignment="bottom")
    text = box.text_input(
        "Find",
        key="q",
        placeholder="words, and conditions such as m=20  lr>=0.1  test>80%  tag=paper",
        icon=":material/search:",
        max_chars=500,
        bind="query-params",
    )
    with menu.popover("Filter", icon=":material/filter_list:", width="stretch"):
        _render_condition_form(summaries)
    return text.strip()


def _render_condition_form(summaries: list[RunSummary]) -> None:
    values: dict[str, dict[Any, None]] = {"tag": {}}
    for summary in summaries:
        values["tag"] |= dict.fromkeys(summary.annotations.tags)
        for name, value in summary_values(summary).items():
            if value is not None and name not in ("id", "notes"):
                values.setdefault(name, {})[value] = None
    choices = sorted(name for name, known in values.items() if len(known) > 1 or (name == "tag" and known))
    if not choices:
        st.caption("All runs have the same settings.")
        return
    name = st.selectbox("setting or result", choices, key="filter-name")
    signs = ("=", "!=", ">=", "<=")
    sign = st.segmented_control("is", signs, default="=", key="filter-sign", required=True)
    known = sorted(values[name], key=lambda value: (isinstance(value, str), value))[:_MAX_FILTER_VALUES]
    value = st.selectbox("value", known, key=f"filter-value-{name}", format_func=format_setting)

    def add() -> None:
        condition = Condition(name, sign, format_setting(value)).to_text()
        st.session_state["q"] = f"{st.session_state.get('q', '')} {condition}".strip()

    st.button("Add to the filter", key="filter-add", on_click=add)


def order_runs(summaries: Sequence[RunSummary], owners: Mapping[str, str]) -> list[RunSummary]:
    """Return runs as they are listed: pinned ones first, and source prompts under the run that asked for them."""
    listed = {summary.id for summary in summaries}
    below: dict[str, list[RunSummary]] = {}
    for summary in summaries:
        if owners.get(summary.id) in listed:
            below.setdefault(owners[summary.id], []).append(summary)
    own = [summary for summary in summaries if owners.get(summary.id) not in listed]
    own.sort(key=lambda summary: not summary.annotations.pinned)
    return [one for summary in own for one in (summary, *below.get(summary.id, ()))]


def render_run_table(summaries: list[RunSummary], owners: Mapping[str, str]) -> list[RunSummary]:
    """Show the runs as a table and return the selected ones; ``owners`` are those of source prompts.

    What is selected in the table is what is returned. The address stores it by id, for links and reloads.
    """
    ids = [summary.id for summary in summaries]
    # Rows move when a run is added or filtered out: such a table is another widget, set from the address.
    key = "runs-" + hashlib.sha256("\n".join(ids).encode()).hexdigest()[:12]
    if key not in st.session_state:
        wanted = st.query_params.get("pick", "").split(",")
        if take_given("pick") and (missing := [id for id in wanted if id not in ids]):
            instead = "The others are selected" if len(missing) < len(wanted) else "None is selected"
            refuse("pick", "ids of runs in this table", ", ".join(missing), instead)
        st.session_state["runs-selected-at-first"] = [ids.index(id) for id in wanted if id in ids]
    event = st.dataframe(
        build_run_frame(summaries, owners),
        hide_index=True,
        key=key,
        on_select="rerun",
        selection_mode="multi-row",
        selection_default={"selection": {"rows": st.session_state["runs-selected-at-first"]}},
        height=min(38 + 35 * max(len(ids), 1), 460),
        column_config=_column_config(summaries),
        placeholder="—",
        alt="All runs with their state and scores"
        if _has_other_metrics(summaries)
        else "All runs with their state and accuracies",
    )
    clicked = st.session_state.get("open-run")
    if clicked is not None and clicked["row"] < len(ids):
        open_run_page(ids[clicked["row"]])
    picked = [summaries[row] for row in sorted(event["selection"]["rows"]) if row < len(ids)]
    if picked:
        st.query_params["pick"] = ",".join(summary.id for summary in picked)
    elif "pick" in st.query_params:
        del st.query_params["pick"]
    return picked


def build_run_frame(summaries: list[RunSummary], owners: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Return the content of the table, one row per run; it names the metric of each if not all are accuracies."""
    named = _has_other_metrics(summaries)
    tagged = any(summary.annotations.tags for summary in summaries)
    noted = any(summary.annotations.notes for summary in summaries)
    visited = is_teacher()
    rows = [
        {
            "Run": _marked_name(summary, owners or {}),
            "State": STATE_BADGES.get(summary.status.state, (summary.status.state,))[0],
            "Test": _round_share(summary.status.test),
            "Validation": _round_share(summary.status.accuracy),
            "Zero-shot": _round_share(summary.status.zero_shot),
            **({"Metric": summary.metric.title} if named else {}),
            **({"Visitor": _visitor_text(summary)} if visited else {}),
            "Method": method_title(summary.config.method),
            "Seed": summary.config.training.seed,
            "Learning rate": summary.lr,
            "Parameters": summary.trained,
            "Time (s)": round(summary.status.seconds, 1) or None,
            **({"Tags": list(summary.annotations.tags)} if tagged else {}),
            **({"Notes": shorten_text(summary.annotations.notes, 200)} if noted else {}),
            "Task": summary.config.task_labels,
            "Backbone": summary.config.backbone,
            "Steps": _steps_made(summary),
            "Planned steps": summary.status.steps,
            "Started": datetime.fromtimestamp(summary.status.created, UTC),
        }
        for summary in summaries
    ]
    import pandas as pd  # Here, because a page without runs need not wait for it.

    return pd.DataFrame(rows)


def _visitor_text(summary: RunSummary) -> str:
    """Return whose a run is, and whether all see it, for the teacher of a classroom."""
    owner, shared = summary.annotations.owner, summary.annotations.shared
    return f"{owner[:4] or '—'}{', shared' if shared else ''}"


def _marked_name(summary: RunSummary, owners: Mapping[str, str]) -> str:
    mark = _SOURCE if summary.id in owners else _PIN if summary.annotations.pinned else ""
    return mark + summary.name


def _column_config(summaries: list[RunSummary]) -> dict[str, Any]:
    number = st.column_config.NumberColumn
    return {
        "Run": st.column_config.ButtonColumn(
            type="tertiary", key="open-run", pinned=True, alignment="left", help="opens the run"
        ),
        "Parameters": number(format="localized", help="trainable parameters"),
        "Steps": number(format="localized", help="updates made"),
        "Planned steps": number(format="localized"),
        "Method": st.column_config.TextColumn(width=220),
        "Learning rate": number(format="%g"),
        "Started": st.column_config.DatetimeColumn(format="distance"),
        **_score_columns(summaries),
    }


def _has_other_metrics(summaries: list[RunSummary]) -> bool:
    return any(summary.metric != ACCURACY for summary in summaries)


def _score_columns(summaries: list[RunSummary]) -> dict[str, Any]:
    """Return how scores are shown: as percentages, or as numbers from -1 to 1 if one of them is a correlation."""
    form = "percent" if all(summary.metric.unit for summary in summaries) else "%.3f"
    return dict.fromkeys(("Test", "Validation", "Zero-shot"), st.column_config.NumberColumn(format=form))


def _round_share(share: float | None) -> float | None:
    return None if share is None else round(share, 3)


def format_steps(summary: RunSummary) -> str:
    """Return the steps made and planned, as "120 / 200"."""
    return f"{_steps_made(summary):,} / {summary.status.steps:,}"


def _steps_made(summary: RunSummary) -> int:
    status = summary.status
    return status.steps if status.state == "finished" else status.step


def render_run_actions(picked: list[RunSummary]) -> None:
    """Show the actions on the selected runs."""
    if errors := st.session_state.pop(_DELETE_ERRORS_KEY, None):
        error_box(errors)
    if not picked:
        st.caption("Press a name to open a run. Select runs on the left edge of the table to compare or change them.")
        return
    with st.container(horizontal=True):
        alone = len(picked) == 1
        if alone and st.button("Open", icon=":material/monitoring:", type="primary", key="open"):
            open_run_page(picked[0].id)
        own = [summary for summary in picked if get_store().may_change(summary.id)]
        if not own:
            return
        if alone:
            with st.popover("Edit", icon=":material/edit:"):
                _edit_form(picked[0])
        else:
            with st.popover(f"Tag {len(own)} runs", icon=":material/label:"):
                _tag_form(own)
        _pin_button(own)
        if is_teacher():
            _share_button(own)
        count = f"{len(own)} runs" if len(own) > 1 else "run"
        if st.button(f"Delete {count}", icon=":material/delete:", key="delete"):
            _ask_to_delete(own)


def _edit_form(summary: RunSummary) -> None:
    id, annotations = summary.id, summary.annotations
    name = st.text_input("name", summary.config.name, max_chars=120, key=f"name-{id}", placeholder=id)
    tags = st.multiselect(
        "tags", _known_tags(annotations.tags), list(annotations.tags), accept_new_options=True, max_selections=MAX_TAGS,
        key=f"tags-{id}", placeholder="choose, or type a new one", help=f"at most {MAX_TAG_LENGTH} characters each",
    )  # fmt: skip
    notes = st.text_area("notes", annotations.notes, max_chars=MAX_NOTES_LENGTH, key=f"notes-{id}")
    if st.button("Save", type="primary", key="save-name"):
        run_and_rerun(lambda: _save(summary, name, tags, notes))


def _save(summary: RunSummary, name: str, tags: list[str], notes: str) -> None:
    store = get_store()
    if (tags, notes) != (list(summary.annotations.tags), summary.annotations.notes):
        store.annotate(summary.id, tags=tags, notes=notes)
    if name != summary.config.name:
        store.rename(summary.id, name)


def _known_tags(own: Sequence[str]) -> list[str]:
    return sorted({*own, *(tag for summary in get_store().list() for tag in summary.annotations.tags)})


def _tag_form(picked: list[RunSummary]) -> None:
    tags = st.multiselect(
        "add tags", _known_tags(()), accept_new_options=True, max_selections=MAX_TAGS, key="add-tags",
        placeholder="choose, or type a new one",
    )  # fmt: skip

    def add() -> None:
        for summary in picked:
            get_store().annotate(summary.id, add_tags=tags)

    if st.button("Add", type="primary", key="save-tags", disabled=not tags):
        run_and_rerun(add)


def _pin_button(picked: list[RunSummary]) -> None:
    pins = not all(summary.annotations.pinned for summary in picked)
    label, help = ("Pin", "keeps it above the other runs") if pins else ("Unpin", None)
    _annotate_button(picked, label, "push_pin", "pin", help, lambda id: get_store().annotate(id, pinned=pins))


def _share_button(picked: list[RunSummary]) -> None:
    shares = not all(summary.annotations.shared for summary in picked)
    label, help = ("Share", "all visitors see it, and change nothing") if shares else ("Do not share", None)
    _annotate_button(picked, label, "group", "share", help, lambda id: get_store().annotate(id, shared=shares))


def _annotate_button(
    picked: list[RunSummary], label: str, icon: str, key: str, help: str | None, annotate: Callable[[str], object]
) -> None:
    def change() -> None:
        for summary in picked:
            annotate(summary.id)

    if st.button(label, icon=f":material/{icon}:", key=key, help=help):
        run_and_rerun(change)


def _ask_to_delete(picked: list[RunSummary]) -> None:
    what = "this run: its" if len(picked) == 1 else f"these {len(picked)} runs: their"
    lines = [f"• {shorten_text(summary.name)}" for summary in picked[:10]]
    if len(picked) > 10:
        lines.append(f"and {len(picked) - 10} more")
    text = f"This deletes {what} curves, snapshots and prompts. It cannot be undone."
    confirm_deletion(text, lines, "delete", lambda: _delete_runs([summary.id for summary in picked]))


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
    """Show the curves of the selected runs, refreshed while one trains, and the settings that differ between them."""
    follows = any(summary.status.state in ACTIVE_STATES for summary in picked)
    st.fragment(_render_overlay, run_every=2 * refresh_seconds(REFRESH_SECONDS) if follows else None)(picked)
    with st.container(horizontal=True):
        csv_download(
            "Curves as CSV",
            lambda: history_to_csv(
                {summary.id: get_store().get(summary.id).history() for summary in picked},
                [summary.metric for summary in picked],
            ),
            "comparison.csv",
            key="csv",
        )
        if _are_comparable(picked):
            _render_report_button(picked)
    if len(picked) > 1:
        _render_settings(picked)


def _are_comparable(picked: list[RunSummary]) -> bool:
    """Return whether a report can compare the runs: several finished ones on one task and backbone."""
    finished = [one.config for one in picked if one.status.state == "finished"]
    return len(finished) > 1 and len({(config.task_names, config.backbone) for config in finished}) == 1


def _render_report_button(picked: list[RunSummary]) -> None:
    """Show the button of a report, or why there is none: a browser says of a refused download only that it failed."""
    from ptviz.plots.run_tables import check_seeds_of_methods

    try:
        check_seeds_of_methods([one for one in picked if one.status.state == "finished"])
    except ValueError as error:
        st.text(f"No report. {error}.")
        return
    report_download(lambda: _make_report(picked), "comparison-report")


def _make_report(picked: list[RunSummary]) -> Report:
    load_libraries()
    from ptviz.reports.several_runs import comparison_report  # It needs torch.

    return comparison_report([summary.id for summary in picked])


def _render_settings(picked: list[RunSummary]) -> None:
    import pandas as pd

    from ptviz.plots.run_tables import compare_settings

    st.markdown("**Settings that differ**")
    rows = compare_settings(picked)
    if not rows:
        st.caption("None: these runs have the same settings.")
        return
    names = unique_labels({summary.id: shorten_text(summary.name, 60) for summary in picked})
    # As text: a column of a run holds numbers and words.
    cells = [
        {"setting": row["setting"]}
        | {names[one.id]: "—" if row[one.id] is None else format_setting(row[one.id]) for one in picked}
        for row in rows
    ]
    st.dataframe(
        pd.DataFrame(cells), hide_index=True, alt="The settings that differ between the selected runs",
        column_config={"setting": st.column_config.TextColumn(pinned=True)},
    )  # fmt: skip


def render_run_groups(summaries: list[RunSummary]) -> None:
    """Show the finished runs grouped by method, task and backbone, with mean and interval of the test score."""
    import pandas as pd

    from ptviz.plots.run_tables import group_summaries

    rows = group_summaries(summaries)
    if not rows:
        st.caption("No run of these has finished yet.")
        return
    metrics = [recorded_metric(row["metric"]) for row in rows]
    factor, form = score_format(metrics)
    table = [
        {
            "Method": method_title(row["method"]),
            "Task": row["task"],
            "Backbone": row["backbone"],
            "Runs": row["runs"],
            "Test, mean": factor * row["mean"],
            "95% interval": f"{metric.format(row['low'])} to {metric.format(row['high'])}" if row["low"] is not None
            else "—",
            "Zero-shot": None if row["zero_shot"] is None else factor * row["zero_shot"],
            "Metric": metric.title,
            "Seeds": row["seeds"],
            "Parameters": row["parameters"],
            "Time (s)": row["seconds"],
            "Settings that differ": row["differ"] or "only the seed",
        }
        for row, metric in zip(rows, metrics, strict=True)
    ]  # fmt: skip
    score = st.column_config.NumberColumn(format=form)
    st.dataframe(
        pd.DataFrame(table), hide_index=True, alt="Finished runs by method with mean test score and interval",
        placeholder="—",
        column_config={"Test, mean": score, "Zero-shot": score,
                       "Method": st.column_config.TextColumn(pinned=True, width=220),
                       "Time (s)": st.column_config.NumberColumn(format="%.1f"),
                       "Parameters": st.column_config.NumberColumn(format="localized")},
    )  # fmt: skip
    st.caption(
        "The interval is Student's 95% interval over seeds. It needs two seeds, and runs that differ in nothing but "
        "the seed; a filter can single them out."
    )


def _render_overlay(picked: list[RunSummary]) -> None:
    with show_errors():
        runs = [(summary, get_store().get(summary.id)) for summary in picked]
        render_run_comparison([run for _, run in runs])
        if any(s.status.state in ACTIVE_STATES and run.status().state not in ACTIVE_STATES for s, run in runs):
            st.rerun()


def rerun_on_change(summaries: list[RunSummary]) -> None:
    """Draw the page again whenever a run in the list has changed."""
    own = [summary for summary in summaries if not summary.recorded]  # The others never change.
    if any(summary.status.state in ACTIVE_STATES for summary in own):
        st.fragment(_rerun_if_changed, run_every=2 * refresh_seconds(REFRESH_SECONDS))(_run_states(own))


def _rerun_if_changed(known: list[tuple[str, str, int]]) -> None:
    if _run_states(get_store().list()) != known:
        st.rerun()


def _run_states(summaries: list[RunSummary]) -> list[tuple[str, str, int]]:
    return [(summary.id, summary.status.state, summary.status.step) for summary in summaries]


def render_unreadable_runs(summaries: list[RunSummary]) -> None:
    """Show the runs with damaged files and why; one that cannot be read has a button that deletes it."""
    for summary in summaries:
        for problem in (summary.status.reason if summary.status.is_derived else "", summary.damage):
            if problem:
                st.text(f"{shorten_text(summary.name, 48)}: {shorten_text(problem, 300)}")
    problems = get_store().problems()
    if not problems:
        return
    st.header("Cannot be read")
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
    """Show the newest runs that are not source prompts of others, each with a button that opens it."""
    sources = find_source_runs(get_store(), summaries)
    for summary in [one for one in summaries if one.id not in sources][:most]:
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
