"""What figures are made of, by the id of a run or the name of a method: a script gets from here what a page shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ptviz.analysis.neighbours import nearest_tokens
from ptviz.analysis.waywardness import Waywardness, WaywardRun, compute_waywardness, join_tokens
from ptviz.runs import Run
from ptviz.runs.embedding_table import Vocabulary
from ptviz.runs.method_tensors import load_method_tensors


def read_nearest_words(run: Run, words: Vocabulary) -> tuple[str, str]:
    """The words nearest (by L2) to a run's best prompt, and those of the sentence that it was pulled to.

    Raises:
        StoreError: if the prompt cannot be read.
    """
    parts = load_method_tensors(run.config, run.prompt(), words.shape)
    m = len(parts["P"].array)
    pair = np.concatenate([parts["P"].array, parts["D"].array])
    told = words.words(nearest_tokens(pair, words.table, 1, "L2").ids)
    return join_tokens(told[:m]), join_tokens(told[m:])


def measure_waywardness(
    runs: Sequence[Run], words: Vocabulary, read: Callable[[Run, Vocabulary], tuple[str, str]] = read_nearest_words
) -> Waywardness:
    """What finished runs that were pulled to one sentence read as, and what they lost.

    Raises:
        StoreError: if a prompt cannot be read.
    """
    sentence, pulled = "", []
    for run in runs:
        text, sentence = read(run, words)
        finished, knobs = run.history().finished, run.config.knobs
        accuracy = finished.test if finished is not None else float("nan")
        pulled.append(WaywardRun(run.id, float(knobs.get("gamma", 0.0)), run.config.training.seed, accuracy, text))
    return compute_waywardness(sentence, pulled)
