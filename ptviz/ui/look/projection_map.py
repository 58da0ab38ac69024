"""The map on the page of embeddings: PCA at once, UMAP and t-SNE from the worker, several prompts together."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import streamlit as st
from jaxtyping import Float, Int

from ptviz.analysis.projection import PROJECTION_METHODS, Projection, ProjectionMethod, project_together
from ptviz.figures.projection import Trajectory, describe_projection, draw_projection
from ptviz.figures.style import FROZEN, PROMPT, SeriesStyle, series_style, style_variant
from ptviz.plots.cache import cached_by_signature
from ptviz.plots.method_style import method_series_style, method_title
from ptviz.plots.run_tensors import stack_vectors
from ptviz.plots.views import TensorHistory, list_indices
from ptviz.runs import Run
from ptviz.runs.embedding_table import Vocabulary
from ptviz.runs.saved_prompts import SavedPrompt, list_saved_prompts, load_prompt_tensors
from ptviz.ui import scripts
from ptviz.ui.backend import get_store
from ptviz.ui.components.figure_panel import figure_panel
from ptviz.ui.components.formatting import ACTIVE_STATES, unique_labels
from ptviz.ui.components.linked_selection import update_highlight
from ptviz.ui.look import inspect_run
from ptviz.ui.look.inspect_run import SnapshotSelection
from ptviz.ui.look.projection_progress import projection_with_progress
from ptviz.worker.projection_process import ProjectionJob

_PCA_TOKENS = 1500
"""Words that the axes of PCA are fitted on, however many are shown."""
_MAX_SNAPSHOTS: Mapping[ProjectionMethod, int] = {"PCA": 40, "UMAP": 20, "t-SNE": 8}
"""Most steps of a prompt on a map; t-SNE must fit every one of them."""
_ALL_WORDS = "all"
_MAX_COMPARED = 8
RUN_STYLE = SeriesStyle(PROMPT, "solid", "diamond")
"""The mark of the run that the page is about."""
_OTHER_STYLES = tuple(found for found in map(series_style, range(2, 30)) if found.colour not in (FROZEN, PROMPT))[
    :_MAX_COMPARED
]
"""Marks of what is beside it: blue is for words."""
_CAPTION = (
    "How to read it: blue dots are words of the frozen backbone, each other colour a prompt at this step, thin lines "
    "the way its tokens came. "
)
_METHOD_CAPTIONS: Mapping[ProjectionMethod, str] = {
    "PCA": f"The axes are fitted once for all steps, on the {_PCA_TOKENS:,} most frequent words and the prompts, so motion "
    "on the map is motion. They hold only the share of the spread that they name: near on the map need not mean near.",
    "UMAP": "Fitted once on these words and the last step, by direction (cosine); every step was then placed into it, "
    "so motion means motion. Near means near; distances between far groups mean nothing. Rarer words are left out.",
    "t-SNE": "t-SNE cannot place new points, so these words and all steps drawn were fitted together, by direction "
    "(cosine): trails are true to each other. Sizes of groups and gaps between them mean nothing.",
}


@dataclass(frozen=True, eq=False)
class ComparedPrompt:
    """One prompt to be laid on a map: its tokens (steps, m, d), the steps they belong to, the place shown.

    ``script`` is the Python that finds its tokens again.
    """

    name: str
    method: str
    task: str
    steps: tuple[int, ...]
    tokens: Float[np.ndarray, "steps m d"]
    index: int
    python_code: str


def render_projection(
    found: SnapshotSelection,
    part: TensorHistory,
    place: Mapping[str, int],
    words: Vocabulary,
    rows: Sequence[int],
    picked: frozenset[int],
) -> None:
    """The map of one part of a run at one ``place`` of its leading axes: its tokens ``rows``, and other prompts."""
    scaled = False
    with st.container(horizontal=True, vertical_alignment="bottom"):  # which wraps where there is little room
        kind: ProjectionMethod = (
            st.segmented_control("map", PROJECTION_METHODS, default="PCA", key="map", bind="query-params") or "PCA"
        )
        dims = st.segmented_control("axes", (2, 3), default=2, key="dims", bind="query-params") or 2
        ids, told = _select_words(words, kind)
        if kind == "PCA":
            scaled = _directions_checkbox()
    own = _run_prompt(found, part, place, _MAX_SNAPSHOTS[kind])
    guests = [own, *_select_other_prompts(found, part, place, _MAX_SNAPSHOTS[kind])]
    key: Hashable = ("map", found.cache_key, part.name, tuple(place.items()), kind, dims, scaled, len(ids))
    key = (key, tuple((guest.python_code, guest.steps) for guest in guests[1:]))
    if kind == "PCA":
        # A row that ran away would rule the axes: they are fitted without what is left out.
        seen = [own.tokens[:, rows], *(guest.tokens for guest in guests[1:])]
        maps = cached_by_signature(
            (key, tuple(rows)),
            lambda: project_together(words.table[ids], seen, "PCA", dims, normalise=scaled, fitted=_PCA_TOKENS),
        )
    else:
        # Minutes of work, to which single rows make little difference: they are laid with all rows, and not drawn.
        about = part.name, tuple(place.items())
        guests, fitted = _projection_from_worker(found, kind, dims, words, ids, guests, about, key)
        if fitted is None:
            return
        maps = (replace(fitted[0], tokens=fitted[0].tokens[:, rows]), *fitted[1:])
    labels = cached_by_signature(("labels", found.run.config.backbone, len(ids)), lambda: words.words(ids))
    marks = _prompt_styles(guests)
    walkers = [
        Trajectory(one, guest.index, guest.name, marks[i], *((tuple(rows), tuple(sorted(picked))) if i == 0 else ()))
        for i, (guest, one) in enumerate(zip(guests, maps, strict=True))
    ]
    figure_panel(draw_projection(walkers, labels), describe_projection(walkers), _CAPTION + _METHOD_CAPTIONS[kind],
    key=f"map-{kind}-{dims}",
          name=f"{found.run.id}-map", on_pick=update_highlight,
          python=_projection_code(found.run, kind, dims, scaled, told, guests, walkers))  # fmt: skip


def render_tensor_projection(
    found: SnapshotSelection, track: TensorHistory, rows: Sequence[int], picked: frozenset[int], title: str, read: str
) -> None:
    """Vectors that have no words beside them, on a map of their own (PCA): the tokens ``rows`` of a part."""
    shown = np.stack(track.values)
    key = ("map", found.cache_key, track.name, tuple(rows))
    maps = cached_by_signature(key, lambda: project_together(shown[0, :0], [shown]))
    walkers = [
        Trajectory(
            maps[0], track.current_index, style=RUN_STYLE, token_numbers=tuple(rows), highlighted=tuple(sorted(picked))
        )
    ]
    python = scripts.tensor_script(
        found.run, track, "projection", "draw_projection([walker], [])", "map", "import numpy as np",
        "from ptviz.analysis.projection import project", "from ptviz.figures.projection import Trajectory",
        "from ptviz.figures.style import SeriesStyle", "shown = np.stack(track.values)",
        f"walker = {_trajectory_code('project(shown[0, :0], shown)', walkers[0])}", rows=rows,
    )  # fmt: skip
    figure_panel(draw_projection(walkers, []), describe_projection(walkers), read, key="map-alone",
    name=f"{found.run.id}-map", title=title,
          on_pick=update_highlight, python=python)  # fmt: skip


def render_saved_prompt_projection(
    kept: SavedPrompt, track: TensorHistory, words: Vocabulary, rows: Sequence[int], picked: frozenset[int]
) -> None:
    """The map (PCA) of a prompt that has no steps: the tokens ``rows`` of its part."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        dims = st.segmented_control("axes", (2, 3), default=2, key="dims", bind="query-params") or 2
        ids, told = _select_words(words, "PCA")
        scaled = _directions_checkbox()
    shown = np.stack(track.values)
    key = ("map", kept.id, kept.made, tuple(rows), dims, len(ids), scaled)
    laid = cached_by_signature(
        key, lambda: project_together(words.table[ids], [shown], "PCA", dims, normalise=scaled, fitted=_PCA_TOKENS)[0]
    )
    labels = cached_by_signature(("labels", kept.backbone, len(ids)), lambda: words.words(ids))
    walker = Trajectory(laid, 0, "this prompt", RUN_STYLE, tuple(rows), tuple(sorted(picked)))
    python = scripts.saved_prompt_script(
        kept.id, kept.backbone, rows, "projection", "draw_projection([walker], words.words(ids))", "map", "import numpy as np",
        "from ptviz.analysis.projection import project_together", "from ptviz.figures.projection import Trajectory",
        "from ptviz.figures.style import SeriesStyle", f"ids = {told}",
        f"maps = project_together(words.table[ids], [tokens[None]], 'PCA', {dims}, normalise={scaled}, "
        f"fitted={_PCA_TOKENS})",
        f"walker = {_trajectory_code('maps[0]', walker)}",
    )  # fmt: skip
    figure_panel(draw_projection([walker], labels), describe_projection([walker]),
    _CAPTION + _METHOD_CAPTIONS["PCA"], key=f"map-{dims}",
          name=f"{kept.id}-map", on_pick=update_highlight, python=python)  # fmt: skip


