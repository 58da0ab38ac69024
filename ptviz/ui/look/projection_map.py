"""The map on the page of embeddings: PCA at once, UMAP and t-SNE from the worker, several prompts together."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import streamlit as st
from jaxtyping import Float, Int

from ptviz.analysis.projection import KINDS, Kind, Map, project_together
from ptviz.figures.projection import Walker, draw_map, tell_map
from ptviz.figures.style import FROZEN, PROMPT, Mark, mark, variant
from ptviz.plots.material import rows_of
from ptviz.plots.method_style import mark_of, title_of
from ptviz.plots.views import Track, places
from ptviz.runs import Run
from ptviz.runs.embedding_table import Vocabulary
from ptviz.runs.saved_prompts import KeptPrompt, kept, tensors
from ptviz.ui import scripts
from ptviz.ui.backend import store
from ptviz.ui.cache import remembered
from ptviz.ui.components.figure_panel import panel
from ptviz.ui.components.formatting import ALIVE, told_apart
from ptviz.ui.components.linked_selection import pick
from ptviz.ui.look import inspect_run
from ptviz.ui.look.inspect_run import Moment
from ptviz.ui.look.projection_progress import awaited
from ptviz.worker.projection_process import Order

_FITTED = 1500
"""Words that the axes of PCA are fitted on, however many are shown."""
_SPREAD: Mapping[Kind, int] = {"PCA": 40, "UMAP": 20, "t-SNE": 8}
"""Most steps of a prompt on a map; t-SNE must fit every one of them."""
_ALL = "all"
_GUESTS = 8
HERE = Mark(PROMPT, "solid", "diamond")
"""The mark of the run that the page is about."""
_OTHERS = tuple(found for found in map(mark, range(2, 30)) if found.colour not in (FROZEN, PROMPT))[:_GUESTS]
"""Marks of what is beside it: blue is for words."""
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
    """One prompt to be laid on a map: its tokens (steps, m, d), the steps they belong to, the place shown.

    ``script`` is the Python that finds its tokens again.
    """

    name: str
    method: str
    task: str
    steps: tuple[int, ...]
    tokens: Float[np.ndarray, "steps m d"]
    at: int
    script: str


def show(
    found: Moment,
    part: Track,
    place: Mapping[str, int],
    words: Vocabulary,
    rows: Sequence[int],
    picked: frozenset[int],
) -> None:
    """The map of one part of a run at one ``place`` of its leading axes: its tokens ``rows``, and other prompts."""
    scaled = False
    with st.container(horizontal=True, vertical_alignment="bottom"):  # which wraps where there is little room
        kind: Kind = st.segmented_control("map", KINDS, default="PCA", key="map", bind="query-params") or "PCA"
        dims = st.segmented_control("axes", (2, 3), default=2, key="dims", bind="query-params") or 2
        ids, told = _words(words, kind)
        if kind == "PCA":
            scaled = _directions()
    own = _own(found, part, place, _SPREAD[kind])
    guests = [own, *_others(found, part, place, _SPREAD[kind])]
    key: Hashable = ("map", found.key, part.name, tuple(place.items()), kind, dims, scaled, len(ids))
    key = (key, tuple((guest.script, guest.steps) for guest in guests[1:]))
    if kind == "PCA":
        # A row that ran away would rule the axes: they are fitted without what is left out.
        seen = [own.tokens[:, rows], *(guest.tokens for guest in guests[1:])]
        maps = remembered(
            (key, tuple(rows)),
            lambda: project_together(words.table[ids], seen, "PCA", dims, normalise=scaled, fitted=_FITTED),
        )
    else:
        # Minutes of work, to which single rows make little difference: they are laid with all rows, and not drawn.
        about = part.name, tuple(place.items())
        guests, fitted = _ordered(found, kind, dims, words, ids, guests, about, key)
        if fitted is None:
            return
        maps = (replace(fitted[0], tokens=fitted[0].tokens[:, rows]), *fitted[1:])
    labels = remembered(("labels", found.run.config.backbone, len(ids)), lambda: words.words(ids))
    marks = _marks(guests)
    walkers = [
        Walker(one, guest.at, guest.name, marks[i], *((tuple(rows), tuple(sorted(picked))) if i == 0 else ()))
        for i, (guest, one) in enumerate(zip(guests, maps, strict=True))
    ]
    panel(draw_map(walkers, labels), tell_map(walkers), _READ + _READ_KIND[kind], key=f"map-{kind}-{dims}",
          name=f"{found.run.id}-map", on_pick=pick,
          python=_script(found.run, kind, dims, scaled, told, guests, walkers))  # fmt: skip


def alone(found: Moment, track: Track, rows: Sequence[int], picked: frozenset[int], title: str, read: str) -> None:
    """Vectors that have no words beside them, on a map of their own (PCA): the tokens ``rows`` of a part."""
    shown = np.stack(track.values)
    key = ("map", found.key, track.name, tuple(rows))
    maps = remembered(key, lambda: project_together(shown[0, :0], [shown]))
    walkers = [Walker(maps[0], track.at, mark=HERE, numbers=tuple(rows), picked=tuple(sorted(picked)))]
    python = scripts.part(
        found.run, track, "maps", "draw_map([walker], [])", "map", "import numpy as np",
        "from ptviz.analysis.projection import project", "from ptviz.figures.projection import Walker",
        "from ptviz.figures.style import Mark", "shown = np.stack(track.values)",
        f"walker = {_walker('project(shown[0, :0], shown)', walkers[0])}", rows=rows,
    )  # fmt: skip
    panel(draw_map(walkers, []), tell_map(walkers), read, key="map-alone", name=f"{found.run.id}-map", title=title,
          on_pick=pick, python=python)  # fmt: skip


def still(kept: KeptPrompt, track: Track, words: Vocabulary, rows: Sequence[int], picked: frozenset[int]) -> None:
    """The map (PCA) of a prompt that has no steps: the tokens ``rows`` of its part."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        dims = st.segmented_control("axes", (2, 3), default=2, key="dims", bind="query-params") or 2
        ids, told = _words(words, "PCA")
        scaled = _directions()
    shown = np.stack(track.values)
    key = ("map", kept.id, kept.made, tuple(rows), dims, len(ids), scaled)
    laid = remembered(
        key, lambda: project_together(words.table[ids], [shown], "PCA", dims, normalise=scaled, fitted=_FITTED)[0]
    )
    labels = remembered(("labels", kept.backbone, len(ids)), lambda: words.words(ids))
    walker = Walker(laid, 0, "this prompt", HERE, tuple(rows), tuple(sorted(picked)))
    python = scripts.still(
        kept.id, kept.backbone, rows, "maps", "draw_map([walker], words.words(ids))", "map", "import numpy as np",
        "from ptviz.analysis.projection import project_together", "from ptviz.figures.projection import Walker",
        "from ptviz.figures.style import Mark", f"ids = {told}",
        f"maps = project_together(words.table[ids], [tokens[None]], 'PCA', {dims}, normalise={scaled}, "
        f"fitted={_FITTED})",
        f"walker = {_walker('maps[0]', walker)}",
    )  # fmt: skip
    panel(draw_map([walker], labels), tell_map([walker]), _READ + _READ_KIND["PCA"], key=f"map-{dims}",
          name=f"{kept.id}-map", on_pick=pick, python=python)  # fmt: skip


