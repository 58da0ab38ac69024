"""The similarity of prompts, of random ones for comparison, and prompts as points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Bool, Float

from ptviz.analysis.projection import Projection, project
from ptviz.analysis.prompt_clusters import cluster
from ptviz.analysis.prompt_similarity import (
    NEURON_METRIC,
    SIMILARITY_METRICS,
    RandomSimilarity,
    SimilarityMatrix,
    compute_similarity,
    draw_random_prompts,
    neuron_overlap,
    random_similarity,
    summarise_random_similarity,
)
from ptviz.figures import prompt_similarity as figures
from ptviz.plots.alt_text import with_alt
from ptviz.plots.cache import cached_by_signature
from ptviz.plots.probe_answers import measure
from ptviz.plots.prompt_set import Prompts, PromptSet, load_prompt_set, subtract_starts
from ptviz.probes import neurons
from ptviz.prompt_statistics import find_outliers
from ptviz.runs import StoreError
from ptviz.runs.saved_prompts import SAVED_PREFIX

SIMILARITY_MEASURES = (*SIMILARITY_METRICS, NEURON_METRIC)


_RANDOM_SEED = 0


_RANDOM_NEURON_PROMPTS = 4
"""Random prompts whose neurons are measured, each a pass through the backbone: six pairs."""


def plot_prompt_similarity(
    prompts: Prompts,
    *,
    metric: str = SIMILARITY_METRICS[0],
    centred: bool = False,
    exclude_outliers: bool = False,
    minus_start: bool = False,
    names: Sequence[str] = (),
    checkpoint: str = "",
) -> go.Figure:
    """Draw the similarity of every pair of prompts as a heat map in the order of their clusters.

    ``metric`` is one of ``SIMILARITY_MEASURES``; "neurons" compares the neurons that the prompts activate in the
    backbone, which is loaded unless they are stored. ``centred`` subtracts the mean of all prompts;
    ``exclude_outliers`` leaves out outlier tokens; ``minus_start`` compares what training changed, and leaves out
    prompts whose vectors before training are not stored. The colour bar marks the value of random prompts, see
    ``similarity_of_random_prompts``. ``prompts``, ``names`` and ``checkpoint`` as in ``load_prompt_set``. After Vu et
    al., "SPoT", ACL 2022, and Su et al., "On Transferability of Prompt Tuning", NAACL 2022.

    Raises:
        ValueError: for an unknown metric, or prompts of different widths.
    """
    found = _prompt_set(prompts, names, checkpoint, minus_start)
    values = load_similarity(found, metric, centred, exclude_outliers).values
    unrelated = _random_similarity(found, metric, centred, exclude_outliers)
    tree, labels = cluster(values), list(found.vectors)
    figure = figures.draw_similarity(values, labels, tree, metric, unrelated)
    return with_alt(figure, figures.describe_similarity(values, labels, tree, metric, unrelated))


def similarity_of_random_prompts(
    prompts: Prompts,
    *,
    metric: str = SIMILARITY_METRICS[0],
    centred: bool = False,
    exclude_outliers: bool = False,
    minus_start: bool = False,
    names: Sequence[str] = (),
    checkpoint: str = "",
) -> RandomSimilarity:
    """Return the value of a measure for random prompts of the same shapes, with its seed.

    The options are those of ``plot_prompt_similarity``.

    Raises:
        ValueError: as ``plot_prompt_similarity``.
    """
    found = _prompt_set(prompts, names, checkpoint, minus_start)
    return _random_similarity(found, metric, centred, exclude_outliers)


def _prompt_set(prompts: Prompts, names: Sequence[str], checkpoint: str, minus_start: bool) -> PromptSet:
    found = load_prompt_set(prompts, names, checkpoint)
    return subtract_starts(found) if minus_start else found


def plot_prompt_projection(
    prompts: Prompts,
    *,
    kind: str = "PCA",
    centred: bool = False,
    exclude_outliers: bool = False,
    names: Sequence[str] = (),
    checkpoint: str = "",
    projection: Projection | None = None,
) -> go.Figure:
    """Draw prompts as points in two dimensions: a projection of the directions of their mean tokens.

    ``kind`` is "PCA" or "UMAP"; the other options are those of ``plot_prompt_similarity``.

    Raises:
        ValueError: for an unknown kind.
    """
    found = load_prompt_set(prompts, names, checkpoint)
    if not found.vectors:
        nothing = Projection("PCA", np.zeros((0, 2)), np.zeros((0, 0, 2)))
        return with_alt(figures.draw_prompt_projection(nothing, [], []), "Projection of no prompt.")
    means = mean_tokens(list(found.vectors.values()), centred, exclude_outliers)
    key = ("prompt-projection", kind, means.tobytes())
    projection = projection or cached_by_signature(key, lambda: _project(means, kind))
    tasks = {name: one.config.task for one, name in zip(found.sources, found.names, strict=True) if one.config.backbone}
    marks = [tasks.get(name, name) for name in found.vectors]
    groups = [list(dict.fromkeys(marks)).index(mark) for mark in marks]
    labels = list(found.vectors)
    figure = figures.draw_prompt_projection(projection, labels, groups)
    return with_alt(figure, figures.describe_prompt_projection(projection, labels))


def mean_tokens(
    prompts: Sequence[Float[np.ndarray, "m d"]], centred: bool, exclude_outliers: bool
) -> Float[np.ndarray, "n d"]:
    """Return the mean token of every prompt, float32."""
    kept = [prompt[~find_outliers(prompt)] if exclude_outliers else prompt for prompt in prompts]
    means = np.stack([prompt.mean(0) for prompt in kept]).astype(np.float32)
    return means - means.mean(0) if centred else means


def _project(means: Float[np.ndarray, "n d"], kind: Any) -> Projection:
    # UMAP needs a trajectory: the first prompt stands in for it.
    tokens = means[:1][None] if kind == "UMAP" else np.zeros((0, 0, means.shape[1]))
    return project(means, tokens, kind, normalise=True)


def load_similarity(found: PromptSet, metric: str, centred: bool, exclude_outliers: bool) -> SimilarityMatrix:
    """Return the similarity of every pair of the comparable prompts, computed once."""
    prompts = list(found.vectors.values())
    if metric == NEURON_METRIC:
        return neuron_overlap(_find_neurons(found, prompts))
    return cached_by_signature(
        ("similarity", found.cache_key, metric, centred, exclude_outliers),
        lambda: compute_prompt_similarity(prompts, metric, centred, exclude_outliers),
    )


def _random_similarity(found: PromptSet, metric: str, centred: bool, exclude_outliers: bool) -> RandomSimilarity:
    prompts = list(found.vectors.values())
    if metric == NEURON_METRIC:
        active = _find_neurons(found, prompts_with_random_ones(prompts)[len(prompts) :]) if len(prompts) > 1 else []
        return summarise_random_similarity([neuron_overlap(active).values] if active else [], _RANDOM_SEED)
    ignored = [find_outliers(prompt) for prompt in prompts] if exclude_outliers else None
    return cached_by_signature(
        ("random similarity", found.cache_key, metric, centred, exclude_outliers),
        lambda: random_similarity(prompts, metric, leave_out=ignored, centred=centred, seed=_RANDOM_SEED),  # type: ignore[arg-type]
    )


def prompts_with_random_ones(prompts: Sequence[Float[np.ndarray, "m d"]]) -> list[Float[np.ndarray, "m d"]]:
    """Return prompts, followed by the random ones whose neurons they are compared with."""
    random = draw_random_prompts(prompts[:_RANDOM_NEURON_PROMPTS], _RANDOM_SEED)
    return [*prompts, *(one.astype(np.float32) for one in random)]


def compute_prompt_similarity(
    prompts: Sequence[Float[np.ndarray, "m d"]], metric: Any, centred: bool, exclude_outliers: bool
) -> SimilarityMatrix:
    """Return the similarity of every pair of prompts under a metric of ``SIMILARITY_METRICS``.

    Raises:
        ValueError: for an unknown metric, or prompts of different widths.
    """
    ignored = [find_outliers(prompt) for prompt in prompts] if exclude_outliers else None
    return compute_similarity(prompts, metric, leave_out=ignored, centred=centred)


def _find_neurons(found: PromptSet, prompts: Sequence[Float[np.ndarray, "m d"]]) -> list[Bool[np.ndarray, "layers n"]]:
    backbone = found.sources[0].config.backbone if found.sources else ""
    missing = [prompt for prompt in prompts if neurons.load_neurons(backbone, prompt) is None]
    if missing:
        run = next((one.id for one in found.sources if not one.id.startswith(SAVED_PREFIX)), None)
        if run is None:
            raise StoreError("neurons are those of a backbone: add the prompt of a run on it")
        last = found.store.get(run).snapshots()[-1]
        encoded = neurons.encode_prompts(missing)
        measure(None, run, "neurons", stage=last.stage, step=last.step, prompts=encoded)
    stored = [neurons.load_neurons(backbone, prompt) for prompt in prompts]
    return [one for one in stored if one is not None]
