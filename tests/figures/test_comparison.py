"""The pictures of a race draw for nothing, one method and sixteen."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from math import log

import numpy as np
import pytest

from ptviz.analysis.comparison import (
    RunResult,
    SeedBand,
    build_learning_rate_grid,
    compute_seed_bands,
    summarise_methods,
)
from ptviz.figures.comparison import (
    COST_LABELS,
    MethodStyle,
    draw_learning_rate_grid,
    draw_pareto_front,
    draw_seed_bands,
    draw_seed_spread,
    draw_small_multiples,
    log_ticks,
)
from ptviz.figures.convergence import draw_convergence
from ptviz.figures.label_placement import _hidden_area, _label_bounds, place_labels, text_positions
from ptviz.figures.style import series_style, style_variant

HOSTILE = "<b>bold</b> <script>alert(1)</script> %{x}"


def laps(n: int, seeds: int = 3) -> list[RunResult]:
    return [
        RunResult(f"m{i}", s, test=0.5 + 0.02 * i + 0.01 * s, zero_shot=0.4, trained=10 ** (i % 5 + 1), seconds=i + 1.0,
            memory=(i + 1) << 20, length=i, evaluated=(0, 25), accuracies=(0.3, 0.5 + 0.02 * i))
        for i in range(n) for s in range(seeds)
    ]  # fmt: skip


def looks(n: int) -> dict[str, MethodStyle]:
    return {f"m{i}": MethodStyle(HOSTILE if i == 0 else f"Method {i}", series_style(i)) for i in range(n)}


@pytest.mark.parametrize("n", [0, 1, 16])
def test_every_picture_draws_any_number_of_methods(n):
    made, known = laps(n), looks(n)
    order = summarise_methods(made)
    figures = [
        draw_seed_bands(compute_seed_bands(made), known, 0.4),
        draw_small_multiples(compute_seed_bands(made), known, 0.4),
        draw_seed_spread(order, known),
        *(draw_pareto_front(order, cost, known) for cost in COST_LABELS),
    ]
    for figure in figures:
        text = figure.to_json()
        assert json.loads(text)["layout"]["uirevision"] == "kept"
        assert "<script" not in text
        if n == 0:
            assert len(figure.layout.annotations) == 1, "it says why it is empty"


def test_one_seed_has_no_band_and_several_have():
    one, three = (draw_seed_bands(compute_seed_bands(laps(2, seeds)), looks(2)) for seeds in (1, 3))
    assert [trace.fill for trace in one.data] == [None, None]
    assert [trace.fill for trace in three.data].count("toself") == 2


def test_sixteen_methods_have_sixteen_marks():
    marks = [series_style(i) for i in range(16)]
    assert len({(m.colour, m.dash) for m in marks}) == 16
    assert len({(m.colour, m.symbol) for m in marks}) == 16, "points have no dash: their symbol has to tell"


def test_the_front_joins_what_is_not_beaten():
    figure = draw_pareto_front(summarise_methods(laps(3)), "trained", looks(3))
    assert list(figure.data[0].x) == [10, 100, 1000]
    assert figure.layout.xaxis.type == "log"


@pytest.mark.parametrize("n", [1, 3, 5])
def test_small_multiples_fill_the_width_and_name_their_axes(n):
    figure = draw_small_multiples(compute_seed_bands(laps(n)), looks(n), 0.4)
    axes = [figure.layout[f"xaxis{i or ''}"] for i in [0, *range(2, n + 1)]]
    assert max(axis.domain[1] for axis in axes) > 0.8
    assert sum(axis.title.text == "updates" for axis in axes) == min(n, 4)
    assert figure.layout.yaxis.title.text == "accuracy"
    assert figure.layout.meta["panels"]["count"] == n == sum(a.name == "panel title" for a in figure.layout.annotations)


@pytest.mark.parametrize(
    ("low", "high", "most"), [(3_000, 9_000, 9), (50, 300, 9), (200, 9_000, 12), (200, 3_000_000, 10)]
)
def test_ticks_of_a_logarithmic_axis_do_not_touch(low, high, most):
    ticks = log_ticks([low, high])
    inside = [tick for tick in ticks if low <= tick <= high]
    assert 2 <= len(inside) <= most
    assert all(log(b / a) / log(high / low) > 0.07 for a, b in pairwise(inside)), "shares of the axis"
    assert 1.0 in log_ticks([])


def test_many_curves_have_fainter_bands():
    few, many = (draw_seed_bands(compute_seed_bands(laps(n)), looks(n)).data[0].fillcolor for n in (2, 16))
    assert few.endswith("0.14)")
    assert many.endswith("0.07)")


def test_small_multiples_share_their_axes():
    figure = draw_small_multiples(compute_seed_bands(laps(5)), looks(5), 0.4)
    assert figure.layout.xaxis5.range == figure.layout.xaxis.range
    assert figure.layout.yaxis5.range == figure.layout.yaxis.range


@pytest.mark.parametrize(
    "runs", [[], [(0.1, 0, 0.5, 0.4)], [(r, s, 0.3 + r, 0.4) for r in (0.01, 0.1) for s in range(3)]]
)
def test_the_grid_draws_and_marks_what_does_not_beat_zero_shot(runs):
    figure = draw_learning_rate_grid(build_learning_rate_grid("m", runs))
    cells = [cell for row in figure.data[0].text or () for cell in row]
    assert sum("✗" in cell for cell in cells) == sum(test <= 0.4 for _, _, test, _ in runs)


def test_the_grid_compares_each_run_with_its_own_zero_shot():
    grid = build_learning_rate_grid("m", [(0.1, 0, 0.6, 0.5), (0.1, 1, 0.62, 0.7), (0.3, 0, 0.4, None)])
    assert grid.above_zero_shot == ((True, False), (None, None))
    assert grid.share_above_zero_shot == 0.5
    text = draw_learning_rate_grid(grid).data[0].text
    assert [list(row) for row in text] == [["60%", "62% ✗"], ["40%", ""]]
    grid = build_learning_rate_grid("m", [(0.1, 0, 0.55, 0.5), (0.1, 1, 0.75, 0.7)])
    assert grid.share_above_zero_shot == 1
    assert "✗" not in str(draw_learning_rate_grid(grid).data[0].text)


@pytest.mark.parametrize("n", [0, 1, 16])
def test_convergence_draws_any_number_of_methods_the_quickest_on_top(n):
    made = [replace(lap, accuracies=(0.3, 0.5), evaluated=(10 * (n - int(lap.method[1:])), 400)) for lap in laps(n)]
    figure = draw_convergence(summarise_methods(made), looks(n))
    assert len(figure.data) == n
    assert [trace.x[1] for trace in figure.data] == sorted(trace.x[1] for trace in figure.data)
    assert len(figure.layout.annotations) == (n == 0)
    assert "<script" not in figure.to_json()


def test_labels_cover_neither_points_nor_one_another():
    points = [(0.5, 0.5), (0.51, 0.5), (0.99, 0.9), (0.5, 0.52)]
    texts = ["first method", "second method", "at the edge", "third method"]
    found = place_labels(points, texts)
    boxes = [_label_bounds(x * 850, y * 330, (at.anchor, at.dx, at.dy), t)
             for (x, y), at, t in zip(points, found, texts, strict=True)]  # fmt: skip
    for i, one in enumerate(boxes):
        assert _hidden_area(one, boxes[:i] + boxes[i + 1 :]) == 0
    assert found[2].anchor == "right", "a label at the right edge goes to the left"
    assert place_labels([], []) == []


def test_labels_leave_error_bars_clear():
    points, bars = [(0.5, 0.5), (0.52, 0.4)], [(0.5, 0.5), (0.2, 0.9)]
    over, beside = place_labels(points, ["a method"])[0], place_labels(points, ["a method"], bars)[0]
    bar = (0.52 * 850 - 3, 0.52 * 850 + 3, 0.2 * 330, 0.9 * 330)
    hidden = [
        _hidden_area(_label_bounds(425, 165, (at.anchor, at.dx, at.dy), "a method"), [bar]) for at in (over, beside)
    ]
    assert hidden[0] > 0 == hidden[1]


def test_texts_of_a_map_turn_to_its_middle_and_make_room_for_one_another():
    points = np.array([[0.0, 5.0], [10.0, 5.0], [5.0, 5.0], [5.01, 5.02]])
    drawn = np.concatenate([points, [[5.0, 0.0], [5.0, 10.0]]])
    left, right, *middle = text_positions(points, ["0 leftmost", "1 rightmost", "2 middle", "3 middle"], drawn)
    assert left.endswith("right")
    assert right.endswith("left")
    assert middle[0] != middle[1]
    wide = np.concatenate([drawn, [[-20.0, 0.0], [30.0, 9.0]]])
    assert text_positions(points[:1], ["0 leftmost"], wide) == ["top center"], "other points make the map wider"
    assert text_positions(points[:0], [], wide) == []


def test_many_points_are_labelled_only_on_the_front():
    many = [RunResult(f"m{i}", 0, test=0.9 - 0.01 * i, trained=10 + i) for i in range(40)]
    figure = draw_pareto_front(summarise_methods(many), "trained", {})
    assert [note.text for note in figure.layout.annotations] == ["m0"]
    assert len(figure.data) == 41


def test_losses_have_an_axis_of_their_own():
    figure = draw_seed_bands(compute_seed_bands(laps(2)), looks(2), loss=True)
    assert "loss" in figure.layout.yaxis.title.text
    assert figure.layout.yaxis.tickformat is None


def test_a_variant_keeps_the_colour():
    marks = [style_variant(series_style(3), turn) for turn in range(5)]
    assert marks[0] == series_style(3)
    assert len({m.colour for m in marks}) == 1
    assert len({(m.dash, m.symbol) for m in marks}) == 5


def test_scores_that_are_all_equal_have_the_metric_s_range() -> None:
    flat = SeedBand("dpt", (0, 10), (0.0, 0.0), (0.0, 0.0), (0.0, 0.0), 2)
    assert draw_seed_bands([flat], {}, 0.0).layout.yaxis.range == (0, 1.03)
    rising = SeedBand("dpt", (0, 10), (0.0, 0.5), (0.0, 0.5), (0.0, 0.5), 2)
    assert draw_seed_bands([rising], {}, 0.0).layout.yaxis.range is None


def test_ticks_of_scores_that_lie_close_together_do_not_repeat():
    made = laps(2, seeds=1)
    close = summarise_methods([replace(lap, test=test) for lap, test in zip(made, (0.741, 0.748), strict=True)])
    apart = summarise_methods([replace(lap, test=test) for lap, test in zip(made, (0.5, 0.8), strict=True)])
    for order, expected in ((close, ".1%"), (apart, ".0%")):
        assert draw_pareto_front(order, "trained", looks(2)).layout.yaxis.tickformat == expected
        assert draw_seed_spread(order, looks(2)).layout.xaxis.tickformat == expected
