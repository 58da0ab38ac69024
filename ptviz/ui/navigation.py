"""Starting a run and going to watch it; the one way every button of the app does it."""

from __future__ import annotations

import streamlit as st

from ptviz.methods.base import learns_from_sources
from ptviz.runs import RunConfig
from ptviz.ui.backend import executor, warm
from ptviz.ui.components.errors import explained

WATCH = "train/watch.py"
COMPOSE = "train/compose.py"
RUNS = "train/runs.py"
TRANSFER = "compare/transfer.py"
CHECKPOINT = "open/checkpoint.py"

OTHER = "other"
"""The choice of a backbone that has no name here."""


def start(config: RunConfig) -> None:
    """Put a run into the queue and show it live; whatever is wrong is told in place."""
    run = None
    with explained():
        run = executor().submit(config)
    if run is not None:
        watch(run.id)


def prepare(config: RunConfig) -> None:
    """Let the worker load what a run will need while its form is still open; asked once for each choice.

    Only what is on this machine already: looking at a form must not download anything.
    """
    from ptviz import backbones, tasks

    here = {info.name for info in backbones.catalogue() if info.available}
    here |= {info.name for info in tasks.catalogue() if info.available}
    wanted = (config.backbone, config.task, config.training.dtype)
    if {config.backbone, config.task} <= here and st.session_state.get("prepared") != wanted:
        st.session_state["prepared"] = wanted
        warm(config)


def watch(run: str) -> None:
    """Go to a run's live page."""
    st.switch_page(WATCH, query_params={"run": run})


_BIG = (
    "<style>.st-key-start-usual button {padding: .9rem 2.4rem} .st-key-start-usual button * {font-size: 1.3rem}</style>"
)


def start_button() -> None:
    """The big button that needs no choice: the default run, which is a good one."""
    st.html(_BIG)
    if st.button("Start training", type="primary", icon=":material/play_arrow:", key="start-usual"):
        start(RunConfig())


def address_of(config: RunConfig) -> dict[str, str]:
    """The compose page's query parameters that fill its form with this config."""
    from ptviz import tasks
    from ptviz.methods import REGISTRY
    from ptviz.methods.hyperparameters import knobs_of
    from ptviz.training.config import TrainConfig

    params = {"method": config.method}
    known = {info.name for info in tasks.catalogue()}
    if config.task in known:
        params["task"] = config.task
    elif config.task.startswith("hub:"):
        params |= {"from": "from the hub", "hub": config.task.removeprefix("hub:")}
    else:
        params |= {"from": "my own table", "path": config.task}
    params |= {name: value for name in ("text", "label") if (value := getattr(config, name))}
    params |= {"begin": config.start} if config.start else {}
    params |= _backbone(config.backbone)
    if config.method in REGISTRY:
        usual_knobs = {name: info.default for name, info in knobs_of(REGISTRY[config.method]).items()}
        params |= {f"{config.method}-{n}": str(v) for n, v in config.knobs.items() if v != usual_knobs.get(n)}
    usual = TrainConfig().to_json()
    params |= {name: str(value) for name, value in config.training.to_json().items() if value != usual[name]}
    return params


def _backbone(name: str) -> dict[str, str]:
    from ptviz import backbones

    known = {info.name for info in backbones.catalogue()}
    return {"backbone": name} if name in known else {"backbone": OTHER, "other": name}


def transfer_link(config: RunConfig) -> None:
    """The way to the page Transfer, for a run whose method learnt from source tasks; nothing for another."""
    if learns_from_sources(config.method):
        address = {"backbone": config.backbone}
        label = "Which prompts are alike, and which help where"
        st.page_link(TRANSFER, label=label, icon=":material/swap_horiz:", query_params=address)
