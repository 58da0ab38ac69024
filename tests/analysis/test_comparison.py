"""Statistics of a comparison of methods, checked by hand."""

from __future__ import annotations

import math

import pytest

from ptviz.analysis.comparison import (
    TABLE_COLUMNS,
    RunResult,
    build_learning_rate_grid,
    compare_paired,
    compare_with_each,
    compute_seed_bands,
    pareto_front,
    steps_to_reach,
    summarise_methods,
    table_rows,
)


def make_result(method: str, seed: int, test: float, **more) -> RunResult:
    return RunResult(method, seed, f"{method}-{seed}", test, **more)


def test_steps_to_a_share_of_the_best_accuracy():
    evaluated, accuracies = (0, 25, 50, 75), (0.2, 0.77, 0.8, 0.7)
    assert steps_to_reach(evaluated, accuracies, 0.95) == 25
    assert steps_to_reach(evaluated, accuracies, 1.0) == 50
    assert steps_to_reach((), (), 0.9) is None


def test_summaries_are_sorted_by_mean_and_unknown_values_stay_none():
    order = summarise_methods(
        [
            make_result("a", 1, 0.7),
            make_result("b", 0, 0.9),
            make_result("a", 0, 0.6, trained=10, seconds=4.0, memory=5),
        ]
    )
    assert [one.method for one in order] == ["b", "a"]
    assert order[1].tests == (0.6, 0.7)
    assert order[1].sd == pytest.approx(0.1 / math.sqrt(2))
    assert (order[1].trained, order[1].seconds, order[1].memory) == (10, 4.0, 5)
    assert (order[0].sd, order[0].interval, order[0].trained, order[0].steps95) == (None, None, None, None)
    assert summarise_methods([]) == ()


def test_the_table_names_every_column():
    table = table_rows(summarise_methods([make_result("a", 0, 0.5, memory=2**21)]))
    assert tuple(table[0]) == TABLE_COLUMNS
    assert table[0]["memory_mb"] == 2.0


def test_methods_are_compared_seed_by_seed():
    first, second = summarise_methods(
        [*(make_result("a", s, 0.8 + s / 100) for s in (0, 1, 2)), *(make_result("b", s, 0.7) for s in (1, 2, 3))]
    )
    pair = compare_paired(first, second)
    assert pair.seeds == (1, 2)
    assert pair.differences == pytest.approx((0.11, 0.12))
    assert pair.interval.low < pair.mean < pair.interval.high
    assert pair.verdict == "unclear", "two seeds carry no verdict"
    assert math.isnan(
        compare_paired(
            summarise_methods([make_result("a", 0, 1.0)])[0], summarise_methods([make_result("b", 1, 1.0)])[0]
        ).mean
    )


def test_a_seed_that_repeats_counts_once():
    runs = [make_result("a", seed, 0.8 + (seed + more) / 100) for more in (0, 2) for seed in range(5)]
    first, second = summarise_methods([*runs, *(make_result("b", seed, 0.7) for seed in range(5))])
    assert first.interval is None, "runs of one seed are no sample of seeds"
    assert (first.seed_count, table_rows([first])[0]["seeds"]) == (5, 5)
    pair = compare_paired(first, second)
    assert pair.seeds == (0, 1, 2, 3, 4)
    assert pair.differences == pytest.approx([0.11 + seed / 100 for seed in range(5)])
    three = [make_result("a", seed, 0.8 + more / 100) for more in (0, 1) for seed in range(3)]
    first, second = summarise_methods([*three, *(make_result("b", seed, 0.7 + seed / 1000) for seed in range(3))])
    assert compare_paired(first, second).verdict == "unclear", "three seeds carry no verdict, however often they ran"


def test_verdicts_are_corrected_for_the_number_of_pairs():
    noise = (0.0, 0.02, -0.01, 0.01, -0.02)
    made = {"best": 0.9, "near": 0.885, "far": 0.6}
    runs = [
        make_result(method, seed, mean + (noise[seed] if method != "best" else 0.0))
        for method, mean in made.items()
        for seed in range(5)
    ]
    best, *others = summarise_methods(runs)
    near, far = sorted(compare_with_each(best, others), key=lambda pair: pair.mean)
    assert near.p == near.adjusted
    assert far.adjusted == pytest.approx(2 * far.p)
    assert (near.verdict, far.verdict) == ("unclear", "better")
    assert compare_with_each(others[-1], [best])[0].verdict == "worse"
    # Alone the near one would be judged by its own p, with others by a larger one.
    many = compare_with_each(best, [*others, *others])
    assert [pair.adjusted >= pair.p for pair in many] == [True] * 4


def test_one_seed_has_an_interval_over_its_test_rows():
    rows = {"a": (1.0,) * 80 + (0.0,) * 20, "b": (1.0,) * 70 + (0.0,) * 30}
    first, second = summarise_methods(make_result(name, 3, sum(r) / 100, rows=r) for name, r in rows.items())
    assert first.interval.over == "rows"
    assert first.interval.low < 0.8 < first.interval.high
    pair = compare_paired(first, second)
    assert (pair.interval.over, pair.p, pair.verdict) == ("rows", None, "unclear")
    assert 0 < pair.interval.low < 0.1 < pair.interval.high, "ten rows differ, all in favour of the first"
    assert compare_paired(first, summarise_methods([make_result("b", 4, 0.7, rows=rows["b"])])[0]).interval is None


def test_a_band_covers_every_seed_at_every_step():
    made = compute_seed_bands([
        make_result("a", 0, 0.5, evaluated=(0, 20), accuracies=(0.2, 0.6)),
        make_result("a", 1, 0.5, evaluated=(0, 10, 20), accuracies=(0.4, 0.5, 0.8)),
        make_result("b", 0, 0.5),
    ])  # fmt: skip
    assert [band.method for band in made] == ["a", "b"]
    assert made[0].steps == (0, 10, 20)
    assert made[0].mean == pytest.approx((0.3, 0.35, 0.7))
    assert made[0].low == (0.2, 0.2, 0.6)
    assert made[0].high == (0.4, 0.5, 0.8)
    assert made[1].steps == ()


def test_the_pareto_front_holds_undominated_points():
    assert pareto_front([1, 2, 3, 2, None], [0.5, 0.4, 0.9, 0.6, 1.0]) == (0, 3, 2)
    assert pareto_front([], []) == ()
    assert pareto_front([1, 1], [0.5, 0.7]) == (1,)


def test_a_grid_counts_runs_above_zero_shot():
    made = build_learning_rate_grid("a", [(0.1, 0, 0.5, 0.4), (0.1, 1, 0.3, 0.4), (1.0, 0, 0.4, 0.4)])
    assert made.learning_rates == (0.1, 1.0)
    assert made.accuracies == ((0.5, 0.3), (0.4, None))
    assert made.share_above_zero_shot == pytest.approx(1 / 3)
    assert build_learning_rate_grid("a", []).share_above_zero_shot is None
