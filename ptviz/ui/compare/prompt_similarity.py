"""How alike prompts are: the clustered heat map under every measure, and a map of their mean tokens."""

from __future__ import annotations

from concurrent.futures import Future
from importlib.util import find_spec
from typing import Any

import numpy as np
import streamlit as st

from ptviz.analysis.projection import Projection, project
from ptviz.analysis.similarity import (
    NEURON_METRIC,
    SIMILARITY_METRICS,
    SimilarityMatrix,
    compute_similarity,
    neuron_overlap,
)
from ptviz.analysis.transfer import Dendrogram, cluster
from ptviz.experiments import transfer as record
from ptviz.figures import transfer as drawn
from ptviz.plots.cache import cached_by_signature
from ptviz.probes import neurons
from ptviz.prompt_statistics import find_outliers
from ptviz.runs import RunSummary
from ptviz.ui.backend import get_store, request_answer, request_projection
from ptviz.ui.compare import transfer_scripts
from ptviz.ui.compare.prompt_selection import PromptSelection
from ptviz.ui.components.figure_panel import figure_panel
from ptviz.ui.look.inspect_run import poll_request
from ptviz.worker.projection_process import ProjectionJob, load_projection
from ptviz.worker.projection_queue import projection_folder

SIMILARITY_MEASURES = (*SIMILARITY_METRICS, NEURON_METRIC)
_SIMILARITY_CAPTION = (
    "How to read it: one row and column a prompt, orange is alike; the brackets on top join prompts that are alike, "
    "the lower the more. Prompts of one task that do not meet low down: the measure does not see the task."
)
_NEURONS_CAPTION = (
    " Here prompts are alike if they activate the same neurons of the frozen backbone's feed-forward layers, with no "
    "sentence beside them."
)
_PROJECTION_CAPTION = (
    "How to read it: one point a prompt: the direction of its mean token, its length left out. Near points are alike "
    "in what differs most; distances on a flat map are only part of the truth, the heat map has the whole."
)
_MIN_FOR_UMAP = 15
"""Prompts from which on a UMAP is offered: of fewer it shows little but its own settings."""


def render_similarity(chosen: PromptSelection) -> None:
    """The similarity of every pair of prompts, clustered, and the map."""
    st.subheader("How alike the prompts are")
    compared = chosen.comparable_prompts
    left_out = [name for name in chosen.names if name not in compared]
    if len(compared) < 2:
        st.caption(
            "Fewer than two of the chosen runs hold one prompt of vectors in front of the input. Choose more, or train "
            "prompt tuning on another task."
        )
        return
    metric, centred, without = select_similarity_settings()
    found = compare_prompts(chosen, metric, centred, without, ask=True)
    if found is not None:
        python = transfer_scripts.similarity_script(chosen, metric, centred, without, _file_stem(metric))
        _render_heatmap(list(compared), *found, metric, python)
    _render_warnings(chosen, left_out, without)
    with st.expander("Map of the prompts", key="map-open", on_change="rerun") as box:
        if box.open:
            _render_projection(chosen, centred, without)


def select_similarity_settings() -> tuple[str, bool, bool]:
    """The measure, whether the mean of all prompts is subtracted, and whether tokens that ran away are left out."""
    metric = (
        st.segmented_control(
            "measure", SIMILARITY_MEASURES, default=SIMILARITY_MEASURES[0], key="metric", bind="query-params"
        )
        or SIMILARITY_MEASURES[0]
    )
    with st.container(horizontal=True):
        centred = st.checkbox("subtract the mean of all prompts", key="centred", bind="query-params",
                              disabled=metric == NEURON_METRIC,
                              help="prompts of one backbone share a direction that hides how they differ")  # fmt: skip
        without = st.checkbox("leave out tokens that ran away", key="without", bind="query-params",
                              disabled=metric == NEURON_METRIC,
                              help="tokens whose norm is above three times the median of their prompt")  # fmt: skip
    return metric, centred, without


def compare_prompts(
    chosen: PromptSelection, metric: str, centred: bool, without: bool, *, ask: bool = False
) -> tuple[SimilarityMatrix, Dendrogram] | None:
    """Similarities and their clusters; None where the worker was not asked for the neurons yet, or is on its way."""
    prompts = list(chosen.comparable_prompts.values())
    if metric == NEURON_METRIC:
        active = _active_neurons(chosen, prompts, ask)
        if active is None:
            return None

        def make() -> tuple[SimilarityMatrix, Dendrogram]:
            found = neuron_overlap(active)
            return found, cluster(found.values)
    else:

        def make() -> tuple[SimilarityMatrix, Dendrogram]:
            ignored = [find_outliers(prompt) for prompt in prompts] if without else None
            found = compute_similarity(prompts, _as_metric(metric), leave_out=ignored, centred=centred)
            return found, cluster(found.values)

    return cached_by_signature(("similarity", chosen.cache_key, metric, centred, without), make)


def _as_metric(metric: str) -> Any:
    return metric if metric in SIMILARITY_METRICS else SIMILARITY_METRICS[0]


