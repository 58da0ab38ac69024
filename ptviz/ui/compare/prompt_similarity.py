"""The similarity of prompts: a clustered heat map under every measure, and a projection of their mean tokens."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
import streamlit as st

from ptviz.analysis.projection import Projection
from ptviz.analysis.prompt_similarity import NEURON_METRIC, ROWWISE_METRICS
from ptviz.experiments import transfer_prompts
from ptviz.figures.prompt_similarity import describe_random_similarity
from ptviz.plots import plot_prompt_projection, plot_prompt_similarity
from ptviz.plots.prompt_set import load_prompt_set, load_starts, shared_starts
from ptviz.plots.prompt_similarity import (
    SIMILARITY_MEASURES,
    mean_tokens,
    prompts_with_random_ones,
    similarity_of_random_prompts,
)
from ptviz.probes import neurons
from ptviz.prompt_statistics import find_outliers
from ptviz.runs import RunSummary
from ptviz.ui.backend import get_store, request_answer, request_projection
from ptviz.ui.compare.prompt_selection import PromptSelection
from ptviz.ui.components.figure_panel import render_plot
from ptviz.ui.look.look_page import poll_request, rerun_when_answered
from ptviz.worker.projection_process import ProjectionJob, load_projection
from ptviz.worker.projection_queue import projection_folder

_SIMILARITY_CAPTION = (
    "How to read it: one row and column per prompt, orange is similar; the brackets on top join similar prompts, "
    "the lower the more similar. If prompts of one task join only high up, the measure does not reflect the task."
)
_NEURONS_CAPTION = (
    "Here prompts are similar if they activate the same neurons of the frozen backbone's feed-forward layers, without "
    "an input text."
)
_PROJECTION_CAPTION = (
    "How to read it: one point per prompt, the direction of its mean token. Near points are similar along the shown "
    "axes; a projection to two dimensions loses information that the heat map has."
)
_MIN_FOR_UMAP = 15
"""UMAP is offered from this number of prompts on: of fewer it shows little but its own settings."""


def render_similarity(chosen: PromptSelection) -> None:
    """Show the similarity of every pair of prompts, clustered, and the projection."""
    st.header("Similarity of the prompts")
    compared = chosen.comparable_prompts
    not_compared = [name for name in chosen.names if name not in compared]
    if len(compared) < 2:
        st.caption(
            "Fewer than two of the selected runs have one prompt of input vectors. Select more, or train "
            "prompt tuning on another task."
        )
        return
    metric, centred, without = select_similarity_settings()
    minus_start = _select_minus_start(chosen, metric)
    if has_similarity(chosen, metric, ask=True):
        options = {
            "metric": metric,
            "centred": centred,
            "exclude_outliers": without,
            "minus_start": minus_start,
            **chosen.plot_options,
        }
        unrelated = describe_random_similarity(similarity_of_random_prompts(chosen.prompt_ids, **options))
        parts = (_SIMILARITY_CAPTION, _NEURONS_CAPTION if metric == NEURON_METRIC else "", unrelated)
        render_plot(
            plot_prompt_similarity,
            chosen.prompt_ids,
            key="similarity",
            caption=" ".join(part for part in parts if part),
            filename=f"similarity-{metric.replace(' ', '-')}",
            **options,
        )
        if metric in ROWWISE_METRICS and len({len(prompt) for prompt in compared.values()}) > 1:
            st.caption("Prompts differ in length: this measure compares only the tokens that both prompts have.")
    _render_warnings(chosen, not_compared, without)
    with st.expander("Projection of the prompts", key="map-open", on_change="rerun") as box:
        if box.open:
            _render_projection(chosen, centred, without)


def select_similarity_settings() -> tuple[str, bool, bool]:
    """Return the measure, whether the mean of all prompts is subtracted, and whether outlier tokens are excluded."""
    metric = (
        st.segmented_control(
            "measure", SIMILARITY_MEASURES, default=SIMILARITY_MEASURES[0], key="metric", bind="query-params"
        )
        or SIMILARITY_MEASURES[0]
    )
    with st.container(horizontal=True):
        options: dict[str, Any] = {"bind": "query-params", "disabled": metric == NEURON_METRIC}
        help = "prompts of one backbone share a direction that hides their differences"
        centred = st.checkbox("subtract the mean of all prompts", key="centred", help=help, **options)
        without = st.checkbox("exclude outlier tokens (norm > 3 x median)", key="without", **options)
    return metric, centred, without


def _select_minus_start(chosen: PromptSelection, metric: str) -> bool:
    """Say which prompts began as the same vectors, and return whether only what training changed is compared."""
    found = load_prompt_set(chosen.prompt_ids, **chosen.plot_options)
    groups = shared_starts(found)
    if groups:
        same = "; ".join(", ".join(group) for group in groups)
        st.text(f"Runs of one seed can start from the same words, which makes their prompts similar. Here: {same}.")
    options: dict[str, Any] = {"bind": "query-params"}
    options["help"] = "the vectors before the first step are subtracted; prompts without stored ones are left out"
    available = len(load_starts(found)) > 1 and metric != NEURON_METRIC
    return bool(
        st.checkbox("subtract the initial vectors", key="minus-start", disabled=not available, **options) and available
    )


def has_similarity(chosen: PromptSelection, metric: str, *, ask: bool = False) -> bool:
    """Return whether a measure can be computed now; with ``ask``, request missing neurons from the worker."""
    return metric != NEURON_METRIC or _has_neurons(chosen, list(chosen.comparable_prompts.values()), ask)


def _has_neurons(chosen: PromptSelection, prompts: list[np.ndarray], ask: bool) -> bool:
    compared = prompts_with_random_ones(prompts)
    missing = [prompt for prompt in compared if neurons.load_neurons(chosen.backbone, prompt) is None]
    if not missing or not ask:
        return not missing
    carrier = chosen.worker_run
    if carrier is None:
        st.caption("Neurons need a backbone: train one run on it first.")
        return False
    last = get_store().get(carrier.id).snapshots()[-1]
    future = poll_request(
        ("neurons", chosen.cache_key),
        lambda: request_answer(
            "measure",
            carrier.id,
            what="neurons",
            stage=last.stage,
            step=last.step,
            prompts=neurons.encode_prompts(missing),
        ),
    )
    if future is None:
        rerun_when_answered("The worker runs each prompt through the frozen backbone once; the neurons are stored.")
    return False


def _render_warnings(chosen: PromptSelection, not_compared: list[str], without: bool) -> None:
    odd = {name: np.flatnonzero(find_outliers(prompt)).tolist() for name, prompt in chosen.comparable_prompts.items()}
    outliers = [f"{name}: token {', '.join(map(str, rows))}" for name, rows in odd.items() if rows]
    if outliers:
        with st.container(border=True):
            excluded = " Excluded here." if without else ""
            st.text(f"Outlier tokens (norm > 3 x median) may outweigh all others.{excluded} {'; '.join(outliers)}.")
    if not_compared:
        st.text(f"Not compared, because they have no single prompt of input vectors: {', '.join(not_compared)}.")
    if chosen.excluded:
        st.text(f"Not compared, because their width differs: {', '.join(chosen.excluded)}.")


def _render_projection(chosen: PromptSelection, centred: bool, without: bool) -> None:
    prompts = list(chosen.comparable_prompts.values())
    means = mean_tokens(prompts, centred, without)
    kind = "PCA"
    # The worker is asked through a run, whichever: a projection is of vectors and knows no backbone.
    carrier = chosen.worker_run or next(iter(transfer_prompts.finished_runs(get_store())), None)
    if len(prompts) >= _MIN_FOR_UMAP and find_spec("umap") is not None and carrier is not None:
        kinds = ("PCA", "UMAP")
        kind = st.segmented_control("projection", kinds, default=kind, key="map", bind="query-params") or kind
    found = _projection_from_worker(carrier, means) if kind == "UMAP" else None
    if kind == "UMAP" and found is None:
        return
    render_plot(
        plot_prompt_projection,
        chosen.prompt_ids,
        key=f"map-{kind}",
        caption=_PROJECTION_CAPTION,
        filename="prompt-projection",
        kind=kind,
        centred=centred,
        exclude_outliers=without,
        projection=found,
        **chosen.plot_options,
    )


def _projection_from_worker(carrier: RunSummary | None, means: np.ndarray) -> Projection | None:
    # A projection is of words and prompts: the words are the mean tokens here, and the prompt is one of them again.
    job = ProjectionJob(means, (means[:1][None],), "UMAP", normalise=True)
    found = load_projection(projection_folder(job.digest))
    if found is None and carrier is not None:
        poll_request(("task-map", job.digest), lambda: request_projection(carrier.id, job))
        st.caption("The worker computes the projection, in about a minute.")
        st.fragment(lambda: st.rerun() if load_projection(projection_folder(job.digest)) else None, run_every=1.0)()
    return found[0] if found else None
