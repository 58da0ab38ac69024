"""The tokens of a prompt as vectors: norms, cosines, and the nearest words of the vocabulary."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Literal

import numpy as np
import plotly.graph_objects as go

from ptviz.analysis.neighbour_history import nearest_tokens_over_steps, neighbour_overlap, neighbour_ranks_over_steps
from ptviz.analysis.prompt_tokens import (
    PromptGeometry,
    VocabularyStats,
    compute_geometry,
    compute_vocabulary_stats,
    pairwise_cosines,
)
from ptviz.figures import prompt_tokens as drawn
from ptviz.figures.heatmap import describe_heatmap, draw_heatmap
from ptviz.figures.linked_selection import dim_cells, make_pickable
from ptviz.nearest_tokens import NeighbourMetric, Neighbours
from ptviz.plots.alt_text import with_alt
from ptviz.plots.cache import cached_by_signature
from ptviz.plots.run_argument import PromptOrId, backbone_of
from ptviz.plots.run_tensors import load_tensor_history, load_words
from ptviz.plots.tensor_views import TensorHistory, axis_name
from ptviz.profanity import mask_words
from ptviz.runs.embedding_table import Vocabulary

NEIGHBOUR_COUNT = 5
"""Nearest words that are shown of each prompt token."""
_MAX_STEPS, _MAX_VECTORS = 8, 400
"""Most steps that are compared, and most vectors of all of them: the page answers while training continues."""


def vocabulary_stats(backbone: str, words: Vocabulary) -> VocabularyStats:
    """Return the norms and neighbour distances of a backbone's vocabulary, computed once."""
    return cached_by_signature(
        ("vocabulary stats", backbone, words.table.shape), lambda: compute_vocabulary_stats(words.table)
    )


def prompt_geometry(prompt: PromptOrId, history: TensorHistory) -> PromptGeometry:
    """Return norms of a prompt's tokens, and distances to the nearest words if they lie among word embeddings.

    Raises:
        StoreError: if the vocabulary of the backbone cannot be read.
    """
    backbone = backbone_of(prompt)
    if history.axes[-1] != "d" or not backbone:
        return compute_geometry(history.current)
    words = load_words(backbone)
    stats = vocabulary_stats(backbone, words)
    return history.cached(("geometry", backbone), lambda: compute_geometry(history.current, words.table, stats))


def plot_norms(
    prompt: PromptOrId,
    what: Literal["norms", "distances"] = "norms",
    *,
    part: str = "",
    stage: int = 0,
    step: int | None = None,
    index: Mapping[str, int] | None = None,
    tokens: Sequence[int] | None = None,
    highlight: Collection[int] = (),
) -> go.Figure:
    """Draw the norm of each prompt token, or its distance to the nearest word; bands hold 50% and 90% of all words.

    ``part`` is a tensor with axes (..., m, width), the prompt as used by default; ``index`` selects one index of each
    leading axis, ``tokens`` some prompt tokens. Tokens that are not in ``highlight`` are dimmed.
    """
    history = load_tensor_history(prompt, part, stage=stage, step=step, index=index, tokens=tokens)
    numbers = _token_numbers(history, tokens)
    geometry = prompt_geometry(prompt, history)
    figure = drawn.draw_norms(geometry, what, numbers=numbers, picked=highlight)
    return with_alt(figure, drawn.describe_norms(geometry, what, numbers=numbers))


def plot_cosines(
    prompt: PromptOrId,
    *,
    part: str = "",
    stage: int = 0,
    step: int | None = None,
    index: Mapping[str, int] | None = None,
    tokens: Sequence[int] | None = None,
    highlight: Collection[int] = (),
) -> go.Figure:
    """Draw the cosines between all pairs of prompt tokens, (m, m); those that are not in ``tokens`` leave a gap.

    The other options are those of ``plot_norms``.
    """
    history = load_tensor_history(prompt, part, stage=stage, step=step, index=index)
    values, m = pairwise_cosines(history.current), len(history.current)
    left_out = [number for number in range(m) if tokens is not None and number not in tokens]
    values[left_out] = values[:, left_out] = np.nan
    name = axis_name("m")
    figure = make_pickable(draw_heatmap(values, name, name, limit=1.0, unit="cosine"), range(m))
    return with_alt(dim_cells(figure, highlight, highlight), describe_heatmap(values, name, name))


def plot_nearest_words(
    prompt: PromptOrId,
    metric: NeighbourMetric = "cosine",
    *,
    part: str = "",
    stage: int = 0,
    step: int | None = None,
    index: Mapping[str, int] | None = None,
    tokens: Sequence[int] | None = None,
    highlight: Collection[int] = (),
) -> go.Figure:
    """Draw the words nearest to each prompt token (row), from left to right, by cosine, dot product or L2 distance.

    The options are those of ``plot_norms``.

    Raises:
        ValueError: if the prompt is not as wide as the word embeddings.
    """
    history, words, by_step = _neighbours(prompt, metric, part, stage, step, index, tokens)
    numbers, found = _token_numbers(history, tokens), by_step[history.current_index]
    rows, labels = [mask_words(words.words(ids)) for ids in found.ids], [str(number) for number in numbers]
    figure = make_pickable(drawn.draw_neighbours(found, rows, labels), numbers)
    return with_alt(dim_cells(figure, _rows_of(numbers, highlight)), drawn.describe_neighbours(found, rows, labels))


