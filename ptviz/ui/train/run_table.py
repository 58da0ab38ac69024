"""The list of all runs: find, choose, rename, delete, compare."""

from __future__ import annotations

import hashlib

import pandas as pd
import streamlit as st

from ptviz.plots.method_style import title_of
from ptviz.runs import Summary
from ptviz.ui.backend import store
from ptviz.ui.components.errors import explained, problem
from ptviz.ui.components.formatting import ALIVE, BADGES, ago, shortened
from ptviz.ui.navigation import watch
from ptviz.ui.train.run_page import TICK
from ptviz.ui.train.training_curves import as_csv, comparison_figure

_TROUBLE = "runs-trouble"


def find(summaries: list[Summary], words: str) -> list[Summary]:
    """The runs in which every one of the words occurs: in name, id, method, backbone, task or state."""
    wanted = words.lower().split()
    return [summary for summary in summaries if all(word in _haystack(summary) for word in wanted)]


def _haystack(summary: Summary) -> str:
    config = summary.config
    state = BADGES.get(summary.status.state, (summary.status.state,))[0]
    method = f"{config.method} {title_of(config.method)}"
    return f"{summary.name} {summary.id} {method} {config.backbone} {config.task} {state}".lower()


def table(summaries: list[Summary]) -> list[Summary]:
    """The runs as a table; returns those chosen in it. The page's address keeps the choice, by run and not by row."""
    ids = [summary.id for summary in summaries]
    wanted = st.query_params.get("pick", "").split(",")
    # Rows move when a run is added or filtered away: such a table is another widget, filled from the address.
    key = "runs-" + hashlib.sha256("\n".join(ids).encode()).hexdigest()[:12]

    def chosen() -> None:
        rows = st.session_state[key]["selection"]["rows"]
        st.query_params["pick"] = ",".join(ids[row] for row in rows)
        if not rows:
            del st.query_params["pick"]

    st.dataframe(
        frame(summaries),
        hide_index=True,
        key=key,
        on_select=chosen,
        selection_mode="multi-row",
        selection_default={"selection": {"rows": [ids.index(id) for id in wanted if id in ids]}},
        height=min(38 + 35 * max(len(ids), 1), 460),
        column_config={
            "Run": st.column_config.TextColumn(width="medium"),
            "Validation": st.column_config.ProgressColumn(format="percent", min_value=0, max_value=1, width="small"),
            "Zero-shot": st.column_config.NumberColumn(format="percent"),
            "Test": st.column_config.NumberColumn(format="percent"),
        },
        placeholder="—",
        alt="All runs with their state and accuracies",
    )
    picked = st.query_params.get("pick", "").split(",")
    return [summary for summary in summaries if summary.id in picked]


def frame(summaries: list[Summary]) -> pd.DataFrame:
    """The table's content, one row a run."""
    rows = [
        {
            "Run": summary.name,
            "State": BADGES.get(summary.status.state, (summary.status.state,))[0],
            "Validation": _rounded(summary.status.accuracy),
            "Zero-shot": _rounded(summary.status.zero_shot),
            "Test": _rounded(summary.status.test),
            "Method": title_of(summary.config.method),
            "Task": summary.config.task,
            "Backbone": summary.config.backbone,
            "Steps": steps_made(summary),
            "Started": ago(summary.status.created),
        }
        for summary in summaries
    ]
    return pd.DataFrame(rows)


def _rounded(share: float | None) -> float | None:
    return None if share is None else round(share, 3)


def steps_made(summary: Summary) -> str:
    """How far a run has come, as "120 / 200"."""
    status = summary.status
    return f"{status.steps if status.state == 'finished' else status.step:,} / {status.steps:,}"


def actions(picked: list[Summary]) -> None:
    """What can be done with the chosen runs."""
    if trouble := st.session_state.pop(_TROUBLE, None):
        problem(trouble)
    if not picked:
        st.caption("Tick runs on the left edge of the table to open, rename, compare or delete them.")
        return
    with st.container(horizontal=True):
        if len(picked) == 1:
            if st.button("Open", icon=":material/monitoring:", type="primary", key="open"):
                watch(picked[0].id)
            with st.popover("Rename", icon=":material/edit:"):
                _rename(picked[0])
        count = f"{len(picked)} runs" if len(picked) > 1 else "run"
        if st.button(f"Delete {count}", icon=":material/delete:", key="delete"):
            _delete_dialog(picked)


