"""Prompts of finished runs side by side: their similarity, their measured transfer, and how the two go together."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import streamlit as st

from ptviz.analysis.geometry import outliers
from ptviz.analysis.similarity import METRICS, Metric, Similarity, similarity
from ptviz.analysis.transfer import Relation, Tree, clustered, relation
from ptviz.figures import transfer as drawn
from ptviz.runs import StoreError, Summary
from ptviz.runs import transfer as record
from ptviz.runs.parts import Sizes, sizes_of
from ptviz.ui import inside
from ptviz.ui.failures import explained
from ptviz.ui.forms import pick
from ptviz.ui.marks import title_of
from ptviz.ui.panels import panel
from ptviz.ui.remembered import remembered
from ptviz.ui.services import store
from ptviz.ui.starting import COMPOSE, start_button
from ptviz.ui.watching import TICK

LESSON = (
    "A prompt was trained for one task. Does it help on another, and can you tell beforehand, from the vectors alone? "
    "**Try:** change the measure, and see which correlations hold."
)
_READ_SIMILARITY = (
    "How to read it: one row and column a prompt, orange is alike; the brackets on top join prompts that are alike, "
    "the lower the more. Prompts of one task that do not meet low down: the measure does not see the task."
)
_READ_GRID = (
    "How to read it: one column a prompt, one row a task it is tried on, as it is. Brackets: the prompt's own task. A "
    "transfer is good where a cell beats the column *no prompt*."
)
_READ_RELATION = (
    "How to read it: one point a prompt on a task that is not its own. If similarity told transfer, the points of "
    "each colour would rise to the right."
)
_READ_ESTIMATES = (
    "How to read it: how well each measure foretells transfer: +1 always, 0 not at all. A bar that crosses 0 leaves "
    "open whether it does; bars come from drawing source prompts again and again."
)
_AT_FIRST = 12
_KEY = "runs"
GAIN, ACCURACY = "gain over no prompt", "accuracy"


@dataclass(frozen=True, eq=False)
class Chosen:
    """Runs of one backbone under their names, and the prompts of those that have one of vectors."""

    backbone: str
    runs: tuple[Summary, ...]
    names: tuple[str, ...]
    prompts: dict[str, np.ndarray]
    key: Hashable

    @property
    def compared(self) -> list[int]:
        """Places of the runs whose prompts can be compared: vectors in front of the input, all of one width."""
        return [place for place, run in enumerate(self.runs) if run.id in self.prompts]


def choose() -> Chosen | None:
    """The backbone and the runs; None, and what to do next, where there is nothing to compare."""
    found = record.candidates(store())
    if not found:
        st.markdown("No finished run yet. Press Start for a good first one; train it on a second task, then come back.")
        with st.container(horizontal=True, vertical_alignment="center"):
            start_button()
            st.page_link(COMPOSE, label="Choose backbone, task and method", icon=":material/tune:")
        return None
    counts = Counter(run.config.backbone for run in found)
    titles = {name: f"{name} ({count} finished runs)" for name, count in counts.most_common()}
    backbone = pick("Backbone", titles, key="backbone", help="only prompts of one backbone can be compared")
    own = [run for run in found if run.config.backbone == backbone]
    names = dict(zip([run.id for run in own], _names(own), strict=True))
    ids = _ids([run.id for run in own], names)
    runs = tuple(run for run in reversed(own) if run.id in ids)
    if not runs:
        st.caption("Choose at least two runs.")
        return None
    sizes = _sizes(runs[0])
    if sizes is None:
        st.caption("The worker is reading the sizes of the backbone; come back in a few seconds.")
    prompts, stamps = {}, []
    for run in runs:
        path = store().get(run.id).path / "prompt.safetensors"
        stamps.append((run.id, path.stat().st_mtime_ns if path.exists() else 0))
        prompt = None if sizes is None else _prompt(run, sizes, (str(path), stamps[-1]))
        if prompt is not None:
            prompts[run.id] = prompt
    return Chosen(backbone, runs, tuple(names[run.id] for run in runs), prompts, (str(store().root), *stamps))


def _prompt(run: Summary, sizes: Sizes, key: Hashable) -> np.ndarray | None:
    def read() -> np.ndarray | None:
        try:
            return record.input_prompt(store().get(run.id), sizes)
        except StoreError:
            return None  # Named on the page among those that cannot be compared.

    return remembered(("input-prompt", key), read)


def _sizes(run: Summary) -> Sizes | None:
    known = sizes_of(run.config.backbone)
    if known is None and (words := inside.vocabulary_of(store().get(run.id))) is not None:
        known = words.sizes
    return known


def _names(runs: Sequence[Summary]) -> list[str]:
    """The shortest names that tell the runs apart: the task, and method, seed and id only where they are needed."""
    tasks = [_task(run.config.task) for run in runs]
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


def _task(name: str) -> str:
    return Path(name).stem if Path(name).suffix else name.removeprefix("hub:")


def _ids(ids: list[str], names: dict[str, str]) -> list[str]:
    """The runs chosen; the address keeps their ids once they are not the newest few."""
    if not set(st.session_state.get(_KEY, ids[:1])) <= set(ids):
        del st.session_state[_KEY]  # another backbone was chosen, or a run deleted
    if _KEY not in st.session_state:
        asked = [id for id in str(st.query_params.get(_KEY, "")).split(",") if id in names]
        st.session_state[_KEY] = asked or ids[:_AT_FIRST]

    def keep() -> None:
        st.query_params[_KEY] = ",".join(st.session_state[_KEY])

    def take_all() -> None:
        st.session_state[_KEY] = ids
        keep()

    with st.container(horizontal=True, vertical_alignment="bottom"):
        chosen: list[str] = st.multiselect(
            "Prompts", ids, key=_KEY, format_func=lambda i: names.get(i, i), on_change=keep
        )
        if len(ids) > _AT_FIRST:
            st.button("All", key="all-runs", on_click=take_all, help=f"all {len(ids)} finished runs of this backbone")
    return chosen


def alike(chosen: Chosen) -> None:
    """The similarity of every pair of prompts, clustered."""
    st.subheader("How alike the prompts are")
    places = chosen.compared
    left_out = [name for place, name in enumerate(chosen.names) if place not in places]
    if len(places) < 2:
        st.caption(
            "Fewer than two of the chosen runs hold one prompt of vectors in front of the input. Choose more, or train "
            "prompt tuning on another task."
        )
        return
    names = [chosen.names[place] for place in places]
    metric, centred, without = _settings()
    found, tree = _compared(chosen, metric, centred, without)
    alt = drawn.tell_similarity(found.values, names, tree, metric)
    panel(drawn.draw_similarity(found.values, names, tree, metric), alt, _READ_SIMILARITY, key="similarity",
          name=f"similarity-{metric.replace(' ', '-')}")  # fmt: skip
    if found.rows is not None:
        st.caption(
            f"Prompts differ in length: this measure compares the first {found.rows} tokens of each pair or more."
        )
    odd = [
        (name, np.flatnonzero(outliers(chosen.prompts[chosen.runs[p].id])).tolist())
        for name, p in zip(names, places, strict=True)
    ]
    told = [f"{name}: token {', '.join(map(str, rows))}" for name, rows in odd if rows]
    if told:
        with st.container(border=True):
            st.text("Tokens whose norm is above three times the median of their prompt; they may outweigh all others. "
                    + ("Left out here. " if without else "") + "; ".join(told) + ".")  # fmt: skip
    if left_out:
        st.text(
            f"Not compared, because no single prompt of vectors stands in front of the input: {', '.join(left_out)}."
        )


def _settings() -> tuple[Metric, bool, bool]:
    metric: Metric = (
        st.segmented_control("measure", METRICS, default=METRICS[0], key="metric", bind="query-params") or METRICS[0]
    )
    with st.container(horizontal=True):
        centred = st.checkbox("subtract the mean of all prompts", key="centred", bind="query-params",
                              help="prompts of one backbone share a direction that hides how they differ")  # fmt: skip
        without = st.checkbox("leave out tokens that ran away", key="without", bind="query-params",
                              help="tokens whose norm is above three times the median of their prompt")  # fmt: skip
    return metric, centred, without


def _compared(chosen: Chosen, metric: Metric, centred: bool, without: bool) -> tuple[Similarity, Tree]:
    prompts = [chosen.prompts[chosen.runs[place].id] for place in chosen.compared]

    def make() -> tuple[Similarity, Tree]:
        ignored = [outliers(prompt) for prompt in prompts] if without else None
        found = similarity(prompts, metric, leave_out=ignored, centred=centred)
        return found, clustered(found.values)

    return remembered(("similarity", chosen.key, metric, centred, without), make)


def measured(chosen: Chosen) -> None:
    """The grid as far as it was measured, the command that fills it, and what it says about similarity."""
    tasks = record.targets(chosen.runs)
    lacking = record.missing(store(), chosen.runs, tasks)
    # Another process fills the grid: while cells lack, look again now and then.
    st.fragment(_measured, run_every=2 * TICK if lacking else None)(chosen, tasks)


def _measured(chosen: Chosen, tasks: tuple[record.Target, ...]) -> None:
    with explained():
        cells = record.known(store(), chosen.runs, tasks)
        ids = [record.bare(chosen.backbone), *(run.id for run in chosen.runs)]
        found = {key[:2]: cell.accuracy for key, cell in cells.items()}
        grid = np.array([[found.get((id, task.name), np.nan) for id in ids] for task in tasks], dtype=np.float64)
        _todo(chosen, int(np.isnan(grid).sum()), grid.size)
        titles, columns = [_task(task.name) for task in tasks], ["no prompt", *chosen.names]
        own = [[False, *(run.config.task == task.name for run in chosen.runs)] for task in tasks]
        if np.isfinite(grid).any():
            panel(drawn.draw_grid(grid, titles, columns, own), drawn.tell_grid(grid, titles, columns), _READ_GRID,
                  key="grid", name="measured-transfer")  # fmt: skip
            _related(chosen, tasks, grid)


def _todo(chosen: Chosen, lacking: int, size: int) -> None:
    if not lacking:
        st.caption(f"All {size} cells are measured, each on up to {record.ROWS} validation rows.")
        return
    every = {run.id for run in record.candidates(store(), chosen.backbone)} == {run.id for run in chosen.runs}
    ids = [] if every else ["--runs", ",".join(run.id for run in chosen.runs)]
    if record.filling(store()):
        st.progress(1 - lacking / size, text=f"{size - lacking} of {size} cells are measured; the rest is under way.")
        return
    st.caption(
        f"{size - lacking} of {size} cells are measured. This command in a terminal measures the rest, each cell once, "
        "on the validation rows; the grid here fills as it goes, and it may be stopped and started again."
    )
    st.code(shlex.join(["ptviz", "transfer", "--backbone", chosen.backbone, *ids]), language="shell")


def _related(chosen: Chosen, tasks: tuple[record.Target, ...], grid: np.ndarray) -> None:
    st.subheader("Does similarity foretell transfer?")
    places = chosen.compared
    if len({chosen.runs[place].config.task for place in places}) < 2:
        st.caption("Choose prompts of at least two tasks: a prompt on its own task is no transfer.")
        return
    metric: Metric = st.session_state.get("metric") or METRICS[0]
    centred, without = bool(st.session_state.get("centred")), bool(st.session_state.get("without"))
    kind = st.segmented_control("against", (GAIN, ACCURACY), default=GAIN, key="against", bind="query-params") or GAIN
    values = grid[:, 1:][:, places] - (grid[:, :1] if kind == GAIN else 0)
    trained_on, targets = [chosen.runs[place].config.task for place in places], [task.name for task in tasks]
    names, titles = [chosen.names[place] for place in places], [_task(task.name) for task in tasks]

    def every() -> dict[str, Relation]:
        return {
            one: relation(_compared(chosen, one, centred, without)[0].values, trained_on, values, targets)
            for one in METRICS
        }

    found = remembered(("relations", chosen.key, centred, without, kind, values.tobytes()), every)
    left, right = st.columns(2, gap="medium")
    with left:
        alt = drawn.tell_relation(found[metric], metric)
        panel(drawn.draw_relation(found[metric], titles, names, metric, kind), alt, _READ_RELATION, key="relation",
              name="similarity-and-transfer", title=f"By {metric}")  # fmt: skip
    with right:
        panel(drawn.draw_estimates(found), drawn.tell_estimates(found), _READ_ESTIMATES, key="estimates",
              name="correlations", title="By every measure")  # fmt: skip
    st.caption(
        f"{len(found[metric].similarity)} points, own tasks left out. Accuracies of different tasks are on different "
        "levels, so the gain is the fairer axis. Few prompts make wide bars: this is evidence, not proof."
    )
