"""Waywardness: prompts that are pulled to a sentence, and what that costs them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import plotly.graph_objects as go

from ptviz.analysis.waywardness import Waywardness, WaywardRun, compute_waywardness, join_tokens
from ptviz.figures.waywardness import describe_waywardness, draw_waywardness
from ptviz.nearest_tokens import nearest_tokens
from ptviz.plots.alt_text import with_alt
from ptviz.plots.cache import cached_by_signature
from ptviz.plots.run_argument import RunOrId, get_runs
from ptviz.plots.run_tensors import load_words
from ptviz.profanity import mask_text
from ptviz.runs import Run
from ptviz.runs.method_tensors import load_method_tensors
from ptviz.tasks.metrics import shared_metric


def plot_waywardness(runs: Sequence[RunOrId]) -> go.Figure:
    """Draw, for runs that were pulled to one sentence, the test score lost against the words shared with it (F1).

    Prompt waywardness is that of Khashabi et al. (2022), https://aclanthology.org/2022.naacl-main.266.

    Raises:
        ValueError: if the metrics of the runs' tasks differ.
    """
    every = get_runs(runs)
    found, metric = measure_waywardness(every), shared_metric(run.metric for run in every)
    return with_alt(draw_waywardness(mask_nearest_words(found), metric), describe_waywardness(found, metric))


def measure_waywardness(runs: Sequence[Run]) -> Waywardness:
    """Return the nearest words of finished runs that were pulled to one sentence, and the test score they lost.

    Raises:
        StoreError: if a prompt cannot be read.
    """
    sentence, pulled = "", []
    for run in runs:
        text, sentence = cached_by_signature(("wayward", str(run.path), run.id), partial(read_nearest_words, run))
        finished, hyperparameters = run.history().finished, run.config.hyperparameters
        accuracy = finished.test if finished is not None else float("nan")
        gamma = float(hyperparameters.get("gamma", 0.0))
        pulled.append(WaywardRun(run.id, gamma, run.config.training.seed, accuracy, text))
    return compute_waywardness(sentence, pulled)


def mask_nearest_words(found: Waywardness) -> Waywardness:
    """Return the same numbers with the profane words of each prompt masked."""
    points = [replace(p, run=replace(p.run, nearest_words=mask_text(p.run.nearest_words))) for p in found.points]
    return replace(found, points=tuple(points))


def read_nearest_words(run: Run) -> tuple[str, str]:
    """Return the words nearest (by L2) to a run's best prompt, and those of the sentence that it was pulled to.

    Raises:
        StoreError: if the prompt cannot be read.
    """
    words = load_words(run.config.backbone)
    tensors = load_method_tensors(run.config, run.prompt(), words.shape)
    m = len(tensors["P"].array)
    pair = np.concatenate([tensors["P"].array, tensors["D"].array])
    found = words.words(nearest_tokens(pair, words.table, 1, "L2").ids)
    return join_tokens(found[:m]), join_tokens(found[m:])
