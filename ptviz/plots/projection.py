"""Prompts and the vocabulary projected on two or three axes."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float, Int

from ptviz.analysis.projection import Projection, ProjectionMethod, project_together
from ptviz.figures.projection import Frame, Trajectory, describe_projection, draw_projection
from ptviz.figures.style import PROMPT, SeriesStyle, series_style, style_variant
from ptviz.nearest_tokens import nearest_tokens
from ptviz.plots.alt_text import with_alt
from ptviz.plots.cache import cached_by_signature
from ptviz.plots.method_style import method_series_style, method_title
from ptviz.plots.run_argument import PromptOrId, backbone_of, get_run, get_saved
from ptviz.plots.run_tensors import (
    load_tensor_histories,
    load_tensor_history,
    load_words,
    snapshot_index,
    stack_vectors,
)
from ptviz.plots.tensor_views import TensorHistory, list_indices
from ptviz.plots.training_curves import run_position, snapshot_positions, to_training_curve
from ptviz.profanity import mask_words
from ptviz.runs import Run, RunConfig
from ptviz.runs.embedding_table import Vocabulary

PCA_WORDS = 1500
"""Words that the axes of PCA are fitted on, however many are drawn."""
MAX_SNAPSHOTS: Mapping[ProjectionMethod, int] = {"PCA": 40, "UMAP": 20, "t-SNE": 8}
"""Most steps of a prompt in a projection; t-SNE must fit every one of them."""
MAX_COMPARED = 8
SIBLING_PREFIX = "here:"
"""What stands before the number of another prompt (expert or source) of the same run."""
RUN_STYLE = SeriesStyle(PROMPT, "solid", "diamond")
"""The style of the prompt that a figure is about."""
_OTHER_STYLES = tuple(series_style(index) for index in range(MAX_COMPARED))
"""Styles of the prompts compared with it."""
ColourBy = Literal["run", "method", "task"]


@dataclass(frozen=True, eq=False)
class ComparedPrompt:
    """One prompt to project: its tokens at some steps; ``index`` is that of the selected step."""

    name: str
    method: str
    task: str
    steps: tuple[int, ...]
    tokens: Float[np.ndarray, "steps m d"]
    index: int
    cache_key: Hashable


def plot_embeddings(
    prompt: PromptOrId,
    *,
    kind: ProjectionMethod = "PCA",
    dims: int = 2,
    part: str = "",
    stage: int = 0,
    step: int | None = None,
    index: Mapping[str, int] | None = None,
    tokens: Sequence[int] | None = None,
    highlight: Collection[int] = (),
    words: int | None = PCA_WORDS,
    directions: bool = False,
    others: Sequence[str] = (),
    colour_by: ColourBy = "run",
    projection: Sequence[Projection] | None = None,
    frame: Frame = "all",
    find: str = "",
    by_frequency: bool = False,
) -> go.Figure:
    """Draw prompt tokens among the words of the frozen backbone, with the paths they took during training.

    ``kind`` is PCA, UMAP (McInnes et al. 2018) or t-SNE (van der Maaten and Hinton 2008), on 2 or 3 ``dims``; ``words``
    is the number of the most frequent words, None for all. Beside each token stands the nearest of them by cosine.
    ``frame`` is what the axes hold: "all", or "words" only; ``find`` rings a word; ``by_frequency`` colours words by
    their rank. ``directions`` scales every vector to length 1 (PCA only).
    ``part``, ``index``, ``tokens`` and ``highlight`` are those of ``plot_norms``. ``others`` are ids of runs and saved
    prompts of the same backbone, or "here:1" for the expert 1 of the same run; those without embeddings are left out.

    Raises:
        ImportError: for UMAP and t-SNE, if the library that computes them is missing.
    """
    compared, _ = load_compared_prompts(
        prompt, others, part=part, stage=stage, step=step, index=index, max_steps=MAX_SNAPSHOTS[kind]
    )
    backbone = backbone_of(prompt)
    vocabulary = load_words(backbone)
    ids = select_words(vocabulary, words)
    rows = list(range(compared[0].tokens.shape[1]) if tokens is None else tokens)
    if kind == "PCA":
        # An outlier would dominate the axes: they are fitted without the tokens that are left out.
        vectors = [compared[0].tokens[:, rows], *(other.tokens for other in compared[1:])]
        key = ("projection", backbone, len(ids), dims, directions, tuple(rows), *(one.cache_key for one in compared))
        projected: Sequence[Projection] = cached_by_signature(
            key,
            lambda: project_together(
                vocabulary.table[ids], vectors, "PCA", dims, normalise=directions, fitted=PCA_WORDS
            ),
        )
    else:
        # Minutes of work, to which single tokens make little difference: all are projected, and some not drawn.
        vectors = [one.tokens for one in compared]
        found = projection or project_together(vocabulary.table[ids], vectors, kind, dims)
        projected = [replace(found[0], tokens=found[0].tokens[:, rows]), *found[1:]]
    styles = prompt_styles(compared, colour_by)
    labels = cached_by_signature(("labels", backbone, len(ids)), lambda: vocabulary.words(ids))
    nearest = _nearest_words(compared[0].tokens[compared[0].index, rows], vocabulary.table[ids], labels)
    trajectories = [
        Trajectory(
            own,
            # A projection that was computed before may end at an earlier step.
            min(one.index, len(own.tokens) - 1),
            one.name,
            styles[i],
            tuple(rows) if i == 0 else (),
            tuple(sorted(highlight)) if i == 0 else (),
            tuple(mask_words(nearest)) if i == 0 else (),
        )
        for i, (one, own) in enumerate(zip(compared, projected, strict=True))
    ]
    # Words beyond the common ones have no known rank: they share the one after it.
    ranks = [min(index, len(vocabulary.common_ids)) + 1 for index in range(len(ids))] if by_frequency else []
    figure = draw_projection(
        trajectories, mask_words(labels), frame=frame, marked=find_words(labels, find), ranks=ranks
    )
    return with_alt(figure, describe_projection(trajectories))


def find_words(words: Sequence[str], text: str) -> list[int]:
    """Return the indices of the words that are this text but for case, spaces and marks of word pieces."""
    wanted = _bare_word(text)
    return [index for index, word in enumerate(words) if _bare_word(word) == wanted] if wanted else []


def _bare_word(word: str) -> str:
    return word.strip(" #\u0120\u2581").casefold()  # the marks of WordPiece, byte-level BPE and SentencePiece


def _nearest_words(
    tokens: Float[np.ndarray, "m d"], table: Float[np.ndarray, "V d"], words: Sequence[str]
) -> tuple[str, ...]:
    return tuple(words[index] for index in nearest_tokens(tokens, table, 1).ids[:, 0].tolist())


def plot_tensor_projection(
    prompt: PromptOrId,
    *,
    part: str = "",
    stage: int = 0,
    step: int | None = None,
    index: Mapping[str, int] | None = None,
    tokens: Sequence[int] | None = None,
    highlight: Collection[int] = (),
) -> go.Figure:
    """Draw vectors that do not lie among words, such as the keys of one head, on their two leading directions (PCA).

    The options are those of ``plot_norms``.
    """
    history = load_tensor_history(prompt, part, stage=stage, step=step, index=index, tokens=tokens)
    vectors = np.stack(history.values)
    projected = history.cached("projection", lambda: project_together(vectors[0, :0], [vectors]), any_step=True)
    numbers = tuple(range(len(history.current)) if tokens is None else tokens)
    trajectory = Trajectory(
        projected[0],
        history.current_index,
        style=RUN_STYLE,
        token_numbers=numbers,
        highlighted=tuple(sorted(highlight)),
    )
    return with_alt(draw_projection([trajectory], []), describe_projection([trajectory]))


def select_words(vocabulary: Vocabulary, count: int | None) -> Int[np.ndarray, " n"]:
    """Return the ids of the most frequent words, or of all words, the most frequent ones first."""
    if count is not None:
        return vocabulary.common_ids[:count]
    rare = np.setdiff1d(np.arange(len(vocabulary.table)), vocabulary.common_ids)
    return np.concatenate([vocabulary.common_ids, rare])


def load_compared_prompts(
    prompt: PromptOrId,
    others: Sequence[str],
    *,
    part: str = "",
    stage: int = 0,
    step: int | None = None,
    index: Mapping[str, int] | None = None,
    max_steps: int = MAX_SNAPSHOTS["PCA"],
) -> tuple[list[ComparedPrompt], list[str]]:
    """Return a prompt and those of ``others`` that can be compared with it, and the names of those that cannot.

    ``others`` are as in ``plot_embeddings``; other runs are taken at their last snapshot at or before the same step.

    Raises:
        StoreError: if there is no such run, snapshot, tensor or saved prompt.
    """
    selected = load_tensor_history(prompt, part, stage=stage, step=step)
    index = dict(index or {})

    def own(place: Mapping[str, int], name: str) -> ComparedPrompt:
        spread = load_tensor_histories(prompt, stage=stage, step=step, max_steps=max_steps).get(selected.name, selected)
        # The earlier snapshot may belong to a stage in which the tensor has another shape.
        history = spread if spread.current.shape == selected.current.shape else selected
        saved = get_saved(prompt)
        config = RunConfig(method="") if saved is not None else get_run(prompt).config
        return _compared(name, config, history.select(place))

    compared = [own(index, "this prompt" if get_saved(prompt) is not None else "this run")]
    missing = []
    siblings = list_indices(selected, tuple(index)) if index else []
    for id in others:
        if id.startswith(SIBLING_PREFIX):
            place = siblings[int(id.removeprefix(SIBLING_PREFIX))]
            compared.append(own(place, sibling_name(place)))
            continue
        name = prompt_name(id)
        other = _other_prompt(prompt, id, name, stage, step, max_steps)
        if other is not None and other.tokens.shape[-1] == selected.current.shape[-1]:
            compared.append(other)
        else:
            missing.append(name)
    return compared, missing


def sibling_name(index: Mapping[str, int]) -> str:
    """Return the name of another prompt of the same run."""
    return f"expert {', '.join(map(str, index.values()))} of this run"


def prompt_name(id: str) -> str:
    """Return the name of a run or saved prompt in a figure.

    Raises:
        StoreError: if there is no such run or saved prompt.
    """
    saved = get_saved(id)
    if saved is not None:
        return f"saved: {saved.title}"
    return run_name(id, get_run(id).config)


def run_name(id: str, config: RunConfig) -> str:
    """Return the name of a run with its method, task and seed."""
    return f"{config.name or id} ({method_title(config.method)}, {config.task_labels}, seed {config.training.seed})"


def _other_prompt(
    prompt: PromptOrId, id: str, name: str, stage: int, step: int | None, max_steps: int
) -> ComparedPrompt | None:
    """Return a saved prompt, or a run at its last snapshot at or before the selected step; None if it has none."""
    saved = get_saved(id)
    if saved is not None:
        history = load_tensor_histories(id).get("P")
        return None if history is None else _compared(name, RunConfig(method="", task=saved.task or ""), history)
    run = get_run(id)
    snapshots = run.snapshots()
    if not snapshots:
        return None
    positions = snapshot_positions(to_training_curve(run.history()), snapshots)
    info = snapshots[max(bisect_right(positions, _selected_position(prompt, stage, step)) - 1, 0)]
    histories = load_tensor_histories(run, stage=info.stage, step=info.step, max_steps=max_steps)
    vectors = (own for own in histories.values() if own.axes in (("m", "d"), ("k", "m", "d")))
    history = next(vectors, None)
    return None if history is None else _compared(name, run.config, history)


def _selected_position(prompt: PromptOrId, stage: int, step: int | None) -> int:
    if get_saved(prompt) is not None:
        return 0
    run: Run = get_run(prompt)
    if step is None:
        snapshots = run.snapshots()
        info = snapshots[snapshot_index(run, snapshots, stage, step)]
        stage, step = info.stage, info.step
    return run_position(run, stage, step) or 0


def _compared(name: str, config: RunConfig, history: TensorHistory) -> ComparedPrompt:
    return ComparedPrompt(
        name=name,
        method=config.method,
        task=config.task,
        steps=history.steps,
        tokens=stack_vectors(history),
        index=history.current_index,
        cache_key=history.cache_key,
    )


def prompt_styles(compared: Sequence[ComparedPrompt], colour_by: ColourBy = "run") -> list[SeriesStyle]:
    """Return a style for each prompt; those that share a colour differ in their symbols."""
    if len(compared) == 1:
        return [RUN_STYLE]
    if colour_by == "run":
        return [RUN_STYLE, *_OTHER_STYLES[: len(compared) - 1]]
    if colour_by == "method":
        groups, styles = [one.method for one in compared], [method_series_style(one.method) for one in compared]
    else:
        groups = [one.task for one in compared]
        styles = [(RUN_STYLE, *_OTHER_STYLES)[list(dict.fromkeys(groups)).index(task)] for task in groups]
    return [style_variant(one, groups[:i].count(groups[i])) for i, one in enumerate(styles)]
