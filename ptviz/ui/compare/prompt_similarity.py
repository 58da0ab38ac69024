"""How alike prompts are: the clustered heat map under every measure, and a map of their mean tokens."""

from __future__ import annotations

from concurrent.futures import Future
from importlib.util import find_spec
from typing import Any

import numpy as np
import streamlit as st

from ptviz.analysis.geometry import outliers
from ptviz.analysis.projection import Map, project
from ptviz.analysis.similarity import METRICS, NEURONS, Similarity, overlap, similarity
from ptviz.analysis.transfer import Tree, clustered
from ptviz.experiments import transfer as record
from ptviz.figures import transfer as drawn
from ptviz.probes import neurons
from ptviz.runs import Summary
from ptviz.ui.backend import lay_map, measure, store
from ptviz.ui.cache import remembered
from ptviz.ui.compare import transfer_scripts
from ptviz.ui.compare.prompt_selection import Chosen
from ptviz.ui.components.figure_panel import panel
from ptviz.ui.look.inspect_run import asked
from ptviz.worker.projection_process import Order, laid
from ptviz.worker.projection_queue import folder_of

MEASURES = (*METRICS, NEURONS)
_READ_SIMILARITY = (
    "How to read it: one row and column a prompt, orange is alike; the brackets on top join prompts that are alike, "
    "the lower the more. Prompts of one task that do not meet low down: the measure does not see the task."
)
_READ_NEURONS = (
    " Here prompts are alike if they activate the same neurons of the frozen backbone's feed-forward layers, with no "
    "sentence beside them."
)
_READ_MAP = (
    "How to read it: one point a prompt: the direction of its mean token, its length left out. Near points are alike "
    "in what differs most; distances on a flat map are only part of the truth, the heat map has the whole."
)
_FEWEST = 15
"""Prompts from which on a UMAP is offered: of fewer it shows little but its own settings."""


def show(chosen: Chosen) -> None:
    """The similarity of every pair of prompts, clustered, and the map."""
    st.subheader("How alike the prompts are")
    compared = chosen.compared
    left_out = [name for name in chosen.names if name not in compared]
    if len(compared) < 2:
        st.caption(
            "Fewer than two of the chosen runs hold one prompt of vectors in front of the input. Choose more, or train "
            "prompt tuning on another task."
        )
        return
    metric, centred, without = settings()
    found = compare(chosen, metric, centred, without, ask=True)
    if found is not None:
        python = transfer_scripts.similar(chosen, metric, centred, without, _name(metric))
        _matrix(list(compared), *found, metric, python)
    _remarks(chosen, left_out, without)
    with st.expander("Map of the prompts", key="map-open", on_change="rerun") as box:
        if box.open:
            _map(chosen, centred, without)


def settings() -> tuple[str, bool, bool]:
    """The measure, whether the mean of all prompts is subtracted, and whether tokens that ran away are left out."""
    metric = (
        st.segmented_control("measure", MEASURES, default=MEASURES[0], key="metric", bind="query-params") or MEASURES[0]
    )
    with st.container(horizontal=True):
        centred = st.checkbox("subtract the mean of all prompts", key="centred", bind="query-params",
                              disabled=metric == NEURONS,
                              help="prompts of one backbone share a direction that hides how they differ")  # fmt: skip
        without = st.checkbox("leave out tokens that ran away", key="without", bind="query-params",
                              disabled=metric == NEURONS,
                              help="tokens whose norm is above three times the median of their prompt")  # fmt: skip
    return metric, centred, without


def compare(
    chosen: Chosen, metric: str, centred: bool, without: bool, *, ask: bool = False
) -> tuple[Similarity, Tree] | None:
    """Similarities and their clusters; None where the worker was not asked for the neurons yet, or is on its way."""
    prompts = list(chosen.compared.values())
    if metric == NEURONS:
        active = _neurons(chosen, prompts, ask)
        if active is None:
            return None

        def make() -> tuple[Similarity, Tree]:
            found = overlap(active)
            return found, clustered(found.values)
    else:

        def make() -> tuple[Similarity, Tree]:
            ignored = [outliers(prompt) for prompt in prompts] if without else None
            found = similarity(prompts, _measure(metric), leave_out=ignored, centred=centred)
            return found, clustered(found.values)

    return remembered(("similarity", chosen.key, metric, centred, without), make)


def _measure(metric: str) -> Any:
    return metric if metric in METRICS else METRICS[0]