def plot_nearest_words_over_steps(
    prompt: PromptOrId,
    metric: NeighbourMetric = "cosine",
    *,
    part: str = "",
    stage: int = 0,
    step: int | None = None,
    index: Mapping[str, int] | None = None,
    tokens: Sequence[int] | None = None,
    highlight: Collection[int] = (),
) -> go.Figure:
    """Draw the nearest word of each prompt token (row) at several steps (columns); the selected one is framed.

    The options are those of ``plot_nearest_words``, and so are the errors.
    """
    history, words, by_step = _neighbours(prompt, metric, part, stage, step, index, tokens)
    numbers = _token_numbers(history, tokens)
    rows = [list(row) for row in zip(*(mask_words(words.words(found.ids[:, 0])) for found in by_step), strict=True)]
    scores = np.stack([found.scores[:, 0] for found in by_step], axis=1)
    labels = [str(number) for number in numbers]
    figure = drawn.draw_nearest_words_over_steps(history.steps, rows, scores, metric, labels, history.current_index)
    make_pickable(figure, numbers)
    alt = drawn.describe_nearest_words_over_steps(history.steps, rows, labels)
    return with_alt(dim_cells(figure, _rows_of(numbers, highlight)), alt)


def plot_neighbour_ranks(
    prompt: PromptOrId,
    metric: NeighbourMetric = "cosine",
    *,
    part: str = "",
    stage: int = 0,
    step: int | None = None,
    index: Mapping[str, int] | None = None,
    tokens: Sequence[int] | None = None,
    highlight: Collection[int] = (),
) -> go.Figure:
    """Draw the rank (1 is nearest) that each prompt token's last nearest word had at earlier steps, among all words.

    The options are those of ``plot_nearest_words``, and so are the errors.
    """
    history, words, by_step = _neighbours(prompt, metric, part, stage, step, index, tokens)
    numbers, last = _token_numbers(history, tokens), by_step[-1].ids[:, 0]
    names = mask_words(words.words(last))
    ranks = history.cached(
        ("neighbour ranks", metric),
        lambda: neighbour_ranks_over_steps(history.values, words.table, last, metric),
        any_step=True,
    )
    figure = drawn.draw_neighbour_ranks(
        history.steps, ranks, names, numbers=numbers, picked=highlight, at=history.current_index
    )
    return with_alt(figure, drawn.describe_neighbour_ranks(ranks, names, numbers=numbers))


def plot_neighbour_overlap(
    prompt: PromptOrId,
    metric: NeighbourMetric = "cosine",
    *,
    part: str = "",
    stage: int = 0,
    step: int | None = None,
    index: Mapping[str, int] | None = None,
    tokens: Sequence[int] | None = None,
) -> go.Figure:
    """Draw the share of the nearest words at the first step that are still among the nearest at later steps.

    The options are those of ``plot_nearest_words``, and so are the errors.
    """
    history, _, by_step = _neighbours(prompt, metric, part, stage, step, index, tokens)
    shares = [float(neighbour_overlap(by_step[0], other).mean()) for other in by_step]
    figure = drawn.draw_neighbour_overlap(history.steps, shares, history.current_index)
    first, last = history.steps[0], history.steps[-1]
    return with_alt(figure, f"Neighbours kept since step {first}: {shares[-1]:.0%} at step {last}.")


def _neighbours(
    prompt: PromptOrId,
    metric: NeighbourMetric,
    part: str,
    stage: int,
    step: int | None,
    index: Mapping[str, int] | None,
    tokens: Sequence[int] | None,
) -> tuple[TensorHistory, Vocabulary, list[Neighbours]]:
    """Return a prompt at a few steps, the vocabulary, and the nearest words at each of these steps."""
    whole = load_tensor_history(prompt, part, stage=stage, step=step, index=index, tokens=tokens)
    history = whole.shorten(max(2, min(_MAX_STEPS, _MAX_VECTORS // max(len(whole.current), 1))))
    words = load_words(backbone_of(prompt))
    found = history.cached(
        ("neighbours", metric),
        lambda: nearest_tokens_over_steps(history.values, words.table, NEIGHBOUR_COUNT, metric),
        any_step=True,
    )
    return history, words, found


def _token_numbers(history: TensorHistory, tokens: Sequence[int] | None) -> list[int]:
    return list(range(len(history.current)) if tokens is None else tokens)


def _rows_of(numbers: Sequence[int], highlight: Collection[int]) -> list[int]:
    return [row for row, number in enumerate(numbers) if number in highlight]