def _trajectory_code(laid: str, walker: Trajectory) -> str:
    """The Python of a walker on a map."""
    told = f"Trajectory({laid}, {walker.index}, {walker.name!r}, {walker.style!r}"
    return told + (f", {walker.token_numbers!r}, {walker.highlighted!r})" if walker.token_numbers else ")")


def _projection_code(
    run: Run,
    kind: ProjectionMethod,
    dims: int,
    scaled: bool,
    ids: str,
    guests: Sequence[ComparedPrompt],
    walkers: Sequence[Trajectory],
) -> str:
    """The Python that lays the same prompts on the same map."""
    rows = list(walkers[0].token_numbers)
    tokens = [guest.python_code for guest in guests]
    tokens[0] += f"[:, {rows}]" if kind == "PCA" else ""
    how = f", normalise={scaled}, fitted={_PCA_TOKENS}" if kind == "PCA" else ""
    cut = [] if kind == "PCA" else [
        "from dataclasses import replace", f"maps = (replace(maps[0], tokens=maps[0].tokens[:, {rows}]), *maps[1:])",
    ]  # fmt: skip
    told = ",\n    ".join(_trajectory_code(f"maps[{i}]", walker) for i, walker in enumerate(walkers))
    lines = [
        "from ptviz.runs import Store", "store = Store()", f"run = store.get({run.id!r})", *scripts.VOCABULARY_CODE,
        "import numpy as np", "from ptviz.analysis.projection import project_together",
        "from ptviz.figures.projection import Trajectory", "from ptviz.figures.style import SeriesStyle",
        "from ptviz.plots.material import load_prompt_tokens",
        "from ptviz.runs.saved_prompts import load_prompt_tensors", f"ids = {ids}",
        "prompts = [\n    " + ",\n    ".join(tokens) + ",\n]",
        f"maps = project_together(words.table[ids], prompts, {kind!r}, {dims}{how})", *cut,
        f"walkers = [\n    {told},\n]",
    ]  # fmt: skip
    return scripts.figure_script("projection", lines, "draw_projection(walkers, words.words(ids))", f"{run.id}-map")