def _walker(laid: str, walker: Walker) -> str:
    """The Python of a walker on a map."""
    told = f"Walker({laid}, {walker.at}, {walker.name!r}, {walker.mark!r}"
    return told + (f", {walker.numbers!r}, {walker.picked!r})" if walker.numbers else ")")


def _script(
    run: Run, kind: Kind, dims: int, scaled: bool, ids: str, guests: Sequence[Guest], walkers: Sequence[Walker]
) -> str:
    """The Python that lays the same prompts on the same map."""
    rows = list(walkers[0].numbers)
    tokens = [guest.script for guest in guests]
    tokens[0] += f"[:, {rows}]" if kind == "PCA" else ""
    how = f", normalise={scaled}, fitted={_FITTED}" if kind == "PCA" else ""
    cut = [] if kind == "PCA" else [
        "from dataclasses import replace", f"maps = (replace(maps[0], tokens=maps[0].tokens[:, {rows}]), *maps[1:])",
    ]  # fmt: skip
    told = ",\n    ".join(_walker(f"maps[{i}]", walker) for i, walker in enumerate(walkers))
    lines = [
        "from ptviz.runs import Store", "store = Store()", f"run = store.get({run.id!r})", *scripts.WORDS,
        "import numpy as np", "from ptviz.analysis.projection import project_together",
        "from ptviz.figures.projection import Walker", "from ptviz.figures.style import Mark",
        "from ptviz.plots.material import tokens_of", "from ptviz.runs.saved_prompts import tensors", f"ids = {ids}",
        "prompts = [\n    " + ",\n    ".join(tokens) + ",\n]",
        f"maps = project_together(words.table[ids], prompts, {kind!r}, {dims}{how})", *cut,
        f"walkers = [\n    {told},\n]",
    ]  # fmt: skip
    return scripts.script("maps", lines, "draw_map(walkers, words.words(ids))", f"{run.id}-map")


