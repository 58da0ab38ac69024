"""Whether the similarity of two prompts predicts transfer between their tasks.

Results differ: Vu et al., "SPoT", ACL 2022, section 3, https://aclanthology.org/2022.acl-long.346, find
correlations with the gain from cosines; Su et al., "On Transferability of Prompt Tuning for Natural Language
Processing", NAACL 2022, section 5, https://aclanthology.org/2022.naacl-main.290, find vector similarities weak.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.stats import rankdata

BOOTSTRAP_RESAMPLES = 500
"""Resamples of the bootstrap of a correlation."""
_MIN_POINTS = 4
"""Points below which no correlation is computed: three points lie near some line by chance."""


@dataclass(frozen=True)
class CorrelationEstimate:
    """A correlation (-1 to 1) and its 95% bootstrap interval; NaN with too few points."""

    value: float = math.nan
    low: float = math.nan
    high: float = math.nan


@dataclass(frozen=True, eq=False)
class TransferCorrelation:
    """Similarity against measured transfer: n points, each a source prompt on another task.

    ``targets`` and ``sources`` are each point's task (row of the grid) and prompt (column).
    """

    similarity: Float[np.ndarray, " n"]
    transfer: Float[np.ndarray, " n"]
    targets: tuple[int, ...]
    sources: tuple[int, ...]
    pearson: CorrelationEstimate
    spearman: CorrelationEstimate


def error_reduction(reached: Float[np.ndarray, "t n"], scratch: Float[np.ndarray, "t n"]) -> Float[np.ndarray, "t n"]:
    """Return the relative error reduction (s' - s) / (1 - s) of accuracies s' with transfer and s from scratch.

    1 if no error is left, 0 if nothing changes, negative if transfer harms; NaN where there was no error from scratch.
    Source: Vu et al., "SPoT", ACL 2022, section 3, https://aclanthology.org/2022.acl-long.346.
    """
    errors = 1 - np.asarray(scratch, dtype=np.float64)
    reduction = np.full(errors.shape, math.nan)
    np.divide(reached - scratch, errors, out=reduction, where=errors > 1e-9)
    return reduction


def mean_error_reduction(
    reached: Float[np.ndarray, "t n seeds"], scratch: Float[np.ndarray, "t n seeds"]
) -> Float[np.ndarray, "t n"]:
    """Return the error reduction of mean accuracies over the seeds that have both runs; NaN where there is none."""
    both = np.isfinite(reached) & np.isfinite(scratch)
    count = both.sum(-1)
    means = [
        np.divide(np.where(both, one, 0).sum(-1), count, out=np.full(count.shape, math.nan), where=count > 0)
        for one in (reached, scratch)
    ]
    return error_reduction(*means)


def correlate_transfer(
    similarity: Float[np.ndarray, "n n"],
    trained_on: Sequence[str],
    measured: Float[np.ndarray, "t n"],
    tasks: Sequence[str],
    *,
    resamples: int = BOOTSTRAP_RESAMPLES,
    seed: int = 0,
) -> TransferCorrelation:
    """Correlate the similarity of source prompt j to the prompts of task i with the measured transfer of j to i.

    ``measured`` holds accuracies or gains, rows target tasks, columns source prompts, NaN where nothing was measured.
    A prompt on its own task is no transfer and is left out; so is a task that no prompt here was trained on. Where
    several prompts were trained on the target task, their mean similarity counts.

    The points of one source prompt depend on each other, so the bootstrap resamples source prompts, not points (a
    cluster bootstrap: Davison and Hinkley, "Bootstrap Methods and their Application", 1997, section 3.8).
    """
    points: list[tuple[float, float, int, int]] = []
    for row, task in enumerate(tasks):
        own = [i for i, name in enumerate(trained_on) if name == task]
        for column, name in enumerate(trained_on):
            value, alike = float(measured[row, column]), float(np.mean(similarity[own, column])) if own else math.nan
            if name != task and math.isfinite(value) and math.isfinite(alike):
                points.append((alike, value, row, column))
    x = np.array([point[0] for point in points], dtype=np.float64)
    y = np.array([point[1] for point in points], dtype=np.float64)
    sources = tuple(point[3] for point in points)
    drawn = _resample_sources(sources, resamples, seed)
    return TransferCorrelation(
        similarity=x,
        transfer=y,
        targets=tuple(point[2] for point in points),
        sources=sources,
        pearson=_estimate_correlation(x, y, drawn, ranked=False),
        spearman=_estimate_correlation(x, y, drawn, ranked=True),
    )


def _resample_sources(sources: tuple[int, ...], resamples: int, seed: int) -> list[np.ndarray]:
    """Return the indices of the points in each resample; none with fewer than three source prompts."""
    blocks = [np.flatnonzero(np.array(sources) == source) for source in dict.fromkeys(sources)]
    if len(blocks) < 3:
        return []
    picks = np.random.default_rng(seed).integers(len(blocks), size=(resamples, len(blocks)))
    return [np.concatenate([blocks[block] for block in pick.tolist()]) for pick in picks]


def _estimate_correlation(
    x: np.ndarray, y: np.ndarray, drawn: Sequence[np.ndarray], *, ranked: bool
) -> CorrelationEstimate:
    if len(x) < _MIN_POINTS:
        return CorrelationEstimate()
    value = _correlation(x, y, ranked)
    resampled = np.array([_correlation(x[indices], y[indices], ranked) for indices in drawn])
    resampled = resampled[np.isfinite(resampled)]
    if not math.isfinite(value) or not len(resampled):
        return CorrelationEstimate(value)
    low, high = np.quantile(resampled, (0.025, 0.975)).tolist()
    return CorrelationEstimate(value, low, high)


def rank_correlation(x: Sequence[float], y: Sequence[float]) -> float:
    """Return Spearman's correlation of two measurements of the same things; 0 where one of them is constant.

    Raises:
        ValueError: if their numbers differ, or are below three.
    """
    if len(x) != len(y) or len(x) < 3:
        raise ValueError(f"expected two measurements of the same three things or more; got {len(x)} and {len(y)}")
    value = _correlation(np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64), True)
    return 0.0 if math.isnan(value) else value


def _correlation(x: np.ndarray, y: np.ndarray, ranked: bool) -> float:
    """Return Pearson's correlation, or Spearman's if ``ranked``; NaN where x or y is constant."""
    if ranked:
        x, y = rankdata(x), rankdata(y)
    x, y = x - x.mean(), y - y.mean()
    size = float(np.sqrt((x @ x) * (y @ y)))
    return float(np.clip(float(x @ y) / size, -1, 1)) if size > 1e-12 else math.nan
