"""Training curves made ready to draw: smoothed, thinned, with stages laid end to end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

MAX_POINTS = 1500
"""A line keeps at most about this many points: more than a screen has columns, few enough to redraw twice a second."""


@dataclass(frozen=True)
class StageSpan:
    """One stage on the common axis of steps: its name, the step it starts after, and how many updates it makes."""

    name: str
    start: int
    steps: int


@dataclass(frozen=True)
class TrainingCurve:
    """One run, ready to draw.

    ``steps`` and ``losses`` (nats, one batch each) may be thinned, ``smooth_losses`` is the loss smoothed before
    thinning;
    ``evaluated`` and ``accuracies`` (0 to 1) describe the validation rows, ``best`` is their highest point, the
    earliest if several. ``majority`` and ``zero_shot`` are accuracies to beat. ``end`` is the last step planned.
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


def smooth_losses(losses: Sequence[float] | Float[np.ndarray, " n"], weight: float) -> Float[np.ndarray, " n"]:
    """An exponential moving average, corrected for its start; ``weight`` 0 changes nothing, 0.99 is nearly flat.

    Raises:
        ValueError: unless 0 <= weight < 1.
    """
    if not 0 <= weight < 1:
        raise ValueError(f"expected a smoothing weight of at least 0 and below 1; got {weight!r}")
    values = np.asarray(losses, dtype=np.float64)
    return pd.Series(values).ewm(alpha=1 - weight, adjust=True).mean().to_numpy(dtype=np.float64)


def downsample(values: Sequence[float] | Float[np.ndarray, " n"], points: int = MAX_POINTS) -> Int[np.ndarray, " kept"]:
    """Which of many values to draw: the lowest and highest of each of ``points / 2`` equal stretches, and both ends."""
    array = np.asarray(values, dtype=np.float64)
    if len(array) <= points:
        return np.arange(len(array))
    edges = np.linspace(0, len(array), max(points // 2, 1) + 1).astype(int)
    kept = {0, len(array) - 1}
    for low, high in pairwise(edges.tolist()):
        stretch = array[low:high]
        if not np.isnan(stretch).all():
            kept |= {low + int(np.nanargmin(stretch)), low + int(np.nanargmax(stretch))}
    return np.array(sorted(kept))


def locate_stages(
    stages: Sequence[tuple[int, str, int]],
    positions: Sequence[int] | Int[np.ndarray, " n"],
    stage_of: Sequence[int] | Int[np.ndarray, " n"],
    steps: Sequence[int] | Int[np.ndarray, " n"],
) -> tuple[StageSpan, ...]:
    """Stages begun, given as (index, name, steps planned), on the common axis of steps.

    ``positions`` count a run's points through all stages and ``steps`` within the stage ``stage_of`` each. A stage
    without a point yet starts after the last one; a stage left early ends where the next one starts.
    """
    place, stage, step = (np.asarray(column, dtype=np.int64) for column in (positions, stage_of, steps))
    spans: list[StageSpan] = []
    for index, name, planned in stages:
        inside = np.flatnonzero(stage == index)
        before = int(place[stage < index].max(initial=0))
        start = int(place[inside[0]] - step[inside[0]]) if len(inside) else before
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
    """A run's points on the common axis of steps, as a curve to draw.

    ``baselines`` are the majority class's and the zero-shot accuracy; ``weight`` is the smoothing of the loss.

    Raises:
        ValueError: for a bad smoothing weight.
    """
    values = np.asarray(losses, dtype=np.float64)
    smoothed = smooth_losses(values, weight)
    kept = downsample(values, points)
    pairs = [(int(step), float(accuracy)) for step, accuracy in zip(evaluated, accuracies, strict=True)]
    planned = stages[-1].start + stages[-1].steps if stages else 0
    return TrainingCurve(
        steps=tuple(int(positions[i]) for i in kept),
        losses=tuple(float(values[i]) for i in kept),
        smoothed_losses=tuple(float(smoothed[i]) for i in kept),
        evaluated_steps=tuple(step for step, _ in pairs),
        accuracies=tuple(accuracy for _, accuracy in pairs),
        best=max(pairs, key=lambda point: (point[1], -point[0]), default=None),
        majority_accuracy=baselines[0] if baselines else None,
        zero_shot_accuracy=baselines[1] if baselines else None,
        stages=stages,
        last_step=max([planned, *(int(p) for p in positions[-1:]), *(step for step, _ in pairs[-1:])]),
    )
