"""What is picked in one figure stands out in others: cells, bars, bands; what a click on each of them means."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import pytest

from ptviz.analysis.attention import prompt_mass
from ptviz.analysis.routing import compute_expert_load
from ptviz.analysis.tensor_comparison import compare_rows
from ptviz.figures.attention import draw_attention_mass
from ptviz.figures.heatmap import draw_bars, draw_heatmap
from ptviz.figures.linked_selection import DIMMED_OPACITY, PICKABLE, dim_bars, dim_cells, dim_traces, make_pickable
from ptviz.figures.routing import draw_expert_load
from ptviz.figures.tensors import draw_row_comparison, draw_saliency

RNG = np.random.default_rng(0)


def bright(figure: go.Figure, trace: int) -> np.ndarray:
    return ~np.isnan(np.asarray(figure.data[trace].z, dtype=float))


def test_pruned_cells_stay_grey_and_scores_dim():
    gone = np.zeros((4, 3), dtype=bool)
    gone[1] = True
    figure = dim_cells(draw_saliency(RNG.random((4, 3)), gone), [0])
    by_opacity = {(trace.name, trace.opacity): bright(figure, i) for i, trace in enumerate(figure.data)}
    assert by_opacity["score", 1.0][0].all()
    assert not by_opacity["score", 1.0][1:].any()
    assert by_opacity["score", DIMMED_OPACITY * 2][[2, 3]].all()
    assert by_opacity["pruned", 0.45 * DIMMED_OPACITY * 2][1].all()
    assert sum(trace.showscale is not False for trace in figure.data) == 1, "one scale beside the figure, not two"


@pytest.mark.filterwarnings("error")
def test_a_heat_map_without_a_number_is_left_alone():
    assert len(dim_cells(draw_saliency(RNG.random((4, 3))), [0]).data) == 3


@pytest.mark.parametrize("places", [set(), {2}, {0, 9}])
def test_bars_dim_and_lines_stay(places):
    figure = dim_bars(draw_row_comparison(compare_rows(RNG.random((4, 5)), RNG.random((4, 5))), "a", "b"), places)
    for trace in figure.data:
        expected = [1.0 if place in places else DIMMED_OPACITY * 2 for place in range(4)]
        if trace.type == "bar":
            assert trace.marker.opacity == (tuple(expected) if places else None)
        else:
            assert trace.opacity is None


def test_bands_dim_with_their_areas():
    curve = compute_expert_load(np.arange(9), RNG.dirichlet(np.ones(3), 9))
    before, after = draw_expert_load(curve, "abc"), dim_traces(draw_expert_load(curve, "abc"), {1})
    assert after.data[1].fillcolor == before.data[1].fillcolor
    for place in (0, 2):
        assert after.data[place].fillcolor.endswith(f"{DIMMED_OPACITY * 2})")
        assert after.data[place].opacity == DIMMED_OPACITY * 2
    assert dim_traces(draw_expert_load(curve, "abc"), set()) == before


def test_a_click_means_a_row_a_column_or_a_bar():
    cells = RNG.random((2, 3))
    rows = make_pickable(draw_heatmap(cells), [7, 8]).data[0]
    assert (rows.meta, [list(row) for row in rows.customdata]) == (PICKABLE, [[7] * 3, [8] * 3])
    columns = make_pickable(draw_heatmap(cells), [4, 5, 6], columns=True).data[0]
    assert [list(row) for row in columns.customdata] == [[4, 5, 6]] * 2
    assert list(make_pickable(draw_bars(cells[0]), [1, 2, 3]).data[0].customdata) == [1, 2, 3]


def test_highlighted_tokens_get_a_line_of_their_own():
    weights = RNG.random((3, 2, 4, 5)) / 10
    mass = prompt_mass(weights, np.full(3, 6), np.full(3, 5))
    (line,) = (t for t in draw_attention_mass(mass, "xyz", {1, 3}).data if t.name == "answer, highlighted tokens")
    assert np.allclose(line.y, weights[:, :, -1][..., [1, 3]].sum(-1).mean(1))
    assert len(draw_attention_mass(mass, "xyz").data) == len(draw_attention_mass(mass, "xyz", {1}).data) - 1
