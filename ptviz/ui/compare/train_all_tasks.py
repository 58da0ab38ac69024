"""A plain prompt on every built-in task: the sources of a whole grid of transfer, trained with one button."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import streamlit as st

from ptviz import backbones, tasks
from ptviz.experiments import comparison as races
from ptviz.runs import RunConfig, Summary
from ptviz.runs.saved_prompts import KEPT
from ptviz.training.source_prompts import METHOD
from ptviz.ui.backend import executor, store
from ptviz.ui.compare.methods_setup import controls
from ptviz.ui.components.errors import explained
from ptviz.ui.components.formatting import ALIVE
from ptviz.ui.train.run_page import TICK


def configs(backbone: str) -> tuple[RunConfig, ...]:
    """Plain prompt tuning with seed 0 on each built-in task whose data are here."""
    return tuple(
        config
        for info in tasks.catalogue()
        if info.available
        for config in races.lineup((METHOD,), (0,), replace(RunConfig(backbone=backbone), task=info.name))
    )


def offer(backbone: str, own: Sequence[Summary]) -> None:
    """How many of these runs there are, and the button that trains the rest; nothing once all are there.

    ``own`` are the runs of the backbone, which show that it can be trained here.
    """
    here = {info.name for info in backbones.catalogue() if info.available}
    if backbone not in here and all(run.id.startswith(KEPT) for run in own):
        return
    wanted = configs(backbone)
    found = races.entries(store(), wanted)
    if all(entry.state == "finished" for entry in found):
        return
    alive = any(entry.state in ALIVE for entry in found)
    with st.expander(f"A prompt for every built-in task ({len(found)})", expanded=alive):
        st.caption("The whole grid: one prompt on each task, then every prompt on every task, in the background.")
        controls(found, key="every-task")
        if alive:
            st.fragment(_watched, run_every=2 * TICK)(wanted, [entry.state for entry in found])


def _watched(wanted: tuple[RunConfig, ...], known: list[str]) -> None:
    """Keep the worker going, and the whole page up to date."""
    with explained():
        found = races.entries(store(), wanted)
        executor().ensure_worker()
        for entry in found:
            if entry.state == "running" and entry.run is not None:
                status = store().get(entry.run).status()
                st.progress(min(status.step / max(status.steps, 1), 1.0), text=entry.config.task)
        if [entry.state for entry in found] != known:
            st.rerun()
