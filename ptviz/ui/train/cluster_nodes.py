"""The nodes of the cluster that trains the runs, what they do, and the queue."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from ptviz.executors.choose import is_local
from ptviz.ui.backend import get_client
from ptviz.ui.components.errors import show_errors

_REFRESH_SECONDS = 3.0


def render_cluster() -> None:
    """Show the nodes of the Ray cluster with their runs; nothing where runs are trained on this machine."""
    if is_local():
        return
    with st.expander("Cluster", icon=":material/dns:", expanded=True):
        st.fragment(_render_nodes, run_every=_REFRESH_SECONDS)()


def _render_nodes() -> None:
    with show_errors():
        executor: Any = get_client()
        executor.ensure_worker()
        cluster = executor.describe_cluster()
        rows = [
            {
                "Node": node["host"],
                "Id": node["id"],
                "State": "up" if node["alive"] else "down",
                "Processors": node["cpus"],
                "Accelerators": node["gpus"],
                "Trains": ", ".join(node["runs"]) or "—",
            }
            for node in cluster["nodes"]
        ]
        # The names of the runs get the room that the other columns do not need.
        narrow = {name: st.column_config.Column(width="small") for name in list(rows[0])[:-1]} if rows else {}
        st.dataframe(
            pd.DataFrame(rows),
            hide_index=True,
            height="content",
            column_config={**narrow, "Trains": st.column_config.Column(width="large")},
            alt="Nodes of the cluster and their runs",
        )
        st.text(_describe_queue(cluster["queued"]))


def _describe_queue(queue: list[str]) -> str:
    if len(queue) < 2:
        return f"1 run waits for a node: {queue[0]}." if queue else "No run waits for a node."
    return f"{len(queue)} runs wait for a node, the first is {queue[0]}."