def _directions() -> bool:
    return st.checkbox("directions only", key="unit", bind="query-params", help="every vector at length 1")


def _words(words: Vocabulary, kind: Kind) -> tuple[Int[np.ndarray, " n"], str]:
    """The words on the map, the most frequent ones first, and the Python that finds them."""
    counts: tuple[int | str, ...] = (500, 1500, 5000, _ALL) if kind == "PCA" else (1000, 3000, 5000)
    key = "words" if kind == "PCA" else "fitted"
    shown = st.selectbox("words", counts, 1, key=key, bind="query-params", width=110)
    if isinstance(shown, int):
        return words.common[:shown], f"words.common[:{shown}]"
    rare = np.setdiff1d(np.arange(len(words.table)), words.common)
    told = "np.concatenate([words.common, np.setdiff1d(np.arange(len(words.table)), words.common)])"
    return np.concatenate([words.common, rare]), told


def _own(found: Moment, part: Track, place: Mapping[str, int], spread: int) -> Guest:
    track, config = inspect_run.tracks(found, spread).get(part.name, part), found.run.config
    # The step before, which the map would show, may belong to a stage where the part looks otherwise.
    track = (track if track.now.shape == part.now.shape else part).slice(place)
    script = f"tokens_of(run, {part.name!r}, {track.steps!r}{f', {dict(place)!r}' if place else ''})"
    return Guest("this run", config.method, config.task, track.steps, np.stack(track.values), track.at, script)


def _others(found: Moment, part: Track, place: Mapping[str, int], spread: int) -> list[Guest]:
    """Other experts of this run, other runs and kept prompts of the same backbone that the reader wants on the map."""
    config = found.run.config
    siblings = {f"here:{i}": other for i, other in enumerate(places(part, tuple(place))) if other != dict(place)}
    runs = {s.id: s for s in store().list() if s.config.backbone == config.backbone and s.id != found.run.id}
    saved = {f"kept:{p.id}": p for p in kept(store()) if p.backbone == config.backbone and "embeddings" in p.shapes}
    names = {
        **{id: f"expert {', '.join(map(str, other.values()))} of this run" for id, other in siblings.items()},
        **{id: f"{s.name} ({title_of(s.config.method)}, {s.config.task}, seed {s.config.training.seed})"
           for id, s in runs.items()},
        **{id: f"kept: {prompt.title}" for id, prompt in saved.items()},
    }  # fmt: skip
    if not names:
        return []
    names = told_apart(names)
    st.session_state["beside"] = [id for id in st.session_state.get("beside", []) if id in names]
    chosen = st.multiselect(
        "other prompts on this map", list(names), key="beside", format_func=names.__getitem__,
        placeholder="none; choose runs or kept prompts", max_selections=_GUESTS,
    )  # fmt: skip
    guests, without = [], []
    for id in chosen:
        guest: Guest | None
        if id in siblings:
            guest = replace(_own(found, part, siblings[id], spread), name=names[id])
        elif id in saved:
            script = f'tensors(store, {saved[id].id!r})["embeddings"].numpy()[None]'
            tokens = tensors(store(), saved[id].id)["embeddings"].numpy()[None]
            guest = Guest(names[id], "", saved[id].task or "", (0,), tokens, 0, script)
        else:
            guest = _visitor(id, names[id], found, spread)
        if guest is not None and guest.tokens.shape[-1] == part.now.shape[-1]:
            guests.append(guest)
        else:
            without.append(names[id])
    for name in without:
        st.text(f"{name} has no vectors among the words, or no snapshot yet: it is not on the map.")
    return guests


