"""What the pages that look inside a run share: which run, which step of it, and its parts at every step."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import TypeVar

import streamlit as st

from ptviz.analysis.curves import TrainingCurve
from ptviz.backbones.shape import Sizes, sizes_of
from ptviz.figures.step_strip import draw_moment, tell_moment
from ptviz.plots.material import curve_of, positions
from ptviz.plots.method_style import mark_of, title_of
from ptviz.plots.views import Track
from ptviz.runs import Run, SnapshotInfo, saved_prompts
from ptviz.runs.embedding_table import Vocabulary, place_of, vocabulary
from ptviz.runs.method_tensors import Values, parts_of
from ptviz.runs.saved_prompts import KEPT, KeptPrompt
from ptviz.ui import scripts
from ptviz.ui.backend import keep_vocabulary, keep_words, store
from ptviz.ui.cache import remembered
from ptviz.ui.components.errors import explained
from ptviz.ui.components.formatting import ALIVE, heading, told_apart
from ptviz.ui.components.plotly_chart import live_plot
from ptviz.ui.navigation import COMPOSE, start_button, transfer_link
from ptviz.ui.train.run_page import TICK, run_of_address

T = TypeVar("T")
PLAYING = 0.7
"""Seconds a step stays on screen while the page plays."""
FEW = 12
MOST = 40
_LARGE = 4 << 20
READ_MOMENT = (
    "How to read it: the solid line is the smoothed training loss, the dotted one the validation accuracy; the orange "
    "cursor is the step that every panel of this page shows."
)


@dataclass(frozen=True)
class Moment:
    """One step of a run that a page looks at: the snapshots on offer, their steps on the curve, and the place."""

    run: Run
    snapshots: tuple[SnapshotInfo, ...]
    positions: tuple[int, ...]
    at: int
    curve: TrainingCurve

    @property
    def here(self) -> SnapshotInfo:
        """The snapshot looked at."""
        return self.snapshots[self.at]

    @property
    def key(self) -> Hashable:
        """Names the snapshots on offer: results that depend on them and nothing else may be kept under it."""
        return str(self.run.path), tuple((s.stage, s.step, s.path.stat().st_mtime_ns) for s in self.snapshots)


def look(
    title: str,
    lesson: str,
    show: Callable[[Moment], None],
    wanted: Callable[[str], bool] | None = None,
    *,
    still: Callable[[KeptPrompt], None],
) -> None:
    """A page on one run: its lesson, the run, the scrubber, and below what ``show`` makes of the step chosen.

    ``wanted`` says of a method's name whether this page has something to show of it; others stay selectable.
    ``still`` shows a kept prompt, which has no run.
    """
    st.title(title)
    st.markdown(lesson)
    run = None
    with explained():
        run = _chosen(wanted)
    if isinstance(run, KeptPrompt):
        due = waiting()
        st.fragment(_still, run_every=0.6 if due else None)(run, still, due)
        return
    if run is None:
        _nothing()
        return
    with explained():
        transfer_link(run.config)
        # The pace is part of the fragment: another state, another pace, so the whole page is due.
        state = run.status().state
        playing = bool(st.session_state.get("playing"))
        pace = PLAYING if playing else TICK if state in ALIVE else 0.6 if waiting() else None
        st.fragment(_moment, run_every=pace)(run, show, pace)


def _still(kept: KeptPrompt, show: Callable[[KeptPrompt], None], pace: bool) -> None:
    with explained():
        show(kept)
        if waiting() != pace:
            st.rerun()


def _nothing() -> None:
    st.markdown("No run to look into yet. Press Start for a good first one; its first snapshot comes within seconds.")
    with st.container(horizontal=True, vertical_alignment="center"):
        start_button()
        st.page_link(COMPOSE, label="Choose backbone, task and method", icon=":material/tune:")


def _chosen(wanted: Callable[[str], bool] | None) -> Run | KeptPrompt | None:
    """The run or kept prompt that the address names, else the newest run that this page suits; a box for another."""
    known, kept = store().list(), {KEPT + one.id: one for one in saved_prompts.kept(store())}
    if "run" not in st.query_params and wanted is not None:
        fitting = [summary.id for summary in known if wanted(summary.config.method)]
        if fitting:
            st.query_params["run"] = fitting[0]
    named = st.query_params.get("run", "" if known else next(iter(kept), ""))
    run: Run | KeptPrompt | None
    if named.startswith(KEPT):
        run, own = saved_prompts.get(store(), named.removeprefix(KEPT)), named
    elif (run := run_of_address()) is not None:
        own = run.id
    else:
        return None
    ids = [*(summary.id for summary in known), *kept]
    names = {
        s.id: f"{s.name} ({title_of(s.config.method)}, {s.config.task}, seed {s.config.training.seed})" for s in known
    } | {id: f"{one.title} (kept prompt, {one.m} tokens)" for id, one in kept.items()}
    names = told_apart(names)

    def changed() -> None:
        st.query_params["run"] = st.session_state["look-run"]
        # Steps of one run are not those of another. The widget takes its own entry out of the address.
        st.session_state["at"] = "best"

    if st.session_state.get("look-run") != own:
        st.session_state["look-run"] = own
    st.selectbox(
        "Run or kept prompt" if kept else "Run",
        ids,
        key="look-run",
        format_func=lambda id: names.get(id, id),
        on_change=changed,
    )
    return run


def _moment(run: Run, show: Callable[[Moment], None], pace: float | None) -> None:
    with explained():
        found = moment(run)
        if found is None:
            heading(run.config.name or run.id)
            st.caption("This run has no snapshot yet: the first one comes when training begins.")
        else:
            show(found)
        state, playing = run.status().state, bool(st.session_state.get("playing"))
        due = PLAYING if playing else TICK if state in ALIVE else 0.6 if waiting() else None
        if due != pace:
            st.rerun()


def moment(run: Run) -> Moment | None:
    """The strip of the training curve, and the scrubber under it; None before the first snapshot."""
    snapshots = run.snapshots()
    if not snapshots:
        return None
    curve = curve_of(run.curve())
    places = positions(curve, snapshots)
    strip = st.container()
    at = _scrubber(run, snapshots)
    with strip:
        figure = draw_moment(curve, places[at], mark_of(run.config.method))
        told = tell_moment(curve, places[at])
        live_plot(figure, f"{told} {READ_MOMENT}", key=f"moment-{run.id}", tools=False,
                  python=scripts.moment(run, places[at]))  # fmt: skip
    return Moment(run, tuple(snapshots), places, at, curve)


def moment_near(run: Run, step: int) -> Moment | None:
    """A run at its last snapshot at or before a step of the curve, without a strip or scrubber of its own."""
    snapshots = run.snapshots()
    if not snapshots:
        return None
    curve = curve_of(run.curve())
    places = positions(curve, snapshots)
    return Moment(run, tuple(snapshots), places, max(bisect_right(places, step) - 1, 0), curve)


def _scrubber(run: Run, snapshots: list[SnapshotInfo]) -> int:
    """The place of the step chosen; "best" is the best prompt of a run that is over, the newest of one under way."""
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
    if st.session_state.get("at") not in options:
        st.session_state.pop("at", None)
    with st.container(horizontal=True, vertical_alignment="center"):
        going = bool(st.session_state.get("playing"))
        if st.button(
            "Pause" if going else "Play", icon=":material/pause:" if going else ":material/play_arrow:", key="play"
        ):
            st.session_state["playing"] = not going
            st.rerun()
        chosen = st.select_slider("step", options, value="best", key="at", bind="query-params", width="stretch")
    return labels.index(chosen) if chosen in labels else best_place(run, snapshots)


def best_place(run: Run, snapshots: list[SnapshotInfo]) -> int:
    """The last snapshot at or before the best evaluation of a run that is over; the newest of one under way."""
    best = run.curve().best
    if run.status().state in ALIVE or best is None:
        return len(snapshots) - 1
    before = [i for i, info in enumerate(snapshots) if (info.stage, info.step) <= (best.stage, best.step)]
    return before[-1] if before else 0


def thinned(count: int, at: int, most: int) -> list[int]:
    """At most about ``most`` of ``count`` places, evenly spread, with both ends and the place looked at."""
    if count <= most:
        return list(range(count))
    return sorted({round(i * (count - 1) / (most - 1)) for i in range(most)} | {at})


def tracks(found: Moment, spread: int | None = None) -> dict[str, Track]:
    """The parts of the run's method at its snapshots, the prompt as used first.

    ``spread`` wants at most so many snapshots, and the same ones wherever the page looks: then the last one before that
    is the one looked at.

    Raises:
        StoreError: if a snapshot is damaged, or does not fit the method any more.
    """
    sizes = _sizes(found.run)
    if sizes is None:
        return {}
    large = found.here.path.stat().st_size > _LARGE
    most = FEW if large else MOST
    places = thinned(len(found.snapshots), 0 if spread else found.at, min(most, spread or most))
    states = [_parts(found.run, found.snapshots[i], sizes) for i in places]
    steps, at = tuple(found.positions[i] for i in places), bisect_right(places, found.at) - 1
    made = {}
    for name, part in states[at].items():
        # A part may change its shape between stages: only steps where it looks as it does now share a figure.
        same = [i for i, state in enumerate(states) if name in state and state[name].array.shape == part.array.shape]
        arrays = tuple(states[i][name].array for i in same)
        made[name] = Track(name, part.axes, tuple(steps[i] for i in same), arrays, same.index(at))
    return made


def _parts(run: Run, info: SnapshotInfo, sizes: Sizes) -> dict[str, Values]:
    key = ("parts", str(info.path), info.path.stat().st_mtime_ns)
    return remembered(key, lambda: parts_of(run.config, run.snapshot(info.stage, info.step), sizes))


def _sizes(run: Run) -> Sizes | None:
    known = sizes_of(run.config.backbone)
    if known is None and (words := vocabulary_of(run)) is not None:
        known = words.sizes
    return known


def vocabulary_of(run: Run) -> Vocabulary | None:
    """The words of the run's backbone; None while the worker fetches them, which is asked for here.

    Raises:
        StoreError: if the worker could not load the backbone.
    """
    return words_of(run.config.backbone, lambda: keep_vocabulary(run.id))


def words_of(backbone: str, ask: Callable[[], Future[None]] | None = None) -> Vocabulary | None:
    """The words of a backbone; None while the worker fetches them, which is asked for here.

    Raises:
        StoreError: if the worker could not load the backbone.
    """
    place = place_of(backbone)
    if (place / "vocabulary.json").exists():
        return remembered(("vocabulary", str(place)), lambda: vocabulary(backbone))
    asked(("vocabulary", str(place)), ask or (lambda: keep_words(backbone)))
    return vocabulary(backbone)


def asked(key: Hashable, ask: Callable[[], Future[T]]) -> T | None:
    """The answer to a question put beside the page, asked once under this key; None while it is on its way.

    Raises:
        StoreError: what the question failed with, as often as it is looked at.
    """
    kept: dict[Hashable, Future[T]] = st.session_state.setdefault("inside-asked", {})
    if key not in kept:
        kept[key] = ask()
        for old in [*kept][:-32]:
            del kept[old]
    missed: set[Hashable] = st.session_state.setdefault("inside-missed", set())
    (missed.discard if kept[key].done() else missed.add)(key)
    return kept[key].result() if kept[key].done() else None


def forget(key: Hashable) -> None:
    """Let go of a question and its answer: the next ``asked`` puts it anew."""
    st.session_state.get("inside-asked", {}).pop(key, None)


def waiting() -> bool:
    """Whether an answer is on its way to this page, or came after the page had looked for it."""
    kept: dict[Hashable, Future[object]] = st.session_state.get("inside-asked", {})
    missed: set[Hashable] = st.session_state.setdefault("inside-missed", set())
    late = {key for key in missed if key not in kept or kept[key].done()}
    missed -= late  # looked for once more, then no longer: nobody may want them any more
    return bool(late) or any(not future.done() for future in kept.values())


def choose_part(parts: dict[str, Track], label: str = "part") -> Track:
    """One of the parts, chosen in a box that the address remembers."""
    names = list(parts)
    if st.session_state.get("part") not in names:
        st.session_state.pop("part", None)
    name = st.selectbox(
        label,
        names,
        key="part",
        bind="query-params",
        format_func=lambda name: f"{name}  ({' x '.join(parts[name].axes)} = {_size(parts[name])})",
    )
    return parts[name]


def _size(track: Track) -> str:
    return " x ".join(map(str, track.now.shape))


def shorter(track: Track, most: int) -> Track:
    """The same track with at most about ``most`` steps, the one looked at among them."""
    at = track.at % len(track.steps)
    places = thinned(len(track.steps), at, most)
    steps, values = tuple(track.steps[i] for i in places), tuple(track.values[i] for i in places)
    return replace(track, steps=steps, values=values, at=places.index(at))