def _directions_checkbox() -> bool:
    return st.checkbox("directions only", key="unit", bind="query-params", help="every vector at length 1")


def _select_words(words: Vocabulary, kind: ProjectionMethod) -> tuple[Int[np.ndarray, " n"], str]:
    """The words on the map, the most frequent ones first, and the Python that finds them."""
    counts: tuple[int | str, ...] = (500, 1500, 5000, _ALL_WORDS) if kind == "PCA" else (1000, 3000, 5000)
    key = "words" if kind == "PCA" else "fitted"
    shown = st.selectbox("words", counts, 1, key=key, bind="query-params", width=110)
    if isinstance(shown, int):
        return words.common_ids[:shown], f"words.common[:{shown}]"
    rare = np.setdiff1d(np.arange(len(words.table)), words.common_ids)
    told = "np.concatenate([words.common, np.setdiff1d(np.arange(len(words.table)), words.common)])"
    return np.concatenate([words.common_ids, rare]), told


def _run_prompt(found: SnapshotSelection, part: TensorHistory, place: Mapping[str, int], spread: int) -> ComparedPrompt:
    track, config = inspect_run.load_tensor_histories(found, spread).get(part.name, part), found.run.config
    # The step before, which the map would show, may belong to a stage where the part looks otherwise.
    track = (track if track.current.shape == part.current.shape else part).select(place)
    script = f"load_prompt_tokens(run, {part.name!r}, {track.steps!r}{f', {dict(place)!r}' if place else ''})"
    return ComparedPrompt(
        "this run", config.method, config.task, track.steps, np.stack(track.values), track.current_index, script
    )