def _visitor(id: str, name: str, found: Moment, spread: int) -> Guest | None:
    """Another run, at its last snapshot that is not beyond the step looked at."""
    run = store().get(id)
    at = inspect_run.moment_near(run, found.positions[found.at])
    if at is None:
        return None
    fitting = (t for t in inspect_run.tracks(at, spread).values() if t.axes in (("m", "d"), ("k", "m", "d")))
    track = next(fitting, None)
    if track is None:
        return None
    script = f"tokens_of(store.get({id!r}), {track.name!r}, {track.steps!r})"
    tokens, config = rows_of(track), run.config
    return Guest(name, config.method, config.task, track.steps, tokens, track.at, script)


def _marks(guests: Sequence[Guest]) -> list[Mark]:
    """A mark a prompt; those that share a colour differ in their symbols."""
    if len(guests) == 1:
        return [HERE]
    by = st.segmented_control("colours by", ("run", "method", "task"), default="run", key="colours") or "run"
    if by == "run":
        return [HERE, *_OTHERS[: len(guests) - 1]]
    if by == "method":
        of, marks = [guest.method for guest in guests], [mark_of(guest.method) for guest in guests]
    else:
        of = [guest.task for guest in guests]
        marks = [(HERE, *_OTHERS)[list(dict.fromkeys(of)).index(task)] for task in of]
    return [variant(one, of[:i].count(of[i])) for i, one in enumerate(marks)]


def _ordered(
    found: Moment,
    kind: Kind,
    dims: int,
    words: Vocabulary,
    ids: Int[np.ndarray, " n"],
    guests: list[Guest],
    about: Hashable,
    key: Hashable,
) -> tuple[list[Guest], tuple[Map, ...] | None]:
    """The map from the disk or the worker, and what is on it; None while it is being made."""
    alive = found.run.status().state in ALIVE
    made: dict[Hashable, tuple[Order, list[Guest]]] = st.session_state.setdefault("maps-made", {})
    name = (found.run.id, about, kind, dims, len(ids), tuple(guest.name for guest in guests))
    if name not in made or not alive or _again(made[name][1], guests):

        def draw_up() -> Order:
            return Order(words.table[ids], tuple(guest.tokens for guest in guests), kind, dims)

        made.pop(name, None)
        made[name] = remembered(("order", key), draw_up), guests
        for old in [*made][:-8]:
            del made[old]
    order, before = made[name]
    # What is on the map stays while newer steps come; the cursor goes as far as the map does.
    before = [replace(old, at=min(new.at, len(old.steps) - 1)) for old, new in zip(before, guests, strict=True)]
    return before, awaited(found, order)


def _again(before: Sequence[Guest], guests: Sequence[Guest]) -> bool:
    """A run under way has new steps every few seconds: they are laid out when the reader asks for it."""
    last, newest = before[0].steps[-1], guests[0].steps[-1]
    if len(before[0].tokens[0]) != len(guests[0].tokens[0]):
        return True
    if newest == last:
        return False
    st.caption(f"This map ends at step {last}; the run has come to step {newest}.")
    return st.button("Lay it out again", icon=":material/refresh:", key="map-again")
