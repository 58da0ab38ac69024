"""What the pages under Look share: the selected run, the selected step, and requests to the worker."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

import streamlit as st

from ptviz.analysis.training_curves import TrainingCurve
from ptviz.backbone_shape import BackboneShape
from ptviz.backbones.listing import named_backbone_shape
from ptviz.plots import plot_step_strip, run_tensors
from ptviz.plots.cache import cached_by_signature
from ptviz.plots.run_tensors import best_snapshot_index
from ptviz.plots.tensor_views import TensorHistory
from ptviz.plots.training_curves import snapshot_positions, to_training_curve
from ptviz.runs import ACTIVE_STATES, Run, RunSummary, SnapshotInfo, saved_prompts
from ptviz.runs.embedding_table import Vocabulary, cache_path, load_vocabulary
from ptviz.runs.saved_prompts import SAVED_PREFIX, SavedPrompt
from ptviz.runs.target_run import split_targets
from ptviz.ui.backend import get_store, request_answer
from ptviz.ui.classroom import refresh_seconds
from ptviz.ui.components.address_values import forget_given
from ptviz.ui.components.errors import show_errors
from ptviz.ui.components.figure_panel import render_plot
from ptviz.ui.components.formatting import render_heading, unique_labels
from ptviz.ui.components.forms import select_one
from ptviz.ui.components.glossary import meaning, render_markdown
from ptviz.ui.components.presenter import take_step
from ptviz.ui.navigation import NEW_RUN_PAGE, start_button, transfer_link
from ptviz.ui.recorded_runs import list_targets, run_title
from ptviz.ui.train.run_page import ANSWER_SECONDS, REFRESH_SECONDS, run_from_address

T = TypeVar("T")
PLAY_SECONDS = 0.7
"""Seconds a step stays on screen while the page plays."""


@dataclass(frozen=True)
class SnapshotSelection:
    """The selected snapshot of a run: all snapshots, their steps in the run, and the index of the selected one."""

    run: Run
    snapshots: tuple[SnapshotInfo, ...]
    positions: tuple[int, ...]
    index: int
    curve: TrainingCurve

    @property
    def snapshot(self) -> SnapshotInfo:
        """Return the selected snapshot."""
        return self.snapshots[self.index]

    @property
    def stage_and_step(self) -> dict[str, Any]:
        """Return the selected snapshot as arguments of a plot."""
        return {"stage": self.snapshot.stage, "step": self.snapshot.step}

    @property
    def cache_key(self) -> Hashable:
        """Return what names the snapshots of the run: results that depend on them alone are cached under it."""
        return str(self.run.path), tuple((s.stage, s.step, s.path.stat().st_mtime_ns) for s in self.snapshots)


def render_look_page(
    title: str,
    lesson: str,
    show: Callable[[SnapshotSelection], None],
    wanted: Callable[[str], bool] | None = None,
    *,
    still: Callable[[SavedPrompt], None],
) -> None:
    """Show a page on one run: lesson, run, step slider, and what ``show`` renders for the selected step.

    ``wanted`` returns whether the page has something to show for a method; other runs stay selectable. ``still``
    renders a saved prompt, which has no run.
    """
    st.title(title)
    render_markdown(lesson)
    run = None
    with show_errors():
        run = _select_run(wanted)
    if isinstance(run, SavedPrompt):
        pending = has_pending_requests()
        st.fragment(_render_saved_prompt, run_every=ANSWER_SECONDS if pending else None)(run, still, pending)
        return
    if run is None:
        return
    with show_errors():
        transfer_link(run.config)
        # The interval is part of the fragment: another one means the whole page.
        interval = _refresh_seconds(run)
        st.fragment(_render_snapshot, run_every=interval)(run, show, interval)


def _refresh_seconds(run: Run) -> float | None:
    """Return the seconds between two refreshes; None when nothing will change by itself."""
    if st.session_state.get("playing"):
        return PLAY_SECONDS
    if run.status().state in ACTIVE_STATES:
        return refresh_seconds(REFRESH_SECONDS)
    return ANSWER_SECONDS if has_pending_requests() else None


def _render_saved_prompt(saved: SavedPrompt, show: Callable[[SavedPrompt], None], pending: bool) -> None:
    with show_errors():
        show(saved)
        if has_pending_requests() != pending:
            st.rerun()


def _render_no_run() -> None:
    st.markdown(
        "No run to inspect yet. Start a first one with the default settings; its first snapshot comes within seconds."
    )
    with st.container(horizontal=True, vertical_alignment="center"):
        start_button()
        st.page_link(NEW_RUN_PAGE, label="Choose backbone, task and method", icon=":material/tune:")


def _select_run(wanted: Callable[[str], bool] | None) -> Run | SavedPrompt | None:
    """Return the run or saved prompt that the address names, else the newest run that suits this page; with a box.

    None if there is no run, or not the one that the address names: then the box offers the others.
    """
    known, saved = (
        list_targets(),
        {SAVED_PREFIX + one.id: one for one in saved_prompts.list_saved_prompts(get_store().prompts_folder)},
    )
    found: Run | SavedPrompt | None = None
    with show_errors():
        found = _find_run(known, saved, wanted)
    names = {summary.id: run_title(summary) for summary in known} | {
        id: f"{one.title} (saved prompt, {one.m} tokens)" for id, one in saved.items()
    }
    if names:
        own = SAVED_PREFIX + found.id if isinstance(found, SavedPrompt) else None if found is None else found.id
        _render_run_box(unique_labels(names), own, "Run or saved prompt" if saved else "Run")
    elif found is None:
        _render_no_run()
    return found


def _find_run(
    known: Sequence[RunSummary], saved: Collection[str], wanted: Callable[[str], bool] | None
) -> Run | SavedPrompt | None:
    """Return what the address names, else the newest run that suits the page; None if there is none.

    Raises:
        StoreError: if the address names what is not there or cannot be read.
    """
    if "run" not in st.query_params and wanted is not None:
        fitting = [summary.id for summary in known if wanted(summary.config.method)]
        if fitting:
            st.query_params["run"] = fitting[0]
    named = st.query_params.get("run", "" if known else next(iter(saved), ""))
    if named.startswith(SAVED_PREFIX):
        return saved_prompts.get_saved_prompt(get_store().prompts_folder, named.removeprefix(SAVED_PREFIX))
    run = run_from_address()
    return None if run is None else split_targets(run)[0]


def _render_run_box(names: dict[str, str], own: str | None, label: str) -> None:
    """Show the box in which the run is selected, with nothing selected if ``own`` is None."""

    def changed() -> None:
        if st.session_state["look-run"] is None:
            return  # A box with nothing selected can be emptied again.
        st.query_params["run"] = st.session_state["look-run"]
        # Steps of one run are not those of another. The widget takes its own entry out of the address.
        st.session_state["at"] = "best"
        forget_given()

    if st.session_state.get("look-run") != own:
        st.session_state["look-run"] = own
    st.selectbox(
        label,
        list(names),
        index=None if own is None else 0,
        key="look-run",
        format_func=lambda id: names.get(id, id),
        on_change=changed,
        placeholder="choose one",
    )


def _render_snapshot(run: Run, show: Callable[[SnapshotSelection], None], interval: float | None) -> None:
    with show_errors():
        found = select_snapshot(run)
        if found is None:
            render_heading(run.config.name or run.id)
            st.caption("This run has no snapshot yet: the first one comes when training begins.")
        else:
            show(found)
        if _refresh_seconds(run) != interval:
            st.rerun()


def select_snapshot(run: Run) -> SnapshotSelection | None:
    """Show the strip of the training curve and its slider; return the selection, None before the first snapshot."""
    snapshots = run.snapshots()
    if not snapshots:
        return None
    curve = to_training_curve(run.history())
    positions = snapshot_positions(curve, snapshots)
    strip = st.container()
    at = _snapshot_slider(run, snapshots)
    with strip:
        render_plot(plot_step_strip, run, positions[at], key=f"moment-{run.id}", caption="", filename="", toolbar=False)
    return SnapshotSelection(run, tuple(snapshots), positions, at, curve)


def _snapshot_slider(run: Run, snapshots: list[SnapshotInfo]) -> int:
    """Return the index of the selected snapshot; "best" is the newest one while the run is active."""
    several = len({info.stage for info in snapshots}) > 1
    labels = [f"{info.stage + 1}:{info.step}" if several else str(info.step) for info in snapshots]
    options = [*labels, "best"]
    if st.session_state.get("playing"):
        now = st.session_state.get("at", "best")
        following = labels.index(now) + 1 if now in labels else 0
        if following < len(labels):
            st.session_state["at"] = labels[following]
        else:
            st.session_state["playing"] = False
    if by := take_step():
        now = st.session_state.get("at", "best")
        index = labels.index(now) if now in labels else best_snapshot_index(run, snapshots)
        st.session_state["at"] = labels[min(max(index + by, 0), len(labels) - 1)]
    if st.session_state.get("at") not in options:
        st.session_state.pop("at", None)
    with st.container(horizontal=True, vertical_alignment="center", key="scrubber"):
        going = bool(st.session_state.get("playing"))
        if st.button(
            "Pause" if going else "Play", icon=":material/pause:" if going else ":material/play_arrow:", key="play"
        ):
            st.session_state["playing"] = not going
            st.rerun()
        chosen = st.select_slider(
            "step",
            options,
            value="best",
            key="at",
            bind="query-params",
            width="stretch",
            help=meaning("snapshot"),
        )
    return labels.index(chosen) if chosen in labels else best_snapshot_index(run, snapshots)


def load_tensor_histories(found: SnapshotSelection, max_steps: int | None = None) -> dict[str, TensorHistory]:
    """Return the tensors of the run's method at its snapshots; none while the worker fetches the backbone's sizes.

    With ``max_steps``, the snapshots read do not depend on the selected one.

    Raises:
        StoreError: if a snapshot is damaged, or does not fit the method any more.
    """
    if _backbone_sizes(found.run) is None:
        return {}
    return run_tensors.load_tensor_histories(found.run, **found.stage_and_step, max_steps=max_steps)


def _backbone_sizes(run: Run) -> BackboneShape | None:
    known = named_backbone_shape(run.config.backbone)
    if known is None and (words := load_run_vocabulary(run)) is not None:
        known = words.shape
    return known


def load_run_vocabulary(run: Run) -> Vocabulary | None:
    """Return the vocabulary of the run's backbone; None, after a request, while the worker fetches it.

    Raises:
        StoreError: if the worker could not load the backbone.
    """
    return load_backbone_vocabulary(run.config.backbone, lambda: request_answer("vocabulary", run.id))


def load_backbone_vocabulary(
    backbone: str, ask: Callable[[], Future[dict[str, Any]]] | None = None
) -> Vocabulary | None:
    """Return the vocabulary of a backbone; None, after a request, while the worker fetches it.

    Raises:
        StoreError: if the worker could not load the backbone.
    """
    folder = cache_path(backbone)
    if (folder / "vocabulary.json").exists():
        return cached_by_signature(("vocabulary", str(folder)), lambda: load_vocabulary(backbone))
    poll_request(("vocabulary", str(folder)), ask or (lambda: request_answer("vocabulary", backbone=backbone)))
    return load_vocabulary(backbone)


def poll_request(key: Hashable, ask: Callable[[], Future[T]]) -> T | None:
    """Return the answer to a request that is sent once under this key; None while it is pending.

    Raises:
        StoreError: the error of the request, at every call.
    """
    pending: dict[Hashable, Future[T]] = st.session_state.setdefault("inside-asked", {})
    if key not in pending:
        pending[key] = ask()
        for old in [*pending][:-32]:
            del pending[old]
    missed: set[Hashable] = st.session_state.setdefault("inside-missed", set())
    (missed.discard if pending[key].done() else missed.add)(key)
    return pending[key].result() if pending[key].done() else None


def is_answered(key: Hashable) -> bool:
    """Return whether the request under this key was sent and has its answer, which may be None."""
    pending: dict[Hashable, Future[object]] = st.session_state.get("inside-asked", {})
    return key in pending and pending[key].done()


def forget_request(key: Hashable) -> None:
    """Forget a request and its answer: the next ``poll_request`` sends it again."""
    st.session_state.get("inside-asked", {}).pop(key, None)


def has_pending_requests() -> bool:
    """Return whether an answer is pending, or came after the page had looked for it."""
    pending: dict[Hashable, Future[object]] = st.session_state.get("inside-asked", {})
    missed: set[Hashable] = st.session_state.setdefault("inside-missed", set())
    late = {key for key in missed if key not in pending or pending[key].done()}
    missed -= late  # reported once: the page may not need them any more
    return bool(late) or any(not future.done() for future in pending.values())


def rerun_when_answered(caption: str) -> None:
    """Show the caption while requests are pending, and draw the page again once all are answered."""

    def rerun_if_answered() -> None:
        if not has_pending_requests():
            st.rerun()

    if has_pending_requests():
        st.caption(caption)
        st.fragment(rerun_if_answered, run_every=ANSWER_SECONDS)()


def select_tensor(parts: dict[str, TensorHistory], label: str = "part") -> TensorHistory:
    """Return one of the tensors, from a box whose choice the address stores by name, as links to this page do."""
    if st.session_state.get("part") not in parts:
        st.session_state.pop("part", None)
    titles = {name: f"{name}  ({' x '.join(one.axes)} = {_format_shape(one)})" for name, one in parts.items()}
    name = select_one(label, titles, key="part")
    if st.query_params.get("part", name) != name:
        del st.query_params["part"]  # Of a run with other tensors.
    return parts[name]


def _format_shape(history: TensorHistory) -> str:
    return " x ".join(map(str, history.current.shape))
