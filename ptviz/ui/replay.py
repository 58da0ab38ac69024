"""A finished run played again on the page Watch, from what it recorded: nothing is trained."""

from __future__ import annotations

import time
from bisect import bisect_right
from dataclasses import dataclass, replace

import streamlit as st

from ptviz.plots import plot_embeddings
from ptviz.plots.tensor_views import list_indices
from ptviz.plots.training_curves import SMOOTHING, snapshot_positions, to_training_curve
from ptviz.runs import Run, RunHistory, SnapshotInfo
from ptviz.ui.components.address_values import expect_one_of, expect_whole_number
from ptviz.ui.components.errors import show_errors
from ptviz.ui.components.figure_panel import render_plot
from ptviz.ui.components.formatting import render_heading
from ptviz.ui.components.seek_bar import seek_bar
from ptviz.ui.heavy_libraries import are_libraries_loaded
from ptviz.ui.look import look_page
from ptviz.ui.navigation import REPLAY_KEY, REPLAY_PARAM, WATCH_PAGE
from ptviz.ui.train import run_page, samples, training_curves, try_prompt

SPEEDS = {"1x": "as trained", "10x": "10 times faster", "20s": "whole run in 20 s"}
"""The speeds, as the address names them and as the page does."""
WHOLE_RUN_SECONDS = 20.0
TICK_SECONDS = 0.6
"""Seconds between two frames while the replay plays; one takes a fifth of that."""
MAP_WORDS = 500
"""The most frequent words in the embedding map: enough to see the cloud, few enough to redraw at every frame."""
MAP_CAPTION = (
    "How to read it: blue dots are frequent words of the frozen backbone, orange diamonds the prompt tokens at this "
    "step, thin lines the paths they took so far. The axes (PCA) are fitted once for all steps."
)
_STEP_PARAM = "step"
clock = time.monotonic


@dataclass(frozen=True)
class Playback:
    """What a session replays: ``seconds`` of training were shown at ``started`` (by ``clock``), None while paused.

    ``drawn`` says whether a frame was drawn: the first one, which may wait for libraries, takes no time of the replay.
    """

    run: str
    speed: str
    seconds: float
    started: float | None
    drawn: bool = False

    def seconds_now(self, total: float) -> float:
        """Return the seconds of training to show now, of a run that took ``total``."""
        if self.started is None:
            return self.seconds
        rate = total / WHOLE_RUN_SECONDS if self.speed == "20s" else float(self.speed.removesuffix("x"))
        return min(self.seconds + rate * (clock() - self.started), total)

    def moved(self, seconds: float) -> Playback:
        """Return the replay after a jump to ``seconds`` of training; it goes on playing if it did."""
        return replace(self, seconds=seconds, started=None if self.started is None else clock())

    def paused(self, seconds: float) -> Playback:
        """Return the replay paused at ``seconds`` of training."""
        return replace(self, seconds=seconds, started=None)


def is_replay() -> bool:
    """Return whether the address asks for a replay."""
    return REPLAY_PARAM in st.query_params


def render_replay(run: Run) -> None:
    """Show a finished run as it was at one step, with controls that play it; refreshed only while it plays."""
    with st.container(horizontal=True, vertical_alignment="center"):
        render_heading(run.config.name or run.id)
        st.badge("Replay of a finished run", icon=":material/replay:", color="violet")
        st.space("stretch")
        st.page_link(WATCH_PAGE, label="Leave the replay", icon=":material/close:", query_params={"run": run.id})
    st.text(run_page.describe_settings(run.config))
    history = run.history()
    if not len(history):
        st.caption("This run recorded no step: there is nothing to replay.")
        return
    _begin(run, history)
    interval = _refresh_seconds()
    st.fragment(_render_moment, run_every=interval)(run, interval)


def _begin(run: Run, history: RunHistory) -> None:
    """Take up the replay of the address: from the step that it names, else playing from the start."""
    playback: Playback | None = st.session_state.get(REPLAY_KEY)
    if playback is not None and playback.run == run.id:
        return
    named, step = st.query_params[REPLAY_PARAM], st.query_params.get(_STEP_PARAM, "")
    positions, seconds = history.timeline()
    speed = named if named in SPEEDS else "20s"
    expect_one_of(REPLAY_PARAM, SPEEDS, "20s")
    at = max(bisect_right(positions.tolist(), int(step[:12])) - 1, 0) if step.isdecimal() else 0
    expect_whole_number(_STEP_PARAM, int(positions[0]), int(positions[-1]), f"Step {positions[at]}")
    if step.isdecimal():
        st.session_state[REPLAY_KEY] = Playback(run.id, speed, float(seconds[at]), None)
    else:
        st.session_state[REPLAY_KEY] = Playback(run.id, speed, float(seconds[0]), clock())


def _refresh_seconds() -> float | None:
    playback: Playback = st.session_state[REPLAY_KEY]
    if playback.started is not None:
        return TICK_SECONDS
    pending = try_prompt.has_pending_prediction() or look_page.has_pending_requests() or not are_libraries_loaded()
    return run_page.ANSWER_SECONDS if pending else None


def _render_moment(run: Run, interval: float | None) -> None:
    with show_errors():
        history = run.history()
        positions, seconds = history.timeline()
        playback: Playback = st.session_state[REPLAY_KEY]
        now = playback.seconds_now(float(seconds[-1]))
        index = max(int(seconds.searchsorted(now, side="right")) - 1, 0)
        if index == len(positions) - 1:
            playback = st.session_state[REPLAY_KEY] = playback.paused(now)
        position = int(positions[index])
        _store_in_address(playback, position)
        _render_controls(playback, positions.tolist(), seconds.tolist(), index)
        _render_frame(run, history.until(position), position, playing=playback.started is not None)
        if not playback.drawn:
            st.session_state[REPLAY_KEY] = replace(playback.moved(playback.seconds), drawn=True)
        if _refresh_seconds() != interval:
            st.rerun()


