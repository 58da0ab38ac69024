"""The figures that look inside a prompt: nothing, one thing and many; words as text; numbers to take along."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest

from ptviz.analysis.projection import Projection, project, project_together
from ptviz.analysis.prompt_tokens import compute_geometry, compute_vocabulary_stats
from ptviz.analysis.routing import compute_expert_load, summarise_routing
from ptviz.analysis.spectrum import compute_spectrum
from ptviz.analysis.training_curves import build_training_curve
from ptviz.figures import heatmap, projection, prompt_tokens, step_strip
from ptviz.figures import routing as routes
from ptviz.figures import spectrum as spectra
from ptviz.figures.checkpoint import PromptThumbnail, draw_thumbnail
from ptviz.figures.csv_export import figure_to_csv
from ptviz.figures.linked_selection import DIMMED_OPACITY, PICKABLE, dim_cells, make_pickable
from ptviz.figures.projection import Trajectory
from ptviz.figures.style import FROZEN, escape_text, series_style
from ptviz.nearest_tokens import NEIGHBOUR_METRICS, nearest_tokens

RNG = np.random.default_rng(0)
HOSTILE = "<b>x</b> %{y}"
TABLE = RNG.normal(size=(40, 6)).astype(np.float32)


def spec(figure) -> dict:
    return json.loads(figure.to_json())


def lines(figure) -> list[list[str]]:
    return list(csv.reader(io.StringIO(figure_to_csv(figure))))


@pytest.mark.parametrize("n", [0, 1, 7, 60])
@pytest.mark.parametrize("signed", [True, False])
def test_a_matrix_of_any_size(n, signed):
    values = RNG.normal(size=(n, n))
    figure = heatmap.draw_heatmap(values, "a", "b", signed=signed)
    assert len(figure.data) == (n > 0)
    assert heatmap.describe_heatmap(values)
    assert len(lines(figure)) == 1 + n * n


def test_zero_is_white_whatever_the_values():
    figure = heatmap.draw_heatmap(np.array([[1.0, 5.0], [2.0, 3.0]]))
    assert (figure.data[0].zmin, figure.data[0].zmax) == (-5, 5)
    assert figure.data[0].colorscale[1] == (0.5, "#F5F5F5")


@pytest.mark.parametrize("n", [0, 1, 30])
def test_bars_of_any_number(n):
    values = RNG.normal(size=n)
    assert len(heatmap.draw_bars(values).data) == (n > 0)
    assert heatmap.describe_bars(values)


@pytest.mark.parametrize("n", [0, 1, 3])
def test_any_number_of_spectra(n):
    found = [(f"{HOSTILE} {i}", compute_spectrum(RNG.normal(size=(5, 8)))) for i in range(n)]
    figure = spectra.draw_spectra(found)
    assert len(figure.data) == n
    assert not any("<b>" in (trace.name or "") for trace in figure.data)
    assert spectra.describe_spectra(found)
    ranks = spectra.draw_effective_ranks(list(range(n)), [s for _, s in found], n - 1 if n else None)
    assert len(ranks.data[0].x) == n
    assert spectra.describe_effective_ranks(list(range(n)), [s for _, s in found])


def test_rounding_is_not_drawn_as_a_singular_value():
    thin = compute_spectrum(RNG.normal(size=(9, 1)) @ RNG.normal(size=(1, 9)))
    assert len(spectra.draw_spectra([("thin", thin)]).data[0].x) == 1


@pytest.mark.parametrize("x", [np.zeros((0, 4)), np.zeros((3, 4)), RNG.normal(size=(1, 4)), RNG.normal(size=(6, 4))])
def test_approximation_of_anything(x):
    found = compute_spectrum(x)
    assert spec(spectra.draw_approximation(found))
    assert spectra.describe_approximation(found)


def walker(steps: np.ndarray, dims: int = 2, **how) -> Trajectory:
    return Trajectory(project(TABLE, steps.astype(np.float32), dims=dims), **how)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize(("steps", "m"), [(0, 3), (1, 0), (1, 1), (4, 3)])
def test_a_map_of_any_number_of_steps(steps, m, dims):
    one = walker(RNG.normal(size=(steps, m, 6)), dims, name=HOSTILE)
    figure = projection.draw_projection([one], [HOSTILE] * 40)
    traces = {trace.name: trace for trace in figure.data}
    assert (escape_text(HOSTILE) in traces) == (steps > 0 and m > 0)
    assert "<b>" not in figure.to_json().replace("\\u003c", "<")
    assert projection.describe_projection([one])
    if steps == 4:
        # Each trail ends with a gap, so that no line joins two tokens.
        way = traces[f"trajectory of {escape_text(HOSTILE)}"]
        assert np.isnan(way.x[steps])
        assert len(way.x) == m * (steps + 1)


def test_a_map_of_nothing_says_so():
    assert not projection.draw_projection([], []).data
    assert "no prompt token yet" in projection.describe_projection([])


def test_the_map_shows_the_step_asked_for():
    steps = np.stack([TABLE[:2], TABLE[2:4] + 3])
    laid = project(TABLE, steps)
    for at in (0, 1):
        shown = projection.draw_projection([Trajectory(laid, at)], [""] * 40).data
        assert np.allclose(shown[-1].x, laid.tokens[at, :, 0], atol=1e-5)
        assert len(shown) == 2 + at, "no trail before the first move"


def test_every_prompt_has_its_mark_and_the_first_can_be_picked():
    one, other = project_together(TABLE, [TABLE[None, :3] + 1, TABLE[None, 3:8] - 1])
    walkers = [Trajectory(one, name="mine"), Trajectory(other, name="theirs", style=series_style(2))]
    traces = {trace.name: trace for trace in projection.draw_projection(walkers, [""] * 40).data}
    assert (traces["mine"].meta, traces["theirs"].meta) == (PICKABLE, None)
    assert traces["mine"].marker.color != traces["theirs"].marker.color != FROZEN
    assert "mine: 3 tokens" in projection.describe_projection(walkers)
    assert "theirs: 5 tokens" in projection.describe_projection(walkers)


@pytest.mark.parametrize("dims", [2, 3])
def test_what_is_not_picked_is_dimmed_and_not_hidden(dims):
    one = walker(RNG.normal(size=(2, 4, 6)), dims, token_numbers=(0, 2, 5, 7), highlighted=(5,))
    drawn = [trace for trace in projection.draw_projection([one], [""] * 40).data if trace.meta == PICKABLE]
    assert {tuple(trace.customdata): trace.opacity for trace in drawn} == {(0, 2, 7): DIMMED_OPACITY, (5,): 1.0}
    assert [trace.showlegend for trace in drawn] == [False, True], "what stands out comes last, on top"


@pytest.mark.parametrize(("words", "dims"), [(30_522, 2), (30_522, 3), (1500, 2)])
def test_a_whole_vocabulary_is_one_layer_of_the_graphics_card(words, dims):
    laid = Projection("UMAP", np.zeros((words, dims), np.float32), np.zeros((2, 3, dims), np.float32))
    figure = projection.draw_projection([Trajectory(laid)], ["w"] * words)
    kinds = [trace.type for trace in figure.data]
    assert kinds[0] == ("scatter3d" if dims == 3 else "scattergl" if words > 2000 else "scatter")
    assert kinds.count("scattergl") <= 1
    assert figure.layout[("scene" if dims == 3 else "xaxis")] is not None
    assert len(figure.to_json()) < 40 * words + 20_000, "places go as numbers of four bytes, not as text"


@pytest.mark.parametrize("n", [0, 1, 12])
@pytest.mark.parametrize("what", ["norms", "distances"])
def test_norms_beside_the_vocabulary(n, what):
    found = compute_geometry(TABLE[:n] * 2, TABLE, compute_vocabulary_stats(TABLE))
    assert spec(prompt_tokens.draw_norms(found, what))
    assert prompt_tokens.describe_norms(found, what)


def test_an_outlier_has_a_marker_of_its_own():
    rows = TABLE[:5] / np.linalg.norm(TABLE[:5], axis=1, keepdims=True)
    rows[3] *= 9
    figure = prompt_tokens.draw_norms(compute_geometry(rows, TABLE, compute_vocabulary_stats(TABLE)))
    odd = next(trace for trace in figure.data if trace.name.startswith("outliers"))
    assert odd.x.tolist() == [3]
    assert "tokens 3" in prompt_tokens.describe_norms(compute_geometry(rows, TABLE, compute_vocabulary_stats(TABLE)))


@pytest.mark.parametrize("metric", NEIGHBOUR_METRICS)
@pytest.mark.parametrize("n", [0, 1, 4])
def test_words_are_text(metric, n):
    found = nearest_tokens(TABLE[:n], TABLE, 3, metric)
    figure = prompt_tokens.draw_neighbours(found, [[HOSTILE] * 3] * n)
    if n:
        assert figure.data[0].text[0][0].startswith("&lt;b&gt;")
        assert figure.data[0].reversescale == (metric == "L2")
    assert prompt_tokens.describe_neighbours(found, [[HOSTILE] * 3] * n)


def test_panels_call_tokens_by_their_numbers_and_dim_the_others():
    numbers, found = [1, 4, 6], compute_geometry(TABLE[[1, 4, 6]], TABLE, compute_vocabulary_stats(TABLE))
    figure = prompt_tokens.draw_norms(found, numbers=numbers, picked={4})
    dots = next(trace for trace in figure.data if trace.meta == PICKABLE)
    assert list(dots.customdata) == list(dots.x) == numbers
    assert dots.marker.opacity.tolist() == [DIMMED_OPACITY, 1.0, DIMMED_OPACITY]
    labels = [str(number) for number in numbers]
    near = nearest_tokens(TABLE[numbers], TABLE, 3)
    assert "token 4: a" in prompt_tokens.describe_neighbours(near, [["a"] * 3] * 3, labels)
    drawn = dim_cells(make_pickable(prompt_tokens.draw_neighbours(near, [["a"] * 3] * 3, labels), numbers), [1])
    bright, faint = drawn.data
    assert np.isfinite(bright.z).tolist() == [[False] * 3, [True] * 3, [False] * 3]
    assert (np.isfinite(faint.z) == ~np.isfinite(bright.z)).all(), "dimmed, and not hidden"
    assert faint.opacity < bright.opacity == 1
    assert (bright.zmin, bright.zmax) == (faint.zmin, faint.zmax), "colours mean the same in both"
    assert [row[0] for row in bright.customdata] == numbers
    assert len(lines(drawn)) == 1 + 9, "each cell once, whatever is dimmed"


def test_nothing_picked_dims_nothing():
    figure = heatmap.draw_heatmap(np.eye(3))
    assert len(dim_cells(figure, [], []).data) == 1
    assert len(dim_cells(heatmap.draw_heatmap(np.zeros((0, 0))), [1]).data) == 0


def test_a_cross_of_a_square_stands_out():
    figure = dim_cells(heatmap.draw_heatmap(np.eye(3), limit=1.0), {1}, {1})
    assert np.isfinite(figure.data[0].z).tolist() == [[False, True, False], [True] * 3, [False, True, False]]


@pytest.mark.parametrize(("m", "steps"), [(0, 0), (1, 1), (3, 4)])
def test_words_over_the_steps(m, steps):
    rows = [[f"{HOSTILE}{i}{j}" for j in range(steps)] for i in range(m)]
    scores, places = RNG.random((m, steps)), RNG.integers(1, 40, (m, steps))
    at = steps - 1 if steps else None
    figure = prompt_tokens.draw_nearest_words_over_steps(list(range(steps)), rows, scores, "cosine", at=at)
    assert "<b>" not in figure.to_json().replace("\\u003c", "<")
    assert prompt_tokens.describe_nearest_words_over_steps(list(range(steps)), rows)
    lines_ = prompt_tokens.draw_neighbour_ranks(
        list(range(steps)), places, [HOSTILE] * m, numbers=range(5, 5 + m), picked={6}, at=at
    )
    assert [trace.customdata[0] for trace in lines_.data] == list(range(5, 5 + m))
    if m == 3:
        assert [trace.opacity for trace in lines_.data] == [DIMMED_OPACITY, 1.0, DIMMED_OPACITY]
        assert "token 6, " in prompt_tokens.describe_neighbour_ranks(places, [HOSTILE] * m, numbers=range(5, 5 + m))
    assert prompt_tokens.describe_neighbour_ranks(places, [HOSTILE] * m)


@pytest.mark.parametrize("n", [0, 1, 30])
def test_load_of_any_number_of_steps(n):
    curve = compute_expert_load(np.arange(n), RNG.dirichlet(np.ones(3), size=n))
    names = ["a", HOSTILE, "c"]
    figure = routes.draw_expert_load(curve, names, 0)
    assert len(figure.data) == 3
    assert len({trace.fillpattern.shape for trace in figure.data}) == 3
    assert routes.describe_expert_load(curve, names)


@pytest.mark.parametrize("n", [0, 1, 20])
def test_routing_of_any_number_of_inputs(n):
    weights = RNG.dirichlet(np.ones(3), size=n)
    found = summarise_routing(weights, np.zeros(n, dtype=int), 2)
    assert spec(routes.draw_input_routing(weights, ["a", "b", HOSTILE], [HOSTILE] * n))
    assert spec(routes.draw_confusion(found, ["c", HOSTILE], ["a", "b", HOSTILE]))
    assert routes.describe_confusion(found, ["c", HOSTILE], ["a", "b", HOSTILE])


@pytest.mark.parametrize("n", [0, 1, 30])
def test_the_cursor_stands_where_the_page_looks(n):
    curve = build_training_curve(range(n), [1.0] * n, range(n), [0.5] * n)
    figure = step_strip.draw_step_strip(curve, 3 if n else None)
    assert [shape.x0 for shape in figure.layout.shapes] == ([3] if n else [])
    assert step_strip.describe_step_strip(curve, 3 if n else None)


def test_the_numbers_drawn_are_the_numbers_exported():
    drift = prompt_tokens.draw_neighbour_overlap([0, 10], [1.0, 0.25], 1)
    assert lines(drift) == [["trace", "x", "y", "z", "text"], ["neighbours kept", "0", "1.0", "", ""],
                            ["neighbours kept", "10", "0.25", "", ""]]  # fmt: skip
    cells = heatmap.draw_heatmap(np.array([[1.0, 2.0]]), unit="cosine")
    assert lines(cells)[1:] == [["cosine", "0", "0", "1.0", ""], ["cosine", "1", "0", "2.0", ""]]


def test_a_map_holds_the_words_alone_and_rings_and_colours_them():
    words, far = np.random.default_rng(0).normal(size=(50, 2)), np.full((1, 3, 2), 90.0)
    one = Trajectory(Projection("PCA", words, far, (0.5, 0.3)), nearest_words=("a", "<b>", "c"))
    figure = projection.draw_projection(
        [one], [f"word {i}" for i in range(50)], frame="words", marked=[7], ranks=range(1, 51)
    )
    low, high = figure.layout.xaxis.range
    assert low <= words[:, 0].min()
    assert words[:, 0].max() <= high < 90
    vocabulary, *_, ringed = figure.data
    assert len(set(vocabulary.marker.color)) == 50
    assert ringed.text == ("word 7",)
    assert list(figure.data[1].text) == ["0 a", "1 &lt;b&gt;", "2 c"]


def test_a_thumbnail_counts_tokens_and_dimensions_from_0():
    (cells,) = draw_thumbnail(PromptThumbnail("P", ((1.0, 2.0, 3.0), (4.0, 5.0, 6.0)), 6.0, (3.0, 8.0), width=3)).data
    assert (list(cells.x), list(cells.y)) == ([0, 1, 2], [0, 1])
    (cells,) = draw_thumbnail(PromptThumbnail("P", ((1.0, 2.0),), 6.0, (3.0,), width=8)).data
    assert list(cells.x) == [1.5, 5.5], "the middle of each block of four"
