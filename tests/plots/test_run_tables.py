"""Runs grouped by method, and the settings that differ between them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ptviz.analysis.statistics import student_interval
from ptviz.plots.run_tables import compare_settings, group_summaries
from ptviz.runs import RunConfig, RunSummary, Status
from ptviz.training import TrainConfig


def entry(seed: int, test: float | None, lr: float | None = None, **settings: object) -> RunSummary:
    config = RunConfig(training=TrainConfig(seed=seed, lr=lr), **settings).checked()  # type: ignore[arg-type]
    status = Status("stopped" if test is None else "finished", test=test, accuracy=test, zero_shot=0.5, seconds=10.0)
    return RunSummary(f"{config.method}-{seed}-{lr}", config, status, trained=10, lr=lr or 0.3)


def test_seeds_of_one_method_have_a_mean_and_students_interval() -> None:
    runs = [entry(seed, test) for seed, test in enumerate((0.8, 0.7, 0.9))] + [entry(9, None)]
    better = [entry(0, 0.95, method="dept")]
    first, second = group_summaries([*runs, *better])
    assert (first["method"], first["runs"], first["low"], first["sd"]) == ("dept", 1, None, None)
    interval = student_interval([0.8, 0.7, 0.9])
    assert interval is not None
    assert (second["mean"], second["low"], second["high"]) == pytest.approx((0.8, interval.low, interval.high))
    assert (second["runs"], second["seeds"], second["differ"], second["zero_shot"]) == (3, "0, 1, 2", "", 0.5)
    assert group_summaries([]) == []


def test_runs_that_differ_in_more_than_the_seed_have_no_interval() -> None:
    (row,) = group_summaries([entry(0, 0.8), entry(1, 0.7, lr=0.1)])
    assert (row["differ"], row["low"]) == ("lr", None)
    (row,) = group_summaries([entry(0, 0.8), entry(0, 0.7)])
    assert row["low"] is None, "one seed twice is no sample of seeds"
    assert len(group_summaries([entry(0, 0.8), entry(0, 0.7, task="sms")])) == 2


def test_the_learning_rate_that_was_used_is_compared() -> None:
    one, other = entry(0, 0.8), entry(1, 0.7, lr=0.1)
    rows = {row["setting"]: row for row in compare_settings([one, other])}
    assert set(rows) == {"seed", "lr"}
    assert (rows["lr"][one.id], rows["lr"][other.id]) == (0.3, 0.1)
    assert "lr" not in {row["setting"] for row in compare_settings([replace(one, lr=0.1), other])}
