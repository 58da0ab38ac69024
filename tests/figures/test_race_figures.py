"""The pictures of a race draw for nothing, one method and sixteen."""

from __future__ import annotations

import json

import pytest

from ptviz.analysis.race import Lap, bands, grid, standings
from ptviz.figures.race import COSTS, Look, draw_bands, draw_front, draw_grid, draw_small_multiples, draw_spread
from ptviz.figures.style import mark

HOSTILE = "<b>bold</b> <script>alert(1)</script> %{x}"


def laps(n: int, seeds: int = 3) -> list[Lap]:
    return [
        Lap(f"m{i}", s, test=0.5 + 0.02 * i + 0.01 * s, zero_shot=0.4, trained=10 ** (i % 5 + 1), seconds=i + 1.0,
            memory=(i + 1) << 20, length=i, evaluated=(0, 25), accuracies=(0.3, 0.5 + 0.02 * i))
        for i in range(n) for s in range(seeds)
    ]  # fmt: skip


def looks(n: int) -> dict[str, Look]:
    return {f"m{i}": Look(HOSTILE if i == 0 else f"Method {i}", mark(i)) for i in range(n)}


@pytest.mark.parametrize("n", [0, 1, 16])
def test_every_picture_draws_any_number_of_methods(n):
    made, known = laps(n), looks(n)
    order = standings(made)
    figures = [
        draw_bands(bands(made), known, 0.4),
        draw_small_multiples(bands(made), known, 0.4),
        draw_spread(order, known),
        *(draw_front(order, cost, known) for cost in COSTS),
    ]
    for figure in figures:
        text = figure.to_json()
        assert json.loads(text)["layout"]["uirevision"] == "kept"
        assert "<script" not in text
        if n == 0:
            assert len(figure.layout.annotations) == 1, "it says why it is empty"


def test_one_seed_has_no_band_and_several_have():
    one, three = (draw_bands(bands(laps(2, seeds)), looks(2)) for seeds in (1, 3))
    assert [trace.fill for trace in one.data] == [None, None]
    assert [trace.fill for trace in three.data].count("toself") == 2


def test_sixteen_methods_have_sixteen_marks():
    marks = [mark(i) for i in range(16)]
    assert len({(m.colour, m.dash) for m in marks}) == 16
    assert len({(m.colour, m.symbol) for m in marks}) == 16, "points have no dash: their symbol has to tell"


def test_the_front_joins_what_is_not_beaten():
    figure = draw_front(standings(laps(3)), "trained", looks(3))
    assert list(figure.data[0].x) == [10, 100, 1000]
    assert figure.layout.xaxis.type == "log"


def test_small_multiples_share_their_axes():
    figure = draw_small_multiples(bands(laps(5)), looks(5), 0.4)
    assert figure.layout.xaxis5.range == figure.layout.xaxis.range
    assert figure.layout.yaxis5.range == figure.layout.yaxis.range


@pytest.mark.parametrize(
    "runs", [[], [(0.1, 0, 0.5, 0.4)], [(r, s, 0.3 + r, 0.4) for r in (0.01, 0.1) for s in range(3)]]
)
def test_the_grid_draws_and_marks_what_does_not_beat_zero_shot(runs):
    figure = draw_grid(grid("m", runs))
    cells = [cell for row in figure.data[0].text or () for cell in row]
    assert sum("✗" in cell for cell in cells) == sum(test <= 0.4 for _, _, test, _ in runs)