def _select_other_prompts(
    found: SnapshotSelection, part: TensorHistory, place: Mapping[str, int], spread: int
) -> list[ComparedPrompt]:
    """Other experts of this run, other runs and kept prompts of the same backbone that the reader wants on the map."""
    config = found.run.config
    siblings = {f"here:{i}": other for i, other in enumerate(list_indices(part, tuple(place))) if other != dict(place)}
    runs = {s.id: s for s in get_store().list() if s.config.backbone == config.backbone and s.id != found.run.id}
    saved = {
        f"kept:{p.id}": p
        for p in list_saved_prompts(get_store().prompts_folder)
        if p.backbone == config.backbone and "embeddings" in p.shapes
    }
    names = {
        **{id: f"expert {', '.join(map(str, other.values()))} of this run" for id, other in siblings.items()},
        **{id: f"{s.name} ({method_title(s.config.method)}, {s.config.task}, seed {s.config.training.seed})"
           for id, s in runs.items()},
        **{id: f"kept: {prompt.title}" for id, prompt in saved.items()},
    }  # fmt: skip
    if not names:
        return []
    names = unique_labels(names)
    st.session_state["beside"] = [id for id in st.session_state.get("beside", []) if id in names]
    chosen = st.multiselect(
        "other prompts on this map", list(names), key="beside", format_func=names.__getitem__,
        placeholder="none; choose runs or kept prompts", max_selections=_MAX_COMPARED,
    )  # fmt: skip
    guests, without = [], []
    for id in chosen:
        guest: ComparedPrompt | None
        if id in siblings:
            guest = replace(_run_prompt(found, part, siblings[id], spread), name=names[id])
        elif id in saved:
            script = f'load_prompt_tensors(store.prompts_folder, {saved[id].id!r})["embeddings"].numpy()[None]'
            tokens = load_prompt_tensors(get_store().prompts_folder, saved[id].id)["embeddings"].numpy()[None]
            guest = ComparedPrompt(names[id], "", saved[id].task or "", (0,), tokens, 0, script)
        else:
            guest = _other_run_prompt(id, names[id], found, spread)
        if guest is not None and guest.tokens.shape[-1] == part.current.shape[-1]:
            guests.append(guest)
        else:
            without.append(names[id])
    for name in without:
        st.text(f"{name} has no vectors among the words, or no snapshot yet: it is not on the map.")
    return guests


def _other_run_prompt(id: str, name: str, found: SnapshotSelection, spread: int) -> ComparedPrompt | None:
    """Another run, at its last snapshot that is not beyond the step looked at."""
    run = get_store().get(id)
    at = inspect_run.nearest_snapshot(run, found.positions[found.index])
    if at is None:
        return None
    fitting = (
        t for t in inspect_run.load_tensor_histories(at, spread).values() if t.axes in (("m", "d"), ("k", "m", "d"))
    )
    track = next(fitting, None)
    if track is None:
        return None
    script = f"load_prompt_tokens(store.get({id!r}), {track.name!r}, {track.steps!r})"
    tokens, config = stack_vectors(track), run.config
    return ComparedPrompt(name, config.method, config.task, track.steps, tokens, track.current_index, script)


def _prompt_styles(guests: Sequence[ComparedPrompt]) -> list[SeriesStyle]:
    """A mark a prompt; those that share a colour differ in their symbols."""
    if len(guests) == 1:
        return [RUN_STYLE]
    by = st.segmented_control("colours by", ("run", "method", "task"), default="run", key="colours") or "run"
    if by == "run":
        return [RUN_STYLE, *_OTHER_STYLES[: len(guests) - 1]]
    if by == "method":
        of, marks = [guest.method for guest in guests], [method_series_style(guest.method) for guest in guests]
    else:
        of = [guest.task for guest in guests]
        marks = [(RUN_STYLE, *_OTHER_STYLES)[list(dict.fromkeys(of)).index(task)] for task in of]
    return [style_variant(one, of[:i].count(of[i])) for i, one in enumerate(marks)]


def _projection_from_worker(
    found: SnapshotSelection,
    kind: ProjectionMethod,
    dims: int,
    words: Vocabulary,
    ids: Int[np.ndarray, " n"],
    guests: list[ComparedPrompt],
    about: Hashable,
    key: Hashable,
) -> tuple[list[ComparedPrompt], tuple[Projection, ...] | None]:
    """The map from the disk or the worker, and what is on it; None while it is being made."""
    alive = found.run.status().state in ACTIVE_STATES
    made: dict[Hashable, tuple[ProjectionJob, list[ComparedPrompt]]] = st.session_state.setdefault("maps-made", {})
    name = (found.run.id, about, kind, dims, len(ids), tuple(guest.name for guest in guests))
    if name not in made or not alive or _needs_new_job(made[name][1], guests):

        def draw_up() -> ProjectionJob:
            return ProjectionJob(words.table[ids], tuple(guest.tokens for guest in guests), kind, dims)

        made.pop(name, None)
        made[name] = cached_by_signature(("order", key), draw_up), guests
        for old in [*made][:-8]:
            del made[old]
    order, before = made[name]
    # What is on the map stays while newer steps come; the cursor goes as far as the map does.
    before = [replace(old, index=min(new.index, len(old.steps) - 1)) for old, new in zip(before, guests, strict=True)]
    return before, projection_with_progress(found, order)


def _needs_new_job(before: Sequence[ComparedPrompt], guests: Sequence[ComparedPrompt]) -> bool:
    """A run under way has new steps every few seconds: they are laid out when the reader asks for it."""
    last, newest = before[0].steps[-1], guests[0].steps[-1]
    if len(before[0].tokens[0]) != len(guests[0].tokens[0]):
        return True
    if newest == last:
        return False
    st.caption(f"This map ends at step {last}; the run has come to step {newest}.")
    return st.button("Lay it out again", icon=":material/refresh:", key="map-again")