def _neurons(chosen: Chosen, prompts: list[np.ndarray], ask: bool) -> list[np.ndarray] | None:
    found = [neurons.known(chosen.backbone, prompt) for prompt in prompts]
    known = [one for one in found if one is not None]
    if len(known) == len(prompts):
        return known
    if not ask:
        return None
    carrier = chosen.carrier
    if carrier is None:
        st.caption("Neurons are those of a backbone: train one run on it first, so that the worker knows which.")
        return None
    lacking = [prompt for prompt, one in zip(prompts, found, strict=True) if one is None]
    last = store().get(carrier.id).snapshots()[-1]
    future = asked(
        ("neurons", chosen.key),
        lambda: measure("neurons", carrier.id, last.stage, last.step, prompts=neurons.letter(lacking)),
    )
    if future is None:
        _wait("The worker runs each prompt through the frozen backbone, once; the neurons are kept.")
    return None


def _wait(words: str) -> None:
    """Say what is under way, and look again until it is there."""
    st.caption(words)

    def look() -> None:
        futures: dict[object, Future[Any]] = st.session_state.get("inside-asked", {})
        if all(future.done() for future in futures.values()):
            st.rerun()

    st.fragment(look, run_every=0.6)()


def _name(metric: str) -> str:
    return f"similarity-{metric.replace(' ', '-')}"


def _matrix(names: list[str], found: Similarity, tree: Tree, metric: str, python: str) -> None:
    alt = drawn.tell_similarity(found.values, names, tree, metric)
    read = _READ_SIMILARITY + (_READ_NEURONS if metric == NEURONS else "")
    panel(drawn.draw_similarity(found.values, names, tree, metric), alt, read, key="similarity",
          name=_name(metric), python=python)  # fmt: skip
    if found.rows is not None:
        st.caption(
            f"Prompts differ in length: this measure compares the first {found.rows} tokens of each pair or more."
        )


def _remarks(chosen: Chosen, left_out: list[str], without: bool) -> None:
    odd = {name: np.flatnonzero(outliers(prompt)).tolist() for name, prompt in chosen.compared.items()}
    told = [f"{name}: token {', '.join(map(str, rows))}" for name, rows in odd.items() if rows]
    if told:
        with st.container(border=True):
            st.text("Tokens whose norm is above three times the median of their prompt; they may outweigh all others. "
                    + ("Left out here. " if without else "") + "; ".join(told) + ".")  # fmt: skip
    if left_out:
        st.text(
            f"Not compared, because no single prompt of vectors stands in front of the input: {', '.join(left_out)}."
        )
    if chosen.left_out:
        st.text(f"Not compared, because their width is another: {', '.join(chosen.left_out)}.")


def _map(chosen: Chosen, centred: bool, without: bool) -> None:
    names, prompts = list(chosen.compared), list(chosen.compared.values())
    means = np.stack([p[~outliers(p)].mean(0) if without else p.mean(0) for p in prompts]).astype(np.float32)
    if centred:
        means = means - means.mean(0)
    kind = "PCA"
    # The worker is asked for a map by way of a run, whichever: a map is made of vectors and knows no backbone.
    carrier = chosen.carrier or next(iter(record.candidates(store())), None)
    if len(names) >= _FEWEST and find_spec("umap") is not None and carrier is not None:
        kind = (
            st.segmented_control("kind of map", ("PCA", "UMAP"), default="PCA", key="map", bind="query-params") or kind
        )
    found = _laid(carrier, means) if kind == "UMAP" else remembered(
        ("task-map", chosen.key, centred, without),
        lambda: project(means, np.zeros((0, 0, means.shape[1])), "PCA", normalise=True),
    )  # fmt: skip
    if found is None:
        return
    tasks = [chosen.runs[place].config.task for place in chosen.places] + list(chosen.extra)
    groups = [list(dict.fromkeys(tasks)).index(task) for task in tasks]
    python = transfer_scripts.mapped(chosen, kind, groups, centred, without, "map-of-prompts")
    panel(drawn.draw_map(found, names, groups), drawn.tell_map(found, names), _READ_MAP, key=f"map-{kind}",
          name="map-of-prompts", python=python)  # fmt: skip


def _laid(carrier: Summary | None, means: np.ndarray) -> Map | None:
    # A map is of words and prompts: the words are the mean tokens here, and the prompt is one of them again.
    order = Order(means, (means[:1][None],), "UMAP", normalise=True)
    found = laid(folder_of(order.name))
    if found is None and carrier is not None:
        asked(("task-map", order.name), lambda: lay_map(carrier.id, order))
        st.caption("The worker lays out the map; it will be here in a minute.")
        st.fragment(lambda: st.rerun() if laid(folder_of(order.name)) else None, run_every=1.0)()
    return found[0] if found else None
