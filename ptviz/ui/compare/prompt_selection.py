"""Which prompts the transfer page looks at: those of finished runs, kept ones, and those of an opened checkpoint."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import streamlit as st

from ptviz.backbones.shape import named_backbone_shape
from ptviz.checkpoints.bundle import INPUT, LIBRARY
from ptviz.experiments import transfer as record
from ptviz.methods import REGISTRY, build_method
from ptviz.methods.base import method_uses_source_tasks
from ptviz.plots.cache import cached_by_signature
from ptviz.plots.method_style import method_title
from ptviz.prompt import Spec
from ptviz.runs import RunConfig, RunSummary
from ptviz.runs.saved_prompts import SAVED_PREFIX
from ptviz.training.source_prompts import SOURCE_METHOD
from ptviz.ui.backend import get_store
from ptviz.ui.compare import train_all_tasks
from ptviz.ui.components.errors import show_errors
from ptviz.ui.components.forms import select_one
from ptviz.ui.look import inspect_run
from ptviz.ui.navigation import COMPOSE_PAGE, start_button
from ptviz.ui.open import checkpoint

LESSON = (
    "A prompt was trained for one task. Does it help on another, and can you tell beforehand, from the vectors alone? "
    "**Try:** change the measure, and see which correlations hold."
)
OPENED_ONLY = "opened"
"""In place of a backbone: look at the prompts of the opened checkpoint alone."""
_DEFAULT_COUNT = 12
"""Prompts up to which all are shown at first; of more, one of each task."""
_RUNS_KEY, _CHECKPOINT_KEY = "runs", "library"
_EMBEDDINGS_PAGE, _ROUTING_PAGE, _DECOMPOSITIONS_PAGE = (
    "look/embeddings.py",
    "look/routing.py",
    "look/decompositions.py",
)


@dataclass(frozen=True, eq=False)
class PromptSelection:
    """Prompts under their names: ``runs`` (kept prompts among them) of one backbone, and ``extra`` opened ones.

    ``prompts`` holds the vectors of those that are one prompt in front of the input, by id. ``left_out`` names opened
    prompts of another width. ``lines`` of a script add the opened ones to its ``prompts``.
    """

    backbone: str
    runs: tuple[RunSummary, ...]
    names: tuple[str, ...]
    prompts: dict[str, np.ndarray]
    opened_prompts: dict[str, np.ndarray]
    excluded: tuple[str, ...]
    cache_key: Hashable
    code_lines: tuple[str, ...] = ()

    @property
    def comparable_indices(self) -> list[int]:
        """Places among the runs of those whose prompts can be compared."""
        return [place for place, run in enumerate(self.runs) if run.id in self.prompts]

    @property
    def comparable_prompts(self) -> dict[str, np.ndarray]:
        """Every prompt that can be compared, by name: those of the runs first, in the order of ``places``."""
        own = {self.names[place]: self.prompts[self.runs[place].id] for place in self.comparable_indices}
        return {**own, **self.opened_prompts}

    @property
    def worker_run(self) -> RunSummary | None:
        """A run of this backbone, by which the worker is asked for what needs the backbone."""
        real = [run for run in self.runs if not run.id.startswith(SAVED_PREFIX)]
        return next(iter(real or record.finished_runs(get_store(), self.backbone)), None)


def select_prompts() -> PromptSelection | None:
    """The backbone and the prompts; None, and what to do next, where there is nothing to compare."""
    found = record.source_prompts(get_store())
    opened = _load_opened_prompts()
    unsaid = record.prompts_without_backbone(get_store())
    if not found and not opened and not unsaid:
        st.markdown("No finished run yet. Press Start for a good first one; train it on a second task, then come back.")
        with st.container(horizontal=True, vertical_alignment="center"):
            start_button()
            st.page_link(COMPOSE_PAGE, label="Choose backbone, task and method", icon=":material/tune:")
        train_all_tasks.render_all_tasks_form(RunConfig().backbone, ())
        _checkpoint_input()
        return None
    counts = Counter(run.config.backbone for run in found)
    titles = {name: f"{name} ({count} prompts)" for name, count in counts.most_common()}
    if opened or unsaid:
        titles[OPENED_ONLY] = "none: prompts of checkpoints alone"
    backbone = select_one("Backbone", titles, key="backbone", help="only prompts of one backbone can be compared")
    own = [run for run in found if run.config.backbone == backbone]
    names = dict(zip([run.id for run in own], _run_labels(own), strict=True))
    ids = _select_runs([run.id for run in own], names, _default_runs(own)) if own else []
    _checkpoint_input()
    train_all_tasks.render_all_tasks_form(backbone, own)
    runs = tuple(run for run in reversed(own) if run.id in ids)
    prompts = _load_vectors(runs)
    width = next((array.shape[1] for array in prompts.values()), None)
    if width is None and (sizes := named_backbone_shape(backbone)) is not None:
        width = sizes.width
    extra, given, left_out = _match_width((unsaid, opened), width, set(names.values()))
    if not runs and not extra:
        st.caption("Choose at least two prompts.")
        return None
    _render_inspect_links(runs, names)
    key = (str(get_store().root), *((id, array.tobytes()) for id, array in {**prompts, **extra}.items()))
    lines = _opened_code(*given)
    return PromptSelection(
        backbone, runs, tuple(names[run.id] for run in runs), prompts, extra, left_out, hash(key), lines
    )


def _load_vectors(runs: Sequence[RunSummary]) -> dict[str, np.ndarray]:
    real = [run for run in runs if not run.id.startswith(SAVED_PREFIX)]
    unsized = bool(real) and named_backbone_shape(real[0].config.backbone) is None
    if unsized and inspect_run.load_run_vocabulary(get_store().get(real[0].id)) is None:
        st.caption("The worker is reading the sizes of the backbone; come back in a few seconds.")
    found = {run.id: record.load_prompt_vectors(get_store(), run) for run in runs}
    return {id: array for id, array in found.items() if array is not None}


def _match_width(
    groups: Sequence[dict[str, np.ndarray]], width: int | None, taken: set[str]
) -> tuple[dict[str, np.ndarray], list[dict[str, str]], tuple[str, ...]]:
    """The prompts of that width (of the first's, if none is asked) under names that are free.

    Then, for each group, the names they came with by the free ones; last the names of those of another width.
    """
    width = width or next((array.shape[1] for group in groups for array in group.values()), None)
    found: dict[str, np.ndarray] = {}
    given: list[dict[str, str]] = []
    left: list[str] = []
    for group in groups:
        own: dict[str, str] = {}
        for name, array in group.items():
            if array.shape[1] != width:
                left.append(name)
                continue
            free = name
            while free in taken or free in found:
                free += " (opened)"
            found[free], own[free] = array, name
        given.append(own)
    return found, given, tuple(left)


def _opened_code(kept: dict[str, str], opened: dict[str, str]) -> tuple[str, ...]:
    """The lines of a script that add kept prompts without a backbone, and opened ones, to ``prompts``."""
    lines: list[str] = ["import numpy as np"] if kept or opened else []
    if kept:
        lines += ["kept = transfer.homeless(store)", *_append_code("kept", kept)]
    if opened:
        lines += [
            "from ptviz.checkpoints import open_checkpoint",
            f"opened = open_checkpoint({_checkpoint_path()!r}).prompts()",
        ]
        lines += _append_code("opened", opened)
    return tuple(lines)


def _append_code(source: str, given: dict[str, str]) -> tuple[str, ...]:
    return (
        f"given = {given!r}",
        f"prompts |= {{name: np.asarray({source}[own], dtype=np.float32) for name, own in given.items()}}",
    )


def _checkpoint_input() -> None:
    with st.expander("Add the prompts of a checkpoint"):
        st.text_input(
            "path on this machine", key=_CHECKPOINT_KEY, bind="query-params",
            placeholder="/home/me/prompts.safetensors",
            help="a file or folder that the page Checkpoint can open, with one prompt or a library of them; prompts "
            "kept on that page are here already",
        )  # fmt: skip


def _load_opened_prompts() -> dict[str, np.ndarray]:
    """The prompts of the checkpoint whose path is typed further down."""
    found: dict[str, np.ndarray] = {}
    if path := _checkpoint_path():
        with show_errors():
            bundle = checkpoint.load_bundle(Path(path))
            if bundle.kind not in (INPUT, LIBRARY):
                raise ValueError(f"{bundle.name} ({bundle.kind}): expected prompts of vectors in front of the input")
            found = {name: np.asarray(matrix, dtype=np.float32) for name, matrix in bundle.input_prompts().items()}
    return found


def _checkpoint_path() -> str:
    typed = str(st.session_state.get(_CHECKPOINT_KEY) or st.query_params.get(_CHECKPOINT_KEY, "")).strip()
    return str(Path(typed).expanduser()) if typed else ""


def _render_inspect_links(runs: Sequence[RunSummary], names: dict[str, str]) -> None:
    """Ways to the pages that look inside, each to what its method learnt from its sources if it has any."""
    if not runs:
        return
    with st.popover("Look inside", icon=":material/visibility:"):
        for run in runs:
            page, part = inspect_page_of(run.config.method)
            address = {"run": run.id, **({"part": part} if part else {})}
            st.page_link(page, label=names[run.id], query_params=address)


def inspect_page_of(method: str) -> tuple[str, str]:
    """The page that shows what a method makes of its source tasks, and which part there: "" where it is not one.

    Weights for each input: the routing. Else the smallest part that counts the sources, as SPoT's similarities and
    MPT's factors. A method without sources: the prompt among the words.
    """
    if not method_uses_source_tasks(method):
        return _EMBEDDINGS_PAGE, ""
    if hasattr(REGISTRY[method], "routing_weights"):
        return _ROUTING_PAGE, ""
    return _DECOMPOSITIONS_PAGE, str(
        cached_by_signature(("part-of-sources", method), lambda: _source_tensor_name(method))
    )


def _source_tensor_name(method: str) -> str:
    parts = build_method(method, Spec.from_sizes(64, 1, 1, 64, 4, ("a", "b"))).tensors()
    # What is told by class says more about the classes than about the sources.
    counting = [name for name, part in parts.items() if "k" in part.axes and "c" not in part.axes]
    return min(counting, key=lambda name: parts[name].tensor.numel(), default="")  # the first of several


def _run_labels(runs: Sequence[RunSummary]) -> list[str]:
    """The shortest names that tell the runs apart: the task, and method, seed and id only where they are needed."""
    tasks = [run.name if run.id.startswith(SAVED_PREFIX) else short_task_name(run.config.task) for run in runs]
    titles = [method_title(run.config.method) for run in runs]
    seeds = [f"seed {run.config.training.seed}" for run in runs]
    ids = [run.id[-4:] for run in runs]
    names = []
    for place, task in enumerate(tasks):
        alike = [other for other, name in enumerate(tasks) if name == task and other != place]
        told = [task]
        for more in (titles, seeds, ids):
            if any(more[other] != more[place] for other in alike):
                told.append(more[place])
                alike = [other for other in alike if more[other] == more[place]]
        names.append(", ".join(told))
    return names


def short_task_name(name: str) -> str:
    """A task's name as it fits beside a figure."""
    return Path(name).stem if Path(name).suffix else name.removeprefix("hub:")


def _default_runs(runs: Sequence[RunSummary]) -> list[str]:
    """All prompts if they are few; else one of each task, the newest that can be compared, plainly tuned ones first."""
    if len(runs) <= _DEFAULT_COUNT:
        return [run.id for run in runs]
    found = [run.id for run in runs if run.id.startswith(SAVED_PREFIX)]
    # Stable: of one kind the newest stay first.
    order = sorted((run for run in runs if run.id not in found), key=lambda run: run.config.method != SOURCE_METHOD)
    for task in sorted({run.config.task for run in order}):
        own = [run for run in order if run.config.task == task]
        found.append(
            next((run.id for run in own if record.load_prompt_vectors(get_store(), run) is not None), own[0].id)
        )
    return found if len(found) > 1 else [run.id for run in runs[:_DEFAULT_COUNT]]


def _select_runs(ids: list[str], names: dict[str, str], usual: list[str]) -> list[str]:
    """The runs chosen; the address keeps their ids once they are not the usual ones."""
    if not set(st.session_state.get(_RUNS_KEY, ids[:1])) <= set(ids):
        del st.session_state[_RUNS_KEY]  # another backbone was chosen, or a run deleted
    if _RUNS_KEY not in st.session_state:
        asked = [id for id in str(st.query_params.get(_RUNS_KEY, "")).split(",") if id in names]
        st.session_state[_RUNS_KEY] = asked or usual

    def keep() -> None:
        st.query_params[_RUNS_KEY] = ",".join(st.session_state[_RUNS_KEY])

    def take_all() -> None:
        st.session_state[_RUNS_KEY] = ids
        keep()

    with st.container(horizontal=True, vertical_alignment="bottom"):
        chosen: list[str] = st.multiselect(
            "Prompts", ids, key=_RUNS_KEY, format_func=lambda i: names.get(i, i), on_change=keep
        )
        if len(ids) > len(usual):
            st.button("All", key="all-runs", on_click=take_all, help=f"all {len(ids)} prompts of this backbone")
    return chosen
