"""Which prompts the transfer page looks at: those of finished runs, kept ones, and those of an opened checkpoint."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import streamlit as st

from ptviz.backbones.shape import sizes_of
from ptviz.checkpoints.bundle import INPUT, LIBRARY
from ptviz.experiments import transfer as record
from ptviz.methods import REGISTRY, build
from ptviz.methods.base import learns_from_sources
from ptviz.plots.method_style import title_of
from ptviz.prompt import Spec
from ptviz.runs import RunConfig, Summary
from ptviz.runs.saved_prompts import KEPT
from ptviz.training.source_prompts import METHOD
from ptviz.ui.backend import store
from ptviz.ui.cache import remembered
from ptviz.ui.compare import train_all_tasks
from ptviz.ui.components.errors import explained
from ptviz.ui.components.forms import pick
from ptviz.ui.look import inspect_run
from ptviz.ui.navigation import COMPOSE, start_button
from ptviz.ui.open import checkpoint

LESSON = (
    "A prompt was trained for one task. Does it help on another, and can you tell beforehand, from the vectors alone? "
    "**Try:** change the measure, and see which correlations hold."
)
OPENED = "opened"
"""In place of a backbone: look at the prompts of the opened checkpoint alone."""
_AT_FIRST = 12
"""Prompts up to which all are shown at first; of more, one of each task."""
_KEY, _LIBRARY = "runs", "library"
_EMBEDDINGS, _ROUTING, _FACTORS = "look/embeddings.py", "look/routing.py", "look/factors.py"


@dataclass(frozen=True, eq=False)
class Chosen:
    """Prompts under their names: ``runs`` (kept prompts among them) of one backbone, and ``extra`` opened ones.

    ``prompts`` holds the vectors of those that are one prompt in front of the input, by id. ``left_out`` names opened
    prompts of another width. ``lines`` of a script add the opened ones to its ``prompts``.
    """

    backbone: str
    runs: tuple[Summary, ...]
    names: tuple[str, ...]
    prompts: dict[str, np.ndarray]
    extra: dict[str, np.ndarray]
    left_out: tuple[str, ...]
    key: Hashable
    lines: tuple[str, ...] = ()

    @property
    def places(self) -> list[int]:
        """Places among the runs of those whose prompts can be compared."""
        return [place for place, run in enumerate(self.runs) if run.id in self.prompts]

    @property
    def compared(self) -> dict[str, np.ndarray]:
        """Every prompt that can be compared, by name: those of the runs first, in the order of ``places``."""
        own = {self.names[place]: self.prompts[self.runs[place].id] for place in self.places}
        return {**own, **self.extra}

    @property
    def carrier(self) -> Summary | None:
        """A run of this backbone, by which the worker is asked for what needs the backbone."""
        real = [run for run in self.runs if not run.id.startswith(KEPT)]
        return next(iter(real or record.candidates(store(), self.backbone)), None)


def choose() -> Chosen | None:
    """The backbone and the prompts; None, and what to do next, where there is nothing to compare."""
    found = record.sources(store())
    opened = _opened_before()
    unsaid = record.homeless(store())
    if not found and not opened and not unsaid:
        st.markdown("No finished run yet. Press Start for a good first one; train it on a second task, then come back.")
        with st.container(horizontal=True, vertical_alignment="center"):
            start_button()
            st.page_link(COMPOSE, label="Choose backbone, task and method", icon=":material/tune:")
        train_all_tasks.offer(RunConfig().backbone, ())
        _library()
        return None
    counts = Counter(run.config.backbone for run in found)
    titles = {name: f"{name} ({count} prompts)" for name, count in counts.most_common()}
    if opened or unsaid:
        titles[OPENED] = "none: prompts of checkpoints alone"
    backbone = pick("Backbone", titles, key="backbone", help="only prompts of one backbone can be compared")
    own = [run for run in found if run.config.backbone == backbone]
    names = dict(zip([run.id for run in own], _names(own), strict=True))
    ids = _ids([run.id for run in own], names, _usual(own)) if own else []
    _library()
    train_all_tasks.offer(backbone, own)
    runs = tuple(run for run in reversed(own) if run.id in ids)
    prompts = _vectors(runs)
    width = next((array.shape[1] for array in prompts.values()), None)
    if width is None and (sizes := sizes_of(backbone)) is not None:
        width = sizes.width
    extra, given, left_out = _fitting((unsaid, opened), width, set(names.values()))
    if not runs and not extra:
        st.caption("Choose at least two prompts.")
        return None
    _links(runs, names)
    key = (str(store().root), *((id, array.tobytes()) for id, array in {**prompts, **extra}.items()))
    lines = _lines(*given)
    return Chosen(backbone, runs, tuple(names[run.id] for run in runs), prompts, extra, left_out, hash(key), lines)


def _vectors(runs: Sequence[Summary]) -> dict[str, np.ndarray]:
    real = [run for run in runs if not run.id.startswith(KEPT)]
    unsized = bool(real) and sizes_of(real[0].config.backbone) is None
    if unsized and inspect_run.vocabulary_of(store().get(real[0].id)) is None:
        st.caption("The worker is reading the sizes of the backbone; come back in a few seconds.")
    found = {run.id: record.vectors(store(), run) for run in runs}
    return {id: array for id, array in found.items() if array is not None}


def _fitting(
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


def _lines(kept: dict[str, str], opened: dict[str, str]) -> tuple[str, ...]:
    """The lines of a script that add kept prompts without a backbone, and opened ones, to ``prompts``."""
    lines: list[str] = ["import numpy as np"] if kept or opened else []
    if kept:
        lines += ["kept = transfer.homeless(store)", *_adding("kept", kept)]
    if opened:
        lines += ["from ptviz.checkpoints import open_checkpoint", f"opened = open_checkpoint({_path()!r}).prompts()"]
        lines += _adding("opened", opened)
    return tuple(lines)


def _adding(source: str, given: dict[str, str]) -> tuple[str, ...]:
    return (
        f"given = {given!r}",
        f"prompts |= {{name: np.asarray({source}[own], dtype=np.float32) for name, own in given.items()}}",
    )


def _library() -> None:
    with st.expander("Add the prompts of a checkpoint"):
        st.text_input(
            "path on this machine", key=_LIBRARY, bind="query-params", placeholder="/home/me/prompts.safetensors",
            help="a file or folder that the page Checkpoint can open, with one prompt or a library of them; prompts "
            "kept on that page are here already",
        )  # fmt: skip


def _opened_before() -> dict[str, np.ndarray]:
    """The prompts of the checkpoint whose path is typed further down."""
    found: dict[str, np.ndarray] = {}
    if path := _path():
        with explained():
            bundle = checkpoint.opened(Path(path))
            if bundle.kind not in (INPUT, LIBRARY):
                raise ValueError(f"{bundle.name} ({bundle.kind}): expected prompts of vectors in front of the input")
            found = {name: np.asarray(matrix, dtype=np.float32) for name, matrix in bundle.prompts().items()}
    return found


def _path() -> str:
    typed = str(st.session_state.get(_LIBRARY) or st.query_params.get(_LIBRARY, "")).strip()
    return str(Path(typed).expanduser()) if typed else ""


def _links(runs: Sequence[Summary], names: dict[str, str]) -> None:
    """Ways to the pages that look inside, each to what its method learnt from its sources if it has any."""
    if not runs:
        return
    with st.popover("Look inside", icon=":material/visibility:"):
        for run in runs:
            page, part = inside_of(run.config.method)
            address = {"run": run.id, **({"part": part} if part else {})}
            st.page_link(page, label=names[run.id], query_params=address)


def inside_of(method: str) -> tuple[str, str]:
    """The page that shows what a method makes of its source tasks, and which part there: "" where it is not one.

    Weights for each input: the routing. Else the smallest part that counts the sources, as SPoT's similarities and
    MPT's factors. A method without sources: the prompt among the words.
    """
    if not learns_from_sources(method):
        return _EMBEDDINGS, ""
    if hasattr(REGISTRY[method], "route"):
        return _ROUTING, ""
    return _FACTORS, str(remembered(("part-of-sources", method), lambda: _part(method)))


def _part(method: str) -> str:
    parts = build(method, Spec.of_shape(64, 1, 1, 64, 4, ("a", "b"))).parts()
    # What is told by class says more about the classes than about the sources.
    counting = [name for name, part in parts.items() if "k" in part.axes and "c" not in part.axes]
    return min(counting, key=lambda name: parts[name].tensor.numel(), default="")  # the first of several


def _names(runs: Sequence[Summary]) -> list[str]:
    """The shortest names that tell the runs apart: the task, and method, seed and id only where they are needed."""
    tasks = [run.name if run.id.startswith(KEPT) else short(run.config.task) for run in runs]
    titles = [title_of(run.config.method) for run in runs]
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


def short(name: str) -> str:
    """A task's name as it fits beside a figure."""
    return Path(name).stem if Path(name).suffix else name.removeprefix("hub:")


