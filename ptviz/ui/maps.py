"""The map on the page of embeddings: PCA at once, UMAP and t-SNE from the worker, several prompts together."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

import numpy as np
import streamlit as st
from jaxtyping import Float, Int

from ptviz.analysis.laying import Order, Progress, drop, laid, progress
from ptviz.analysis.projection import KINDS, Kind, Map, project_together
from ptviz.figures.maps import Walker, draw_map, tell_map
from ptviz.figures.style import PROMPT, Mark, mark
from ptviz.runs.disk import StoreError
from ptviz.runs.mapping import folder_of
from ptviz.runs.prompts import kept, tensors
from ptviz.runs.vocabulary import Vocabulary
from ptviz.ui import inside
from ptviz.ui.brushing import pick
from ptviz.ui.inside import Moment, asked
from ptviz.ui.marks import mark_of, title_of
from ptviz.ui.panels import panel
from ptviz.ui.remembered import remembered
from ptviz.ui.services import lay_map, store
from ptviz.ui.wording import ALIVE
from ptviz.views import Track

_FITTED = 1500
"""Words that the axes of PCA are fitted on, however many are shown."""
_SPREAD: Mapping[Kind, int] = {"PCA": 40, "UMAP": 20, "t-SNE": 8}
"""Most steps of a prompt on a map; t-SNE must fit every one of them."""
_ALL = "all"
_HERE = Mark(PROMPT, "solid", "diamond")
_READ = (
    "How to read it: blue dots are words of the frozen backbone, each other colour a prompt at this step, thin lines "
    "the way its tokens came. "
)
_READ_KIND: Mapping[Kind, str] = {
    "PCA": f"The axes are fitted once for all steps, on the {_FITTED:,} most frequent words and the prompts, so motion "
    "on the map is motion. They hold only the share of the spread that they name: near on the map need not mean near.",
    "UMAP": "Fitted once on these words and the last step, by direction (cosine); every step was then placed into it, "
    "so motion means motion. Near means near; distances between far groups mean nothing. Rarer words are left out.",
    "t-SNE": "t-SNE cannot place new points, so these words and all steps drawn were fitted together, by direction "
    "(cosine): trails are true to each other. Sizes of groups and gaps between them mean nothing.",
}


@dataclass(frozen=True, eq=False)
class Guest:
    """One prompt to be laid on a map: its tokens (steps, m, d), the steps they belong to, the place shown."""

    name: str
    method: str
    task: str
    steps: tuple[int, ...]
    tokens: Float[np.ndarray, "steps m d"]
    at: int
    numbers: Sequence[int] = field(default=())


def show(
    found: Moment,
    part: str,
    place: Mapping[str, int],
    words: Vocabulary,
    rows: Int[np.ndarray, " n"],
    picked: frozenset[int],
) -> None:
    """The map of one part of a run, at one ``place`` of its leading axes: its tokens ``rows``, and other prompts."""
    first, second, third, fourth = st.columns([4, 2, 3, 3], vertical_alignment="bottom")
    kind: Kind = first.segmented_control("map", KINDS, default="PCA", key="map", bind="query-params") or "PCA"
    dims = second.segmented_control("axes", (2, 3), default=2, key="dims", bind="query-params") or 2
    ids = _words(third, words, kind)
    scaled = True
    if kind == "PCA":
        scaled = fourth.checkbox("directions only", key="unit", bind="query-params", help="every vector at length 1")
    guests = [_own(found, part, place, rows, _SPREAD[kind]), *_others(found, _SPREAD[kind])]
    key: Hashable = ("map", found.key, part, tuple(place.items()), rows.tobytes(), kind, dims, scaled, len(ids))
    key = (key, tuple((guest.name, guest.steps) for guest in guests[1:]))
    if kind == "PCA":
        maps = remembered(
            key,
            lambda: project_together(
                words.table[ids], [g.tokens for g in guests], "PCA", dims, normalise=scaled, fitted=_FITTED
            ),
        )
    else:
        guests, fitted = _ordered(found, kind, dims, words, ids, guests, key)
        if fitted is None:
            return
        maps = fitted
    labels = remembered(("labels", found.run.config.backbone, len(ids)), lambda: words.words(ids))
    marks = _marks(guests)
    walkers = [
        Walker(one, guest.at, guest.name, marks[i], guest.numbers, picked if i == 0 else ())
        for i, (guest, one) in enumerate(zip(guests, maps, strict=True))
    ]
    panel(draw_map(walkers, labels), tell_map(walkers), _READ + _READ_KIND[kind], key=f"map-{kind}-{dims}",
          name=f"{found.run.id}-map", on_pick=pick)  # fmt: skip


def alone(track: Track, key: Hashable, name: str, read: str, picked: frozenset[int]) -> None:
    """Vectors that have no words beside them, on a map of their own (PCA)."""
    tokens = np.stack(track.values)
    maps = remembered(("map", key), lambda: project_together(tokens[0, :0], [tokens]))
    walkers = [Walker(maps[0], track.at, picked=picked)]
    panel(draw_map(walkers, []), tell_map(walkers), read, key="map-alone", name=name, on_pick=pick)


def _words(where: st.delta_generator.DeltaGenerator, words: Vocabulary, kind: Kind) -> Int[np.ndarray, " n"]:
    """The words on the map: the most frequent ones first."""
    if kind != "PCA":
        count = where.selectbox("words", (1000, 3000, 5000), 1, key="fitted", bind="query-params")
        return words.common[:count]
    shown = where.selectbox("words", (500, 1500, 5000, _ALL), 1, key="words", bind="query-params")
    if shown != _ALL:
        return words.common[: int(shown)]
    rare = np.setdiff1d(np.arange(len(words.table)), words.common)
    return np.concatenate([words.common, rare])


def _own(found: Moment, part: str, place: Mapping[str, int], rows: Int[np.ndarray, " n"], spread: int) -> Guest:
    track = inside.tracks(found, spread)[part].slice(place)
    config = found.run.config
    tokens = np.stack(track.values)[:, rows]
    return Guest("this run", config.method, config.task, track.steps, tokens, track.at, rows.tolist())


def _others(found: Moment, spread: int) -> list[Guest]:
    """Other runs and kept prompts of the same backbone that the reader wants on the map."""
    config = found.run.config
    runs = {s.id: s for s in store().list() if s.config.backbone == config.backbone and s.id != found.run.id}
    saved = {f"kept:{p.id}": p for p in kept(store()) if p.backbone == config.backbone and "embeddings" in p.shapes}
    if not runs and not saved:
        return []
    names = {
        id: f"{s.name} ({title_of(s.config.method)}, {s.config.task}, seed {s.config.training.seed})"
        for id, s in runs.items()
    } | {id: f"kept: {prompt.title}" for id, prompt in saved.items()}
    st.session_state["beside"] = [id for id in st.session_state.get("beside", []) if id in names]
    chosen = st.multiselect(
        "other runs and kept prompts on this map", list(names), key="beside", format_func=names.__getitem__,
        placeholder="none", max_selections=8,
    )  # fmt: skip
    guests, without = [], []
    for id in chosen:
        if id in saved:
            tokens = tensors(store(), saved[id].id)["embeddings"].numpy()[None]
            guest = Guest(names[id], "", saved[id].task or "", (0,), tokens, 0)
        else:
            guest = _visitor(id, names[id], found, spread)
        if guest is not None and guest.tokens.shape[-1] == _width(found):
            guests.append(guest)
        else:
            without.append(names[id])
    for name in without:
        st.text(f"{name} has no vectors among the words, or no snapshot yet: it is not on the map.")
    return guests


def _width(found: Moment) -> int:
    words = inside.vocabulary_of(found.run)
    return 0 if words is None else words.table.shape[1]


def _visitor(id: str, name: str, found: Moment, spread: int) -> Guest | None:
    """Another run, at its last snapshot that is not beyond the step looked at."""
    run = store().get(id)
    at = inside.moment_near(run, found.positions[found.at])
    if at is None:
        return None
    fitting = (t for t in inside.tracks(at, spread).values() if t.axes in (("m", "d"), ("k", "m", "d")))
    track = next(fitting, None)
    if track is None:
        return None
    tokens = np.stack([value.reshape(-1, value.shape[-1]) for value in track.values])
    return Guest(name, run.config.method, run.config.task, track.steps, tokens, track.at)


def _marks(guests: Sequence[Guest]) -> list[Mark]:
    if len(guests) == 1:
        return [_HERE]
    by = st.segmented_control("colours by", ("run", "method", "task"), default="run", key="colours") or "run"
    if by == "run":
        return [_HERE, *(mark(i) for i in range(1, len(guests)))]
    if by == "method":
        return [mark_of(guest.method) for guest in guests]
    tasks = sorted({guest.task for guest in guests})
    return [mark(tasks.index(guest.task)) for guest in guests]


def _ordered(
    found: Moment,
    kind: Kind,
    dims: int,
    words: Vocabulary,
    ids: Int[np.ndarray, " n"],
    guests: list[Guest],
    key: Hashable,
) -> tuple[list[Guest], tuple[Map, ...] | None]:
    """The map from the disk or the worker, and what is on it; None while it is being made."""
    alive = found.run.status().state in ALIVE
    made: dict[Hashable, tuple[Order, list[Guest]]] = st.session_state.setdefault("maps-made", {})
    name = (found.run.id, kind, dims, len(ids), tuple(guest.name for guest in guests))
    if name not in made or not alive or _again(made[name][1], guests):

        def order() -> Order:
            return Order(words.table[ids], tuple(guest.tokens for guest in guests), kind, dims)

        made.pop(name, None)
        made[name] = remembered(("order", key), order), guests
        for old in [*made][:-8]:
            del made[old]
    order, before = made[name]
    # What is on the map stays while newer steps come; the cursor goes as far as the map does.
    before = [replace(old, at=min(new.at, len(old.steps) - 1)) for old, new in zip(before, guests, strict=True)]
    return before, _awaited(found, order)


def _again(before: Sequence[Guest], guests: Sequence[Guest]) -> bool:
    """A run under way has new steps every few seconds: they are laid out when the reader asks for it."""
    last, newest = before[0].steps[-1], guests[0].steps[-1]
    if len(before[0].tokens[0]) != len(guests[0].tokens[0]):
        return True
    if newest == last:
        return False
    st.caption(f"This map ends at step {last}; the run has come to step {newest}.")
    return st.button("Lay it out again", icon=":material/refresh:", key="map-again")


def _awaited(found: Moment, order: Order) -> tuple[Map, ...] | None:
    """The map of an order, asked for once; how far it is, until it is there."""
    folder = folder_of(order.name)
    if (maps := laid(folder)) is not None:
        return maps
    key = ("map", order.name)
    if st.session_state.get("map-off") == order.name:
        st.caption("This map was cancelled.")
        if st.button("Lay it out", icon=":material/play_arrow:", key="map-on"):
            st.session_state.pop("map-off")
            st.rerun()
        return None
    try:
        asked(key, lambda: lay_map(found.run.id, order))
    except (StoreError, OSError) as error:
        st.text(f"The map could not be made: {error}")
        if st.button("Try again", icon=":material/refresh:", key="map-retry"):
            inside.forget(key)
            st.rerun()
        return None
    _waits(progress(folder))
    if st.button("Cancel", icon=":material/close:", key="map-cancel"):
        with suppress(OSError):
            drop(folder)
        st.session_state["map-off"] = order.name
        inside.forget(key)
        st.rerun()
    return None


def _waits(far: Progress) -> None:
    st.progress(far.share, text=f"The worker makes this map: {far.doing} ({far.share:.0%})")
    st.caption(
        "The first map takes one to four minutes, since UMAP prepares itself; the next ones are quicker, and this one "
        "is kept. Training goes on meanwhile, and so can you: leave the page or choose PCA."
    )