def _store_in_address(playback: Playback, position: int) -> None:
    """Store speed and step in the address; the step only of a paused replay, or the browser's history would fill."""
    wanted = {REPLAY_PARAM: playback.speed}
    if playback.started is None:
        wanted[_STEP_PARAM] = str(position)
    for name in (REPLAY_PARAM, _STEP_PARAM):
        if name not in wanted:
            st.query_params.pop(name, None)
        elif st.query_params.get(name) != wanted[name]:
            st.query_params[name] = wanted[name]


def _render_controls(playback: Playback, positions: list[int], seconds: list[float], index: int) -> None:
    """Show the buttons, the speed and the slider of a replay whose step at ``index`` is on screen."""
    playing, last = playback.started is not None, len(positions) - 1

    def seek(position: int) -> None:
        current: Playback = st.session_state[REPLAY_KEY]
        st.session_state[REPLAY_KEY] = current.moved(seconds[max(bisect_right(positions, position) - 1, 0)])

    def step_by(change: int) -> None:
        to = min(max(index + change, 0), last)
        st.session_state[REPLAY_KEY] = playback.paused(seconds[to])

    def toggle() -> None:
        begin = seconds[0] if index == last else seconds[index]
        st.session_state[REPLAY_KEY] = replace(playback, seconds=begin, started=None if playing else clock())

    def choose_speed() -> None:
        st.session_state[REPLAY_KEY] = replace(playback.moved(seconds[index]), speed=st.session_state["replay-speed"])

    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.button(
            "Back", icon=":material/skip_previous:", shortcut="J", key="replay-back", on_click=step_by, args=(-1,),
            disabled=index == 0, help="one step back",
        )  # fmt: skip
        label, icon = ("Pause", ":material/pause:") if playing else ("Play", ":material/play_arrow:")
        st.button(label, icon=icon, type="primary", shortcut="K", key="replay-play", on_click=toggle)
        st.button(
            "Forward", icon=":material/skip_next:", shortcut="L", key="replay-forward", on_click=step_by, args=(1,),
            disabled=index == last, help="one step forward",
        )  # fmt: skip
        st.segmented_control(
            "speed", list(SPEEDS), format_func=SPEEDS.__getitem__, key="replay-speed", default=playback.speed,
            required=True, on_change=choose_speed, label_visibility="collapsed",
        )  # fmt: skip
    seek_bar(positions[index], positions[0], positions[-1], key="replay-at", on_seek=seek)


def _render_frame(run: Run, history: RunHistory, position: int, *, playing: bool) -> None:
    """Show metrics, curves, answers, samples and the embedding map of a run as they were at a step of it."""
    spent = float(history.seconds[-1]) if len(history) else 0.0
    status = replace(run.status(), seconds=spent, steps_per_second=history.steps_per_second)
    run_page.render_metrics(run, status, history, progress=False)
    left, right = st.columns([3, 2], gap="medium")
    with left:
        training_curves.render_training_curve(run, SMOOTHING, until=position)
    info = _snapshot_at(run, position)
    with right:
        if info is None:
            st.caption("Predictions start with the first snapshot.")
        elif not run.config.more_tasks:
            _render_answers(run, info, playing)
    samples.render_samples(run, until=position)
    if info is not None:
        with show_errors():
            _render_map(run, info)


def _snapshot_at(run: Run, position: int) -> SnapshotInfo | None:
    """Return the newest snapshot at a step of the whole run; None before the first one."""
    snapshots = run.snapshots()
    taken = snapshot_positions(to_training_curve(run.history()), snapshots)
    count = bisect_right(taken, position)
    return snapshots[count - 1] if count else None


def _render_answers(run: Run, info: SnapshotInfo, playing: bool) -> None:
    at = info.stage, info.step
    text = run_page.sentence_input(run)
    if run.metric.kind != "text":
        try_prompt.prediction_panel(run, text, at, at)
    elif playing:
        st.caption("Pause the replay to have the backbone write with the prompt of that step.")
    else:
        try_prompt.generated_text_panel(run, text, at, None)


def _render_map(run: Run, info: SnapshotInfo) -> None:
    """Show the prompt tokens among the words; nothing for a method without vectors among them."""
    st.header("Prompt tokens among words")
    if not are_libraries_loaded():
        st.caption("The map appears once the libraries that compute it are loaded, some seconds after a start.")
        return
    if look_page.load_run_vocabulary(run) is None:
        st.caption("The worker is fetching the words of the backbone; this takes a few seconds the first time.")
        return
    from ptviz.plots.run_tensors import load_tensor_histories

    tensors = load_tensor_histories(run, stage=info.stage, step=info.step).values()
    part = next((one for one in tensors if one.axes in (("m", "d"), ("k", "m", "d"))), None)
    if part is None:
        st.caption("No tensor of this method lies among the word embeddings.")
        return
    leading = part.axes[:-2]
    render_plot(
        plot_embeddings,
        run,
        stage=info.stage,
        step=info.step,
        part=part.name,
        index=list_indices(part, leading)[0] if leading else None,
        words=MAP_WORDS,
        key=f"replay-map-{run.id}",
        caption=MAP_CAPTION,
        filename=f"{run.id}-map",
    )
