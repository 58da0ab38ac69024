"""The vote of several prompts: on a task's test set from the predictions that runs have recorded, and on new texts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ptviz.analysis.comparison import RunResult
from ptviz.analysis.ensemble import EnsembleScores, score_ensemble, vote
from ptviz.engine.loaded_prompt import LoadedPrompt
from ptviz.engine.mixed_batches import answer_with_each
from ptviz.runs.run import Run
from ptviz.runs.run_file_io import StoreError

if TYPE_CHECKING:
    import pandas as pd

MIN_MEMBERS = 3
"""Fewer prompts have no majority against one."""


def score_runs(runs: Sequence[Run]) -> EnsembleScores:
    """Return the accuracies of runs, of their vote and of their mean probability, on their test rows.

    Raises:
        StoreError: if there is one run only, the task has no classes, a run has no predictions, or the tasks, test rows
            or backbones of the runs differ.
    """
    if len(runs) < 2:
        raise StoreError(f"expected the runs of at least two prompts; got {len(runs)}")
    backbones = {run.config.backbone for run in runs}
    if len(backbones) > 1:
        raise StoreError(f"expected prompts of one backbone, which answers for all; got {', '.join(sorted(backbones))}")
    frames = [_predictions(run) for run in runs]
    columns = [name for name in frames[0].columns if name.startswith("p(")]
    for run, frame in zip(runs, frames, strict=True):
        own = [name for name in frame.columns if name.startswith("p(")]
        if own != columns or not frame[["text", "label"]].equals(frames[0][["text", "label"]]):
            raise StoreError(
                f"expected runs on the same test rows; those of {run.id} are not those of {runs[0].id}: train with one "
                "task and one number of test rows"
            )
    classes = {name[2:-1]: index for index, name in enumerate(columns)}
    probabilities = np.stack([frame[columns].to_numpy(dtype=np.float64) for frame in frames])
    return score_ensemble(probabilities, [classes[str(label)] for label in frames[0]["label"]])


def answer_with_ensemble(members: Sequence[LoadedPrompt], texts: Sequence[str]) -> dict[str, Any]:
    """Return the answers of several prompts for one task to new texts, and those of the prompts together.

    Returns:
        What ``answer_with_each`` returns, and ``"vote": [n classes]`` and ``"mean": (n, c)``, the mean probabilities.

    Raises:
        ValueError: if the prompts are fewer than two or of several backbones or tasks, or a text is empty.
    """
    found = answer_with_each(members, texts)
    probabilities = np.array(found["members"])
    voted = [found["classes"][index] for index in vote(probabilities)]
    return {**found, "vote": voted, "mean": probabilities.mean(0).tolist()}


def score_methods(results: Iterable[RunResult], get_run: Callable[[str], Run]) -> dict[str, EnsembleScores]:
    """Return the scores of the vote of each method's seeds, for methods of at least ``MIN_MEMBERS`` seeds.

    A method whose runs cannot vote, such as those on text-to-text tasks, is left out.
    """
    groups: dict[str, list[str]] = defaultdict(list)
    for result in results:
        groups[result.method].append(result.run)
    found = {}
    for method, ids in groups.items():
        if len(ids) >= MIN_MEMBERS:
            try:
                found[method] = score_runs([get_run(id) for id in ids])
            except StoreError:
                continue
    return found


def _predictions(run: Run) -> pd.DataFrame:
    frame = run.predictions()
    if frame is None:
        raise StoreError(f"run {run.id} has no predictions on the test set yet: wait for its end")
    classes = {name[2:-1] for name in frame.columns if name.startswith("p(")}
    if "task" in frame or not classes or not set(frame["label"].astype(str)) <= classes:
        raise StoreError(f"expected runs on one task with classes, whose predictions can vote; {run.id} is not one")
    return frame
