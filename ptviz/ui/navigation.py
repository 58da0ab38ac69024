"""Start runs and open pages, in the one way that all buttons of the app use."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from ptviz.methods import method_uses_source_tasks
from ptviz.runs import RunConfig
from ptviz.ui.backend import get_client, has_models, request_preload
from ptviz.ui.classroom import usual_config
from ptviz.ui.components.errors import show_errors
from ptviz.ui.components.table_form import table_query_params
from ptviz.ui.heavy_libraries import load_libraries

WATCH_PAGE = "train/watch.py"
NEW_RUN_PAGE = "train/new_run.py"
RUNS_PAGE = "train/runs.py"
TRANSFER_PAGE = "compare/transfer.py"
CHECKPOINT_PAGE = "open/checkpoint.py"

REPLAY_PARAM = "replay"
"""The query parameter that makes the page of a run a replay; its value is the speed."""
REPLAY_KEY = "replay"
"""The key of the session state under which the replay on screen is held."""

OTHER_BACKBONE = "other"
"""The option for a backbone that is not in the list."""
SOURCES_PARAM = "source-tasks"
"""The query parameter of the source tasks, with commas between them."""


def start_run(config: RunConfig) -> None:
    """Queue a run and open its page, or show why it cannot be queued."""
    run = None
    if config != RunConfig():  # A table is checked with the tokenizer, a saved prompt with the method.
        load_libraries()
    with show_errors():
        run = get_client().submit(config)
    if run is not None:
        open_run_page(run.id)


def preload_for_form(config: RunConfig) -> None:
    """Have the worker load the models of a run while its form is open, once for each choice.

    Only installed ones: opening a form must not download anything.
    """
    wanted = (config.backbone, config.task, config.training.dtype)
    if has_models(config) and st.session_state.get("prepared") != wanted:
        st.session_state["prepared"] = wanted
        request_preload(config)


def open_run_page(run: str) -> None:
    """Open the page of a run."""
    st.switch_page(WATCH_PAGE, query_params={"run": run})


def open_replay(run: str) -> None:
    """Open the replay of a finished run, from its start."""
    st.session_state.pop(REPLAY_KEY, None)
    st.switch_page(WATCH_PAGE, query_params={"run": run, REPLAY_PARAM: "20s"})


_BIG_BUTTON_STYLE = (
    "<style>.st-key-start-usual button {padding: .9rem 2.4rem} .st-key-start-usual button * {font-size: 1.3rem}</style>"
)


def start_button() -> None:
    """Show the large button that starts the default run."""
    st.html(_BIG_BUTTON_STYLE)
    if st.button("Start training", type="primary", icon=":material/play_arrow:", key="start-usual"):
        start_run(usual_config())


def form_query_params(config: RunConfig) -> dict[str, str]:
    """Return the query parameters that fill the form of a new run with this config."""
    from ptviz import tasks
    from ptviz.methods import list_methods
    from ptviz.training.config import PLANNED_STEPS_KEY, TrainConfig
    from ptviz.ui.components.uploads import link_of

    params = {"method": config.method}
    known = {info.name for info in tasks.list_tasks()}
    if config.task in known:
        params["task"] = config.task
    elif config.task in {info.name for info in tasks.list_benchmark_tasks()}:
        params |= {"from": "from the Hub", "set": config.task}
    elif config.task.startswith("hub:"):
        params |= {"from": "from the Hub", "hub": config.task.removeprefix("hub:")}
    else:
        params |= {"from": "my own table", "path": link_of(Path(config.task))}
    params |= {name: value for name in ("text", "label") if (value := getattr(config, name))}
    params |= table_query_params(config.table)
    params |= {"begin": config.start} if config.start else {}
    params |= {"more": ",".join(config.more_tasks)} if config.more_tasks else {}
    params |= {SOURCES_PARAM: ",".join(link_of(Path(name)) for name in config.sources)} if config.sources else {}
    params |= _backbone_params(config.backbone)
    if config.method in list_methods():
        defaults = {name: info.default for name, info in list_methods()[config.method].hyperparameters.items()}
        params |= {f"{config.method}-{n}": str(v) for n, v in config.hyperparameters.items() if v != defaults.get(n)}
    usual, own = TrainConfig().to_json(), config.training.to_json()
    own.pop(PLANNED_STEPS_KEY)  # Only set by extensions; a new run has none.
    return params | {name: str(value) for name, value in own.items() if value != usual[name]}


def _backbone_params(name: str) -> dict[str, str]:
    from ptviz import backbones

    known = {info.name for info in backbones.list_backbones()}
    return {"backbone": name} if name in known else {"backbone": OTHER_BACKBONE, "other": name}


def transfer_link(config: RunConfig) -> None:
    """Show a link to the page Transfer for a run whose method uses source tasks."""
    if method_uses_source_tasks(config.method):
        address = {"backbone": config.backbone}
        label = "Similarity and transfer of its prompts"
        st.page_link(TRANSFER_PAGE, label=label, icon=":material/swap_horiz:", query_params=address)
