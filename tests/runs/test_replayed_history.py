"""The history of a run as it was at an earlier step."""

from __future__ import annotations

import numpy as np
import pytest

from ptviz.runs.history import HistoryBuilder, RunHistory
from ptviz.training.events import Baselines, Evaluated, Finished, StageStarted, StepCompleted


@pytest.fixture
def history() -> RunHistory:
    """Two stages of three steps each, evaluated at the end of either, with a pause before the last evaluation."""
    builder = HistoryBuilder()
    builder.add(Baselines(0.2, 0.3, 1.5))
    for stage in (0, 1):
        builder.add(StageStarted(stage, f"stage {stage}", 3))
        for step in range(3):
            builder.add(StepCompleted(stage, step, 2.0 - step, 0.1, 1.0, 10.0 * stage + step))
        builder.add(Evaluated(stage, 3, 1.0, 0.5 + stage / 10, True, 10.0 * stage + 5))
    builder.add(Finished(0.6, 0.55, 1.0, 0.2, 0.3, 3, 6, 15.0, 1.0))
    return builder.build()


def test_the_timeline_has_every_step_once_and_ascends(history: RunHistory) -> None:
    positions, seconds = history.timeline()
    assert positions.tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert seconds.tolist() == [0, 1, 2, 10, 11, 12, 15]


def test_a_clock_that_went_back_does_not_turn_the_replay_round() -> None:
    builder = HistoryBuilder()
    for step, seconds in enumerate((0.0, 5.0, 3.0, 6.0)):
        builder.add(StepCompleted(0, step, 1.0, 0.1, 1.0, seconds))
    assert builder.build().timeline()[1].tolist() == [0, 5, 5, 6]


def test_an_earlier_history_knows_nothing_of_what_came_later(history: RunHistory) -> None:
    early = history.until(2)
    assert early.global_steps.tolist() == [0, 1, 2]
    assert early.evaluations == ()
    assert [stage.index for stage in early.stages_started] == [0]
    assert early.best_evaluation is None
    assert early.finished is None
    assert early.baselines == history.baselines
    later = history.until(4)
    assert later.evaluation_steps == (3,)
    assert later.best_evaluation is not None
    assert later.best_evaluation.accuracy == 0.5
    assert [stage.index for stage in later.stages_started] == [0, 1]
    assert len(later.seconds) == len(later.losses) == len(later.learning_rates) == len(later) == 5


def test_the_last_step_is_the_whole_history(history: RunHistory) -> None:
    whole = history.until(6)
    assert whole.finished == history.finished
    assert np.array_equal(whole.losses, history.losses)
    assert whole.evaluations == history.evaluations