def _usual(runs: Sequence[Summary]) -> list[str]:
    """All prompts if they are few; else one of each task, the newest that can be compared, plainly tuned ones first."""
    if len(runs) <= _AT_FIRST:
        return [run.id for run in runs]
    found = [run.id for run in runs if run.id.startswith(KEPT)]
    # Stable: of one kind the newest stay first.
    order = sorted((run for run in runs if run.id not in found), key=lambda run: run.config.method != METHOD)
    for task in sorted({run.config.task for run in order}):
        own = [run for run in order if run.config.task == task]
        found.append(next((run.id for run in own if record.vectors(store(), run) is not None), own[0].id))
    return found if len(found) > 1 else [run.id for run in runs[:_AT_FIRST]]


def _ids(ids: list[str], names: dict[str, str], usual: list[str]) -> list[str]:
    """The runs chosen; the address keeps their ids once they are not the usual ones."""
    if not set(st.session_state.get(_KEY, ids[:1])) <= set(ids):
        del st.session_state[_KEY]  # another backbone was chosen, or a run deleted
    if _KEY not in st.session_state:
        asked = [id for id in str(st.query_params.get(_KEY, "")).split(",") if id in names]
        st.session_state[_KEY] = asked or usual

    def keep() -> None:
        st.query_params[_KEY] = ",".join(st.session_state[_KEY])

    def take_all() -> None:
        st.session_state[_KEY] = ids
        keep()

    with st.container(horizontal=True, vertical_alignment="bottom"):
        chosen: list[str] = st.multiselect(
            "Prompts", ids, key=_KEY, format_func=lambda i: names.get(i, i), on_change=keep
        )
        if len(ids) > len(usual):
            st.button("All", key="all-runs", on_click=take_all, help=f"all {len(ids)} prompts of this backbone")
    return chosen
