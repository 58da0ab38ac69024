"""Training curves ready to draw: smoothed, downsampled, with all stages on one axis of steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float, Int

MAX_POINTS = 1500
"""Points of a line after downsampling: more than a screen has columns, few enough to redraw twice a second."""


@dataclass(frozen=True)
class StageSpan:
    """One stage on the common axis of steps: its name, the step it starts after, and how many updates it makes."""

    name: str
    start: int
    steps: int


@dataclass(frozen=True)
class TrainingCurve:
    """One run, ready to draw.

    ``steps`` and ``losses`` (nats, one batch each) may be downsampled; ``smoothed_losses`` is smoothed before that.
    ``accuracies`` (0 to 1) are those on the validation set at ``evaluated_steps``, ``best`` is the highest of them,
    the earliest if several. ``majority_accuracy`` and ``zero_shot_accuracy`` are the baselines, ``further_baselines``
    those that only text-to-text tasks have, as (name, score). ``last_step`` is the last one planned. ``by_task`` holds
    the scores on each of several target tasks, as (name, scores), whose means are ``accuracies``.
    """

    steps: tuple[int, ...] = ()
    losses: tuple[float, ...] = ()
    smoothed_losses: tuple[float, ...] = ()
    evaluated_steps: tuple[int, ...] = ()
    accuracies: tuple[float, ...] = ()
    best: tuple[int, float] | None = None
    majority_accuracy: float | None = None
    zero_shot_accuracy: float | None = None
    stages: tuple[StageSpan, ...] = ()
    last_step: int = 0
    further_baselines: tuple[tuple[str, float], ...] = ()
    by_task: tuple[tuple[str, tuple[float, ...]], ...] = ()


def smooth_losses(losses: Sequence[float] | Float[np.ndarray, " n"], weight: float) -> Float[np.ndarray, " n"]:
    """Return a bias-corrected exponential moving average; ``weight`` 0 changes nothing, 0.99 is nearly flat.

    Raises:
        ValueError: unless 0 <= weight < 1.
    """
    if not 0 <= weight < 1:
        raise ValueError(f"expected a smoothing weight of at least 0 and below 1; got {weight!r}")
    import pandas as pd  # Here, because a page without a curve need not wait for it.

    values = np.asarray(losses, dtype=np.float64)
    return pd.Series(values).ewm(alpha=1 - weight, adjust=True).mean().to_numpy(dtype=np.float64)


def downsample(
    values: Sequence[float] | Float[np.ndarray, " n"], points: int = MAX_POINTS
) -> Int[np.ndarray, " selected"]:
    """Return the indices of the values to draw: minimum and maximum of ``points / 2`` equal segments, and both ends."""
    array = np.asarray(values, dtype=np.float64)
    if len(array) <= points:
        return np.arange(len(array))
    edges = np.linspace(0, len(array), max(points // 2, 1) + 1).astype(int)
    selected = {0, len(array) - 1}
    for low, high in pairwise(edges.tolist()):
        segment = array[low:high]
        if not np.isnan(segment).all():
            selected |= {low + int(np.nanargmin(segment)), low + int(np.nanargmax(segment))}
    return np.array(sorted(selected))


def locate_stages(
    stages: Sequence[tuple[int, str, int]],
    positions: Sequence[int] | Int[np.ndarray, " n"],
    stage_of: Sequence[int] | Int[np.ndarray, " n"],
    steps: Sequence[int] | Int[np.ndarray, " n"],
) -> tuple[StageSpan, ...]:
    """Return the stages begun, given as (index, name, steps planned), on the common axis of steps.

    ``positions`` (n) count a run's points through all stages, ``steps`` (n) within each point's stage ``stage_of`` (n).
    A stage without a point yet starts after the last one; a stage that stopped early ends where the next one starts.
    """
    position, stage, step = (np.asarray(column, dtype=np.int64) for column in (positions, stage_of, steps))
    spans: list[StageSpan] = []
    for index, name, planned in stages:
        inside = np.flatnonzero(stage == index)
        before = int(position[stage < index].max(initial=0))
        start = int(position[inside[0]] - step[inside[0]]) if len(inside) else before
        if spans:
            spans[-1] = StageSpan(spans[-1].name, spans[-1].start, start - spans[-1].start)
        spans.append(StageSpan(name, start, planned))
    return tuple(spans)


def build_training_curve(
    positions: Sequence[int] | Int[np.ndarray, " n"],
    losses: Sequence[float] | Float[np.ndarray, " n"],
    evaluated: Sequence[int] = (),
    accuracies: Sequence[float] = (),
    *,
    stages: tuple[StageSpan, ...] = (),
    baselines: tuple[float, float] | None = None,
    weight: float = 0.9,
    points: int = MAX_POINTS,
) -> TrainingCurve:
    """Build the curve of one run from its points on the common axis of steps.

    ``losses`` (n) are in nats, ``accuracies`` from 0 to 1. ``baselines`` are the accuracies of the majority class and
    of zero-shot; ``weight`` is that of ``smooth_losses``.

    Raises:
        ValueError: unless 0 <= weight < 1.
    """
    values = np.asarray(losses, dtype=np.float64)
    smoothed = smooth_losses(values, weight)
    selected = downsample(values, points)
    pairs = [(int(step), float(accuracy)) for step, accuracy in zip(evaluated, accuracies, strict=True)]
    planned = stages[-1].start + stages[-1].steps if stages else 0
    return TrainingCurve(
        steps=tuple(int(positions[i]) for i in selected),
        losses=tuple(float(values[i]) for i in selected),
        smoothed_losses=tuple(float(smoothed[i]) for i in selected),
        evaluated_steps=tuple(step for step, _ in pairs),
        accuracies=tuple(accuracy for _, accuracy in pairs),
        best=max(pairs, key=lambda point: (point[1], -point[0]), default=None),
        majority_accuracy=baselines[0] if baselines else None,
        zero_shot_accuracy=baselines[1] if baselines else None,
        stages=stages,
        last_step=max([planned, *(int(p) for p in positions[-1:]), *(step for step, _ in pairs[-1:])]),
    )