def _active_neurons(chosen: PromptSelection, prompts: list[np.ndarray], ask: bool) -> list[np.ndarray] | None:
    found = [neurons.load_neurons(chosen.backbone, prompt) for prompt in prompts]
    known = [one for one in found if one is not None]
    if len(known) == len(prompts):
        return known
    if not ask:
        return None
    carrier = chosen.worker_run
    if carrier is None:
        st.caption("Neurons are those of a backbone: train one run on it first, so that the worker knows which.")
        return None
    lacking = [prompt for prompt, one in zip(prompts, found, strict=True) if one is None]
    last = get_store().get(carrier.id).snapshots()[-1]
    future = poll_request(
        ("neurons", chosen.cache_key),
        lambda: request_answer(
            "measure",
            carrier.id,
            what="neurons",
            stage=last.stage,
            step=last.step,
            prompts=neurons.encode_prompts(lacking),
        ),
    )
    if future is None:
        _wait_for_answers("The worker runs each prompt through the frozen backbone, once; the neurons are kept.")
    return None


def _wait_for_answers(words: str) -> None:
    """Say what is under way, and look again until it is there."""
    st.caption(words)

    def look() -> None:
        futures: dict[object, Future[Any]] = st.session_state.get("inside-asked", {})
        if all(future.done() for future in futures.values()):
            st.rerun()

    st.fragment(look, run_every=0.6)()


def _file_stem(metric: str) -> str:
    return f"similarity-{metric.replace(' ', '-')}"


def _render_heatmap(names: list[str], found: SimilarityMatrix, tree: Dendrogram, metric: str, python: str) -> None:
    alt = drawn.describe_similarity(found.values, names, tree, metric)
    read = _SIMILARITY_CAPTION + (_NEURONS_CAPTION if metric == NEURON_METRIC else "")
    figure_panel(drawn.draw_similarity(found.values, names, tree, metric), alt, read, key="similarity",
          name=_file_stem(metric), python=python)  # fmt: skip
    if found.compared_rows is not None:
        st.caption(
            f"Prompts differ in length: this measure compares the first {found.compared_rows} tokens of each pair or more."
        )


def _render_warnings(chosen: PromptSelection, left_out: list[str], without: bool) -> None:
    odd = {name: np.flatnonzero(find_outliers(prompt)).tolist() for name, prompt in chosen.comparable_prompts.items()}
    told = [f"{name}: token {', '.join(map(str, rows))}" for name, rows in odd.items() if rows]
    if told:
        with st.container(border=True):
            st.text("Tokens whose norm is above three times the median of their prompt; they may outweigh all others. "
                    + ("Left out here. " if without else "") + "; ".join(told) + ".")  # fmt: skip
    if left_out:
        st.text(
            f"Not compared, because no single prompt of vectors stands in front of the input: {', '.join(left_out)}."
        )
    if chosen.excluded:
        st.text(f"Not compared, because their width is another: {', '.join(chosen.excluded)}.")


def _render_projection(chosen: PromptSelection, centred: bool, without: bool) -> None:
    names, prompts = list(chosen.comparable_prompts), list(chosen.comparable_prompts.values())
    means = np.stack([p[~find_outliers(p)].mean(0) if without else p.mean(0) for p in prompts]).astype(np.float32)
    if centred:
        means = means - means.mean(0)
    kind = "PCA"
    # The worker is asked for a map by way of a run, whichever: a map is made of vectors and knows no backbone.
    carrier = chosen.worker_run or next(iter(record.finished_runs(get_store())), None)
    if len(names) >= _MIN_FOR_UMAP and find_spec("umap") is not None and carrier is not None:
        kind = (
            st.segmented_control("kind of map", ("PCA", "UMAP"), default="PCA", key="map", bind="query-params") or kind
        )
    found = _projection_from_worker(carrier, means) if kind == "UMAP" else cached_by_signature(
        ("task-map", chosen.cache_key, centred, without),
        lambda: project(means, np.zeros((0, 0, means.shape[1])), "PCA", normalise=True),
    )  # fmt: skip
    if found is None:
        return
    tasks = [chosen.runs[place].config.task for place in chosen.comparable_indices] + list(chosen.opened_prompts)
    groups = [list(dict.fromkeys(tasks)).index(task) for task in tasks]
    python = transfer_scripts.prompt_projection_script(chosen, kind, groups, centred, without, "map-of-prompts")
    figure_panel(drawn.draw_prompt_projection(found, names, groups), drawn.describe_prompt_projection(found, names),
    _PROJECTION_CAPTION, key=f"map-{kind}",
          name="map-of-prompts", python=python)  # fmt: skip


def _projection_from_worker(carrier: RunSummary | None, means: np.ndarray) -> Projection | None:
    # A map is of words and prompts: the words are the mean tokens here, and the prompt is one of them again.
    order = ProjectionJob(means, (means[:1][None],), "UMAP", normalise=True)
    found = load_projection(projection_folder(order.digest))
    if found is None and carrier is not None:
        poll_request(("task-map", order.digest), lambda: request_projection(carrier.id, order))
        st.caption("The worker lays out the map; it will be here in a minute.")
        st.fragment(lambda: st.rerun() if load_projection(projection_folder(order.digest)) else None, run_every=1.0)()
    return found[0] if found else None
