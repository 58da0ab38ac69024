"""Selection of the prompts that the page Transfer compares: of finished runs, saved ones, those of a checkpoint."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from ptviz.backbones.listing import named_backbone_shape
from ptviz.checkpoints.bundle import INPUT, LIBRARY
from ptviz.experiments import transfer_prompts
from ptviz.methods import build_method, list_methods, method_uses_source_tasks
from ptviz.paths import expand_user
from ptviz.plots.cache import cached_by_signature
from ptviz.plots.prompt_set import load_checkpoint, run_labels
from ptviz.prompt import Spec
from ptviz.runs import RunConfig, RunSummary
from ptviz.runs.saved_prompts import SAVED_PREFIX
from ptviz.training.source_prompts import SOURCE_METHOD
from ptviz.ui.backend import get_store
from ptviz.ui.compare import train_all_tasks
from ptviz.ui.components.address_values import refuse, take_given
from ptviz.ui.components.errors import show_errors
from ptviz.ui.components.forms import select_one
from ptviz.ui.components.local_path import is_path_allowed, path_input
from ptviz.ui.look import look_page
from ptviz.ui.navigation import NEW_RUN_PAGE, start_button
from ptviz.ui.recorded_runs import shown_recorded_runs

LESSON = (
    "A prompt was trained on one task. Does it [[transfer]] to another task, and can its vectors predict that? "
    "**Try:** change the measure, and see which correlations hold."
)
OPENED_ONLY = "opened"
"""The option for no backbone: only the prompts of the opened checkpoint."""
_DEFAULT_COUNT = 12
"""Up to this number all prompts are selected at first; of more, one per task."""
_RUNS_KEY, _CHECKPOINT_KEY = "runs", "library"
_EMBEDDINGS_PAGE, _ROUTING_PAGE, _DECOMPOSITIONS_PAGE = (
    "look/embeddings.py",
    "look/routing.py",
    "look/decompositions.py",
)


@dataclass(frozen=True, eq=False)
class PromptSelection:
    """Prompts under their names: ``runs`` and saved prompts of one backbone, and ``opened_prompts``.

    ``prompts`` holds the vectors (m, d) of those that are one prompt of input vectors, by id. ``excluded`` names opened
    prompts of another width. ``prompt_ids`` and ``checkpoint`` are what the plots load all of them from.
    """

    backbone: str
    runs: tuple[RunSummary, ...]
    names: tuple[str, ...]
    prompts: dict[str, np.ndarray]
    opened_prompts: dict[str, np.ndarray]
    excluded: tuple[str, ...]
    prompt_ids: tuple[str, ...]
    checkpoint: str
    cache_key: Hashable

    @property
    def run_ids(self) -> tuple[str, ...]:
        """Return the ids of the runs and saved prompts of the backbone."""
        return tuple(run.id for run in self.runs)

    @property
    def plot_options(self) -> dict[str, Any]:
        """Return the options of a plot of all these prompts, those of the checkpoint included."""
        return {"names": (*self.names, *self.opened_prompts), "checkpoint": self.checkpoint}

    @property
    def comparable_indices(self) -> list[int]:
        """Return the indices of the runs whose prompts can be compared."""
        return [index for index, run in enumerate(self.runs) if run.id in self.prompts]

    @property
    def comparable_prompts(self) -> dict[str, np.ndarray]:
        """Return every prompt that can be compared by name, those of the runs first, in their order."""
        own = {self.names[index]: self.prompts[self.runs[index].id] for index in self.comparable_indices}
        return {**own, **self.opened_prompts}

    @property
    def worker_run(self) -> RunSummary | None:
        """Return a run of this backbone, for requests to the worker that need the backbone."""
        real = [run for run in self.runs if not run.id.startswith(SAVED_PREFIX)]
        return next(
            iter(real or transfer_prompts.finished_runs(get_store(), self.backbone, shown_recorded_runs())), None
        )


def select_prompts() -> PromptSelection | None:
    """Return the selected prompts of one backbone; None, with a hint, if there is nothing to compare."""
    found = transfer_prompts.source_prompts(get_store(), recorded=_add_recorded())
    opened = _load_opened_prompts()
    without_backbone = transfer_prompts.prompts_without_backbone(get_store())
    if not found and not opened and not without_backbone:
        st.markdown("No finished run yet. Train the default one and one on a second task, then come back.")
        with st.container(horizontal=True, vertical_alignment="center"):
            start_button()
            st.page_link(NEW_RUN_PAGE, label="Choose backbone, task and method", icon=":material/tune:")
        train_all_tasks.render_all_tasks_form(RunConfig().backbone, ())
        _checkpoint_input()
        return None
    counts = Counter(run.config.backbone for run in found)
    titles = {name: f"{name} ({count} prompts)" for name, count in counts.most_common()}
    if opened or without_backbone or _typed_path():
        titles[OPENED_ONLY] = "none: only prompts of checkpoints"
    backbone = select_one("Backbone", titles, key="backbone", help="only prompts of one backbone can be compared")
    own = [run for run in found if run.config.backbone == backbone]
    mixed = len({run.recorded for run in own}) > 1
    labels = [
        f"{label} (recorded)" if run.recorded and mixed else label
        for run, label in zip(own, run_labels(own), strict=True)
    ]
    names = dict(zip([run.id for run in own], labels, strict=True))
    ids = _select_runs([run.id for run in own], names, _default_runs(own)) if own else []
    _checkpoint_input()
    train_all_tasks.render_all_tasks_form(backbone, own)
    runs = tuple(run for run in reversed(own) if run.id in ids)
    prompts = _load_vectors(runs)
    width = next((array.shape[1] for array in prompts.values()), None)
    if width is None and (sizes := named_backbone_shape(backbone)) is not None:
        width = sizes.width
    saved = _vectors_by_name(without_backbone)
    extra, (from_saved, from_checkpoint), excluded = _match_width((saved, opened), width, set(names.values()))
    if not runs and not extra:
        st.caption("Choose at least two prompts.")
        return None
    _render_inspect_links(runs, names)
    key = (str(get_store().root), *((id, array.tobytes()) for id, array in {**prompts, **extra}.items()))
    prompt_ids = (*(run.id for run in runs), *(without_backbone[name].id for name in from_saved.values()))
    return PromptSelection(
        backbone=backbone,
        runs=runs,
        names=tuple(names[run.id] for run in runs),
        prompts=prompts,
        opened_prompts=extra,
        excluded=excluded,
        prompt_ids=prompt_ids,
        checkpoint=_checkpoint_path() if from_checkpoint else "",
        cache_key=hash(key),
    )


def _add_recorded() -> list[RunSummary]:
    """Return the recorded runs to choose from: all of them unless there are runs of your own, then on request."""
    shown = shown_recorded_runs()
    if not shown or not transfer_prompts.finished_runs(get_store()):
        return shown
    help = "prompts that came with ptviz, with their measured transfer"
    return shown if st.toggle("include recorded runs", key="with-recorded", help=help, bind="query-params") else []


def _vectors_by_name(summaries: dict[str, RunSummary]) -> dict[str, np.ndarray]:
    found = {name: transfer_prompts.load_prompt_vectors(get_store(), one) for name, one in summaries.items()}
    return {name: array for name, array in found.items() if array is not None}


def _load_vectors(runs: Sequence[RunSummary]) -> dict[str, np.ndarray]:
    real = [run for run in runs if not run.id.startswith(SAVED_PREFIX)]
    unsized = bool(real) and named_backbone_shape(real[0].config.backbone) is None
    if unsized and look_page.load_run_vocabulary(get_store().get(real[0].id)) is None:
        st.caption("The worker is reading the sizes of the backbone; reload the page in a few seconds.")
    found = {run.id: transfer_prompts.load_prompt_vectors(get_store(), run) for run in runs}
    return {id: array for id, array in found.items() if array is not None}


def _match_width(
    groups: Sequence[dict[str, np.ndarray]], width: int | None, taken: set[str]
) -> tuple[dict[str, np.ndarray], list[dict[str, str]], tuple[str, ...]]:
    """Return the prompts of that width (by default that of the first) under unused names.

    Then, for each group, their original names by the unused ones; last the names of those of another width.
    """
    width = width or next((array.shape[1] for group in groups for array in group.values()), None)
    found: dict[str, np.ndarray] = {}
    given: list[dict[str, str]] = []
    excluded: list[str] = []
    for group in groups:
        own: dict[str, str] = {}
        for name, array in group.items():
            if array.shape[1] != width:
                excluded.append(name)
                continue
            free = name
            while free in taken or free in found:
                free += " (opened)"
            found[free], own[free] = array, name
        given.append(own)
    return found, given, tuple(excluded)


def _checkpoint_input() -> None:
    with st.expander("Add the prompts of a checkpoint", expanded=not is_path_allowed(_typed_path())):
        path_input(
            "path on this machine",
            _CHECKPOINT_KEY,
            placeholder="/home/me/prompts.safetensors",
            help="a file or folder that the page Checkpoint can open, with one prompt or several; prompts saved on "
            "that page are listed already",
        )


def _load_opened_prompts() -> dict[str, np.ndarray]:
    """Return the prompts of the checkpoint whose path is entered below the selection."""
    found: dict[str, np.ndarray] = {}
    if path := _checkpoint_path():
        with show_errors():
            bundle = load_checkpoint(Path(path))
            if bundle.kind not in (INPUT, LIBRARY):
                raise ValueError(f"{bundle.name} ({bundle.kind}): expected prompts of input vectors")
            found = {name: np.asarray(matrix, dtype=np.float32) for name, matrix in bundle.input_prompts().items()}
    return found


def _checkpoint_path() -> str:
    typed = _typed_path()
    return str(expand_user(typed)) if typed and is_path_allowed(typed) else ""


def _typed_path() -> str:
    return str(st.session_state.get(_CHECKPOINT_KEY) or st.query_params.get(_CHECKPOINT_KEY, "")).strip()


def _render_inspect_links(runs: Sequence[RunSummary], names: dict[str, str]) -> None:
    """Show links to the pages that inspect a run, each to what its method learned from source tasks if it has any."""
    if not runs:
        return
    with st.popover("Look inside", icon=":material/visibility:"):
        for run in runs:
            page, part = look_page_of(run.config.method)
            address = {"run": run.id, **({"part": part} if part else {})}
            st.page_link(page, label=names[run.id], query_params=address)


def look_page_of(method: str) -> tuple[str, str]:
    """Return the page that shows how a method uses its source tasks, and the tensor to show there ("": none).

    For weights per input it is the routing page; else the smallest tensor with an axis of sources, as SPoT's
    similarities and MPT's factors. For a method without sources it is the page of embeddings.
    """
    if not method_uses_source_tasks(method):
        return _EMBEDDINGS_PAGE, ""
    if list_methods()[method].is_routed:
        return _ROUTING_PAGE, ""
    return _DECOMPOSITIONS_PAGE, str(
        cached_by_signature(("part-of-sources", method), lambda: _source_tensor_name(method))
    )


def _source_tensor_name(method: str) -> str:
    parts = build_method(method, Spec.from_sizes(64, 1, 1, 64, 4, ("a", "b"))).tensors()
    # A tensor per class says more about the classes than about the sources.
    counting = [name for name, part in parts.items() if "k" in part.axes and "c" not in part.axes]
    return min(counting, key=lambda name: parts[name].tensor.numel(), default="")  # the first of several


def _default_runs(runs: Sequence[RunSummary]) -> list[str]:
    """Return all prompts if they are few; else one per task, the newest that can be compared, plain prompts first."""
    if len(runs) <= _DEFAULT_COUNT:
        return [run.id for run in runs]
    found = [run.id for run in runs if run.id.startswith(SAVED_PREFIX)]
    # Stable: of one kind the newest stay first.
    order = sorted((run for run in runs if run.id not in found), key=lambda run: run.config.method != SOURCE_METHOD)
    for task in sorted({run.config.task for run in order}):
        own = [run for run in order if run.config.task == task]
        found.append(
            next(
                (run.id for run in own if transfer_prompts.load_prompt_vectors(get_store(), run) is not None), own[0].id
            )
        )
    return found if len(found) > 1 else [run.id for run in runs[:_DEFAULT_COUNT]]


def _select_runs(ids: list[str], names: dict[str, str], default: list[str]) -> list[str]:
    """Return the ids of the selected runs; they are stored in the page's address."""
    if not set(st.session_state.get(_RUNS_KEY, ids[:1])) <= set(ids):
        del st.session_state[_RUNS_KEY]  # another backbone was chosen, or a run deleted
    given = take_given(_RUNS_KEY)
    if given and (unknown := [id for id in given.split(",") if id not in names]):
        some = len(unknown) < len(given.split(","))
        instead = "The others are selected" if some else "The usual prompts are selected instead"
        refuse(_RUNS_KEY, "ids of prompts of this backbone", ", ".join(unknown), instead)
    if _RUNS_KEY not in st.session_state:
        asked = [id for id in str(st.query_params.get(_RUNS_KEY, "")).split(",") if id in names]
        st.session_state[_RUNS_KEY] = asked or default

    def save_selection() -> None:
        st.query_params[_RUNS_KEY] = ",".join(st.session_state[_RUNS_KEY])

    def select_all() -> None:
        st.session_state[_RUNS_KEY] = ids
        save_selection()

    with st.container(horizontal=True, vertical_alignment="bottom"):
        chosen: list[str] = st.multiselect(
            "Prompts", ids, key=_RUNS_KEY, format_func=lambda i: names.get(i, i), on_change=save_selection
        )
        if len(ids) > len(default):
            st.button("All", key="all-runs", on_click=select_all, help=f"all {len(ids)} prompts of this backbone")
    return chosen
