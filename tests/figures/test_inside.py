"""The figures that look inside a prompt: nothing, one thing and many; words as text; numbers to take along."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest

from ptviz.analysis.curves import training_curve
from ptviz.analysis.geometry import cloud, geometry
from ptviz.analysis.neighbours import METRICS, nearest
from ptviz.analysis.projection import project
from ptviz.analysis.routing import load_curve, routing
from ptviz.analysis.spectrum import spectrum
from ptviz.figures import matrix, moment, words
from ptviz.figures import routing as routes
from ptviz.figures import spectrum as spectra
from ptviz.figures.table import as_csv

RNG = np.random.default_rng(0)
HOSTILE = "<b>x</b> %{y}"
TABLE = RNG.normal(size=(40, 6)).astype(np.float32)


def spec(figure) -> dict:
    return json.loads(figure.to_json())


def lines(figure) -> list[list[str]]:
    return list(csv.reader(io.StringIO(as_csv(figure))))


@pytest.mark.parametrize("n", [0, 1, 7, 60])
@pytest.mark.parametrize("signed", [True, False])
def test_a_matrix_of_any_size(n, signed):
    values = RNG.normal(size=(n, n))
    figure = matrix.draw_matrix(values, "a", "b", signed=signed)
    assert len(figure.data) == (n > 0)
    assert matrix.tell_matrix(values)
    assert len(lines(figure)) == 1 + n * n


def test_zero_is_white_whatever_the_values():
    figure = matrix.draw_matrix(np.array([[1.0, 5.0], [2.0, 3.0]]))
    assert (figure.data[0].zmin, figure.data[0].zmax) == (-5, 5)
    assert figure.data[0].colorscale[1] == (0.5, "#F5F5F5")


@pytest.mark.parametrize("n", [0, 1, 30])
def test_bars_of_any_number(n):
    values = RNG.normal(size=n)
    assert len(matrix.draw_bars(values).data) == (n > 0)
    assert matrix.tell_bars(values)


@pytest.mark.parametrize("n", [0, 1, 3])
def test_any_number_of_spectra(n):
    found = [(f"{HOSTILE} {i}", spectrum(RNG.normal(size=(5, 8)))) for i in range(n)]
    figure = spectra.draw_spectra(found)
    assert len(figure.data) == n
    assert not any("<b>" in (trace.name or "") for trace in figure.data)
    assert spectra.tell_spectra(found)
    ranks = spectra.draw_ranks(list(range(n)), [s for _, s in found], n - 1 if n else None)
    assert len(ranks.data[0].x) == n
    assert spectra.tell_ranks(list(range(n)), [s for _, s in found])


def test_rounding_is_not_drawn_as_a_singular_value():
    thin = spectrum(RNG.normal(size=(9, 1)) @ RNG.normal(size=(1, 9)))
    assert len(spectra.draw_spectra([("thin", thin)]).data[0].x) == 1


@pytest.mark.parametrize("x", [np.zeros((0, 4)), np.zeros((3, 4)), RNG.normal(size=(1, 4)), RNG.normal(size=(6, 4))])
def test_approximation_of_anything(x):
    found = spectrum(x)
    assert spec(spectra.draw_approximation(found))
    assert spectra.tell_approximation(found)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize(("steps", "m"), [(0, 3), (1, 0), (1, 1), (4, 3)])
def test_a_map_of_any_number_of_steps(steps, m, dims):
    laid = project(TABLE, RNG.normal(size=(steps, m, 6)).astype(np.float32), dims=dims)
    figure = words.draw_map(laid, [HOSTILE] * 40, steps - 1)
    traces = {trace.name: trace for trace in figure.data}
    assert ("prompt tokens" in traces) == (steps > 0 and m > 0)
    assert "<b>" not in traces["vocabulary"].text[0]
    assert words.tell_map(laid)
    if steps == 4:
        # Each trail ends with a gap, so that no line joins two tokens.
        assert np.isnan(traces["way since step 0"].x[steps])
        assert len(traces["way since step 0"].x) == m * (steps + 1)


def test_the_map_shows_the_step_asked_for():
    laid = project(TABLE, np.stack([TABLE[:2], TABLE[2:4] + 3]))
    shown = [words.draw_map(laid, [""] * 40, at).data[-1].x for at in (0, 1)]
    assert np.allclose(shown[0], laid.tokens[0, :, 0], atol=1e-5)
    assert np.allclose(shown[1], laid.tokens[1, :, 0], atol=1e-5)


@pytest.mark.parametrize("n", [0, 1, 12])
@pytest.mark.parametrize("what", ["norms", "distances"])
def test_norms_beside_the_vocabulary(n, what):
    found = geometry(TABLE[:n] * 2, TABLE, cloud(TABLE))
    assert spec(words.draw_norms(found, what))
    assert words.tell_norms(found, what)


def test_an_outlier_has_a_marker_of_its_own():
    rows = TABLE[:5] / np.linalg.norm(TABLE[:5], axis=1, keepdims=True)
    rows[3] *= 9
    figure = words.draw_norms(geometry(rows, TABLE, cloud(TABLE)))
    odd = next(trace for trace in figure.data if trace.name.startswith("outliers"))
    assert odd.x.tolist() == [3]
    assert "tokens 3" in words.tell_norms(geometry(rows, TABLE, cloud(TABLE)))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("n", [0, 1, 4])
def test_words_are_text(metric, n):
    found = nearest(TABLE[:n], TABLE, 3, metric)
    figure = words.draw_neighbours(found, [[HOSTILE] * 3] * n)
    if n:
        assert figure.data[0].text[0][0].startswith("&lt;b&gt;")
        assert figure.data[0].reversescale == (metric == "L2")
    assert words.tell_neighbours(found, [[HOSTILE] * 3] * n)


@pytest.mark.parametrize("n", [0, 1, 30])
def test_load_of_any_number_of_steps(n):
    curve = load_curve(np.arange(n), RNG.dirichlet(np.ones(3), size=n))
    names = ["a", HOSTILE, "c"]
    figure = routes.draw_load(curve, names, 0)
    assert len(figure.data) == 3
    assert len({trace.fillpattern.shape for trace in figure.data}) == 3
    assert routes.tell_load(curve, names)


@pytest.mark.parametrize("n", [0, 1, 20])
def test_routing_of_any_number_of_inputs(n):
    weights = RNG.dirichlet(np.ones(3), size=n)
    found = routing(weights, np.zeros(n, dtype=int), 2)
    assert spec(routes.draw_routing(weights, ["a", "b", HOSTILE], [HOSTILE] * n))
    assert spec(routes.draw_confusion(found, ["c", HOSTILE], ["a", "b", HOSTILE]))
    assert routes.tell_routing(found, ["c", HOSTILE], ["a", "b", HOSTILE])


@pytest.mark.parametrize("n", [0, 1, 30])
def test_the_cursor_stands_where_the_page_looks(n):
    curve = training_curve(range(n), [1.0] * n, range(n), [0.5] * n)
    figure = moment.draw_moment(curve, 3 if n else None)
    assert [shape.x0 for shape in figure.layout.shapes] == ([3] if n else [])
    assert moment.tell_moment(curve, 3 if n else None)


def test_the_numbers_drawn_are_the_numbers_exported():
    drift = words.draw_drift([0, 10], [1.0, 0.25], 1)
    assert lines(drift) == [["trace", "x", "y", "z", "text"], ["neighbours kept", "0", "1.0", "", ""],
                            ["neighbours kept", "10", "0.25", "", ""]]  # fmt: skip
    cells = matrix.draw_matrix(np.array([[1.0, 2.0]]), unit="cosine")
    assert lines(cells)[1:] == [["cosine", "0", "0", "1.0", ""], ["cosine", "1", "0", "2.0", ""]]
