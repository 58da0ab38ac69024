"""The home page: its introduction, the recorded run that it shows, and the run on a decoder that it offers."""

from __future__ import annotations

from contextlib import suppress

import streamlit as st

from ptviz import backbones, tasks
from ptviz.runs import Run, RunConfig, StoreError
from ptviz.runs.recorded_runs import recorded_run
from ptviz.training import TrainConfig
from ptviz.ui.components.download import render_missing
from ptviz.ui.navigation import open_replay, start_run

_CONFIG = RunConfig().checked()
_BACKBONE = next(info for info in backbones.list_backbones() if info.name == _CONFIG.backbone)
_TOKENS = int(_CONFIG.hyperparameters["m"])
INTRODUCTION = (
    "A language model can learn a new task without any change to its own parameters. **Prompt tuning** puts a "
    "[[soft prompt]], a few trainable vectors, in front of your text, freezes everything else, and trains only those. "
    f"Press Start training: a real sentence encoder of {_BACKBONE.parameters / 1e6:.1f} million frozen parameters will "
    "learn what kind of "
    f"answer a question asks for, from {_TOKENS * _BACKBONE.width:,} trainable ones, in about half a minute."
)
"""Text about the Start button, with the sizes of the run that it starts."""


def find_recorded_run() -> Run | None:
    """Return the recorded run that the home page shows; None where no runs came with the app."""
    with suppress(StoreError):
        return recorded_run(_CONFIG.method)
    return None


def play_button(run: Run) -> None:
    """Show the button that plays a recorded run instead of training one."""
    if st.button("Play the recorded run", icon=":material/replay:", key="play-recorded"):
        open_replay(run.id)


# A decoder step takes about a second on two cores, and an evaluation writes an answer for each example: few of both.
WRITING_RUN = RunConfig(
    backbone="smollm2-135m",
    task="inflection",
    hyperparameters={"m": 10},
    training=TrainConfig(steps=60, batch=8, evaluate_every=20, validation_rows=50, test_rows=100),
)
"""The run that the home page offers on a decoder: two minutes on two cores."""


def render_writing_run() -> None:
    """Offer a run on a decoder, which writes its answers; its download first if something of it is missing."""
    with st.container(border=True):
        st.markdown(
            "**Or train a model that generates text.** SmolLM2-135M-Instruct is a decoder of 134.5 million frozen "
            "parameters. In about two minutes it learns to write forms of words (*the plural of mouse: mice*) from "
            f"{10 * 576:,} trainable ones."
        )
        known: list[backbones.BackboneInfo | tasks.TaskInfo] = [*backbones.list_backbones(), *tasks.list_tasks()]
        wanted = (WRITING_RUN.backbone, WRITING_RUN.task)
        missing = [info.install_command for info in known if info.name in wanted and not info.available]
        if missing:
            render_missing(missing[0])
        elif st.button("Train it to write", icon=":material/edit:", key="start-writing"):
            start_run(WRITING_RUN)
