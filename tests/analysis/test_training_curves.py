"""Training curves: smoothing against its formula, downsampling, stages on one axis."""

from __future__ import annotations

import numpy as np
import pytest

from ptviz.analysis.training_curves import (
    StageSpan,
    TrainingCurve,
    build_training_curve,
    downsample,
    locate_stages,
    smooth_losses,
)


def test_smoothing_is_the_corrected_moving_average_written_as_a_loop():
    losses, weight = [3.0, 1.0, 2.0, 5.0], 0.7
    total = scale = 0.0
    expected = []
    for loss in losses:
        total, scale = weight * total + loss, weight * scale + 1
        expected.append(total / scale)
    np.testing.assert_allclose(smooth_losses(losses, weight), expected, atol=1e-12)


def test_smoothing_by_nothing_changes_nothing():
    np.testing.assert_array_equal(smooth_losses([3.0, 1.0, 2.0], 0.0), [3.0, 1.0, 2.0])


@pytest.mark.parametrize("weight", [-0.1, 1.0, 2.0])
def test_a_weight_of_one_is_refused(weight):
    with pytest.raises(ValueError, match="smoothing weight"):
        smooth_losses([1.0], weight)


def test_downsampling_preserves_ends_and_spikes():
    values = np.zeros(10_000)
    values[4321], values[7654] = 9.0, -9.0
    kept = downsample(values, points=100)
    assert len(kept) <= 102
    assert {0, 4321, 7654, 9999} <= set(kept.tolist())
    assert (np.diff(kept) > 0).all()


def test_downsampling_does_not_change_few_points():
    assert downsample([1.0, 2.0, 3.0]).tolist() == [0, 1, 2]


def test_downsampling_skips_segments_of_nan():
    values = np.full(1000, np.nan)
    assert {0, 999} <= set(downsample(values, points=10).tolist())


@pytest.mark.parametrize("n", [0, 1, 3])
def test_a_curve_of_any_number_of_points(n):
    curve = build_training_curve(range(n), [1.0] * n, range(n), [0.5] * n)
    assert len(curve.steps) == len(curve.losses) == len(curve.smoothed_losses) == n
    assert curve.best == ((0, 0.5) if n else None)


def test_an_empty_curve_is_the_default():
    assert build_training_curve([], []) == TrainingCurve()


def test_the_best_point_is_the_earliest_of_the_highest():
    assert build_training_curve([], [], [0, 25, 50], [0.4, 0.8, 0.8]).best == (25, 0.8)


def test_stages_are_consecutive_and_one_stopped_early_ends_where_the_next_begins():
    positions, stage_of, steps = [0, 1, 2, 3, 2, 3], [0, 0, 0, 0, 1, 1], [0, 1, 2, 3, 0, 1]
    # The first stage was planned for 10 updates and stopped after 2; its third point was recorded before a restart.
    spans = locate_stages([(0, "train", 10), (1, "rewind", 5)], positions, stage_of, steps)
    assert spans == (StageSpan("train", 0, 2), StageSpan("rewind", 2, 5))


def test_a_stage_without_points_starts_after_the_last_one():
    spans = locate_stages([(0, "train", 3), (1, "rewind", 5)], [0, 1, 2, 3], [0, 0, 0, 0], [0, 1, 2, 3])
    assert spans == (StageSpan("train", 0, 3), StageSpan("rewind", 3, 5))


def test_the_axis_ends_where_the_plan_ends():
    curve = build_training_curve([0, 1], [1.0, 1.0], stages=(StageSpan("tune", 0, 200),))
    assert curve.last_step == 200
