"""Importance of settings, means over two of them, and the best of each method, on made-up scores."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from ptviz.analysis.comparison import RunResult
from ptviz.analysis.statistics import student_interval
from ptviz.analysis.sweep import SweepRow, best_settings, build_sweep_table, estimate_importance, mean_scores
from ptviz.figures.sweep import draw_parallel_coordinates, draw_setting_importance, draw_sweep_heatmap


def rows(score, methods=("a", "b"), seeds=3):
    for method, lr, m, seed in itertools.product(methods, (0.1, 0.2, 0.3, 0.4), (5, 10), range(seeds)):
        settings = {"method": method, "lr": lr, "m": m, "steps": 10, "seed": seed}
        yield SweepRow(f"{method}{lr}{m}{seed}", method, settings, "finished", score(method, lr, m, seed), 0.5)


def test_the_setting_that_moves_the_score_has_the_importance():
    table = build_sweep_table(rows(lambda method, lr, m, seed: lr + 0.01 * (m == 5)))
    assert table.names == ("method", "lr", "m", "seed")  # steps do not vary
    found = estimate_importance(table)
    assert found.names[0] == "lr"
    assert found.shares[0] > 0.9
    assert found.fit > 0.9
    assert estimate_importance(table) == found


def test_an_interaction_is_no_main_effect():
    table = build_sweep_table(rows(lambda method, lr, m, seed: float((lr > 0.2) == (m == 5))))
    assert max(estimate_importance(table).shares) < 0.1


def test_importance_needs_runs_and_scores_that_differ():
    assert estimate_importance(build_sweep_table(rows(lambda *_: 0.5))).names == ()
    assert estimate_importance(build_sweep_table([*rows(lambda m, lr, *_: lr)][:7])).names == ()


def test_means_are_over_seeds_and_all_other_settings():
    table = build_sweep_table(rows(lambda method, lr, m, seed: lr + seed + m))
    means = mean_scores(table, "lr", "m")
    assert means.shape == (2, 4)
    assert means[1, 3] == pytest.approx(0.4 + 1 + 10)
    gone = [row for row in table.rows if (row.settings["lr"], row.settings["m"]) != (0.4, 10)]
    assert np.isnan(mean_scores(build_sweep_table(gone), "lr", "m")[1, 3])
    with pytest.raises(ValueError, match="got 'steps'"):
        mean_scores(table, "lr", "steps")


def test_the_best_is_chosen_by_validation_and_reported_by_test():
    table = build_sweep_table(rows(lambda method, lr, m, seed: (lr if method == "a" else 0.4 - lr) + m / 100))
    tests = {row.run: 0.1 * row.settings["seed"] + row.settings["lr"] for row in table.rows}
    results = {row.run: RunResult(row.method, row.settings["seed"], row.run, tests[row.run]) for row in table.rows}
    first, second = best_settings(table, results)
    assert (first.summary.method, first.settings, first.tried) == ("a", {"lr": 0.4, "m": 10}, 8)
    assert first.summary.mean == pytest.approx(0.5)
    interval = student_interval([0.4, 0.5, 0.6])
    assert (first.summary.interval.low, first.summary.interval.high) == pytest.approx((interval.low, interval.high))
    assert (second.summary.method, second.settings["lr"]) == ("b", 0.1)


def test_settings_with_fewer_seeds_are_not_chosen():
    table = build_sweep_table(rows(lambda method, lr, m, seed: lr))
    few = [row for row in table.rows if row.settings["lr"] < 0.4 or row.settings["seed"] == 0]
    results = {row.run: RunResult(row.method, row.settings["seed"], row.run, 0.5) for row in table.rows}
    assert {one.settings["lr"] for one in best_settings(build_sweep_table(few), results)} == {0.3}


@pytest.mark.parametrize("count", [0, 1, 48])
def test_the_figures_draw_nothing_one_and_many(count: int):
    table = build_sweep_table([*rows(lambda method, lr, m, seed: lr)][:count])
    figures = [draw_parallel_coordinates(table), draw_setting_importance(estimate_importance(table))]
    if count == 48:
        figures.append(draw_sweep_heatmap(table, "lr", "method", mean_scores(table, "lr", "method")))
        drawn = [value for trace in figures[0].data[:-1] for value in trace.x if value is None]
        assert len(drawn) == 48, "a line for every run"
        assert list(figures[2].layout.yaxis.ticktext) == ["a", "b"]
    for figure in figures:
        assert figure.to_json()
        assert bool(figure.data) == (count == 48) or not table.names