def _rename(summary: Summary) -> None:
    name = st.text_input(
        "new name", summary.config.name, max_chars=120, key=f"name-{summary.id}", placeholder=summary.id
    )
    if st.button("Save the name", type="primary", key="save-name"):
        done = False
        with explained():
            store().rename(summary.id, name)
            done = True
        if done:
            st.rerun()


@st.dialog("Delete for good?", icon=":material/delete:")
def _delete_dialog(picked: list[Summary]) -> None:
    st.markdown("Curves, snapshots and prompts of these runs will be gone. There is no undo.")
    for summary in picked[:10]:
        st.text(f"• {shortened(summary.name)}")
    if len(picked) > 10:
        st.text(f"and {len(picked) - 10} more")
    with st.container(horizontal=True):
        deleted = st.button(
            "Delete", type="primary", key="delete-really", on_click=_delete, args=([summary.id for summary in picked],)
        )
        if st.button("Keep them", key="delete-not") or deleted:
            st.rerun()


def _delete(ids: list[str]) -> None:
    troubles = []
    for id in ids:
        try:
            store().delete(id)
        except (ValueError, OSError) as error:
            troubles.append(str(error))
    if troubles:
        st.session_state[_TROUBLE] = "\n".join(troubles)
    if "pick" in st.query_params:
        del st.query_params["pick"]


def compare(picked: list[Summary]) -> None:
    """Validation curves of the chosen runs over one another; they follow those that train."""
    follows = any(summary.status.state in ALIVE for summary in picked)
    st.fragment(_overlay, run_every=2 * TICK if follows else None)(picked)
    if picked:
        st.download_button(
            "Curves as CSV",
            data=lambda: as_csv({summary.id: store().get(summary.id).curve() for summary in picked}),
            file_name="comparison.csv",
            mime="text/csv",
            icon=":material/download:",
            on_click="ignore",
            key="csv",
        )


def _overlay(picked: list[Summary]) -> None:
    with explained():
        runs = [(summary, store().get(summary.id)) for summary in picked]
        comparison_figure([(summary, run.curve()) for summary, run in runs])
        if any(s.status.state in ALIVE and run.status().state not in ALIVE for s, run in runs):
            st.rerun()


def follow(summaries: list[Summary]) -> None:
    """Bring the page up to date while a run in the list trains."""
    if any(summary.status.state in ALIVE for summary in summaries):
        st.fragment(_news, run_every=2 * TICK)(_standing(summaries))


def _news(known: list[tuple[str, str, int]]) -> None:
    if _standing(store().list()) != known:
        st.rerun()


def _standing(summaries: list[Summary]) -> list[tuple[str, str, int]]:
    return [(summary.id, summary.status.state, summary.status.step) for summary in summaries]


def unreadable() -> None:
    """What lies in the folder of runs and cannot be read, and why; nothing if all is well."""
    problems = store().problems()
    if not problems:
        return
    with st.expander(f"{len(problems)} thing(s) in the folder of runs could not be read", icon=":material/warning:"):
        for found in problems:
            st.text(f"{found.path.name}: {found.reason}")


def recent(summaries: list[Summary], most: int = 5) -> None:
    """The newest runs in short, each with a way in."""
    for summary in summaries[:most]:
        status = summary.status
        with st.container(border=True, horizontal=True, vertical_alignment="center"):
            label, icon, colour = BADGES.get(status.state, (status.state, ":material/help:", "gray"))
            st.badge(label, icon=icon, color=colour)  # type: ignore[arg-type]
            st.text(shortened(summary.name, 48), width="stretch")
            st.text(_result(summary))
            st.text(ago(status.created))
            if st.button("Open", key=f"open-{summary.id}", icon=":material/monitoring:"):
                watch(summary.id)


def _result(summary: Summary) -> str:
    status = summary.status
    if status.accuracy is None:
        return f"step {steps_made(summary)}"
    against = f" (zero-shot {status.zero_shot:.0%})" if status.zero_shot is not None else ""
    return f"{status.accuracy:.0%} on validation{against}"
