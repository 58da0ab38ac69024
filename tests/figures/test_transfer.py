"""Figures of transfer: any number of prompts, empty cells, and strangers' names as text."""

from __future__ import annotations

import numpy as np
import pytest

from ptviz.analysis.projection import Projection, project
from ptviz.analysis.prompt_clusters import cluster
from ptviz.analysis.transfer_correlation import error_reduction, mean_error_reduction
from ptviz.figures import prompt_similarity
from ptviz.figures import transfer as drawn
from ptviz.figures.csv_export import figure_to_csv
from ptviz.figures.heatmap import DIVERGING

HOSTILE = "<b>bold</b> <script>alert(1)</script>"


@pytest.mark.parametrize("count", [0, 1, 2, 30])
def test_gains_and_maps_draw_for_any_number(count):
    names = [f"{HOSTILE} {i}" for i in range(count)]
    gains = np.linspace(-3, 0.5, count * count).reshape(count, count)
    gains[np.eye(count, dtype=bool)] = np.nan
    figure = drawn.draw_transfer_gains(gains, names, names)
    assert "<script" not in figure.to_json()
    assert str(count) in drawn.describe_transfer_gains(gains, names, names)
    if count > 1:
        assert (figure.data[0].zmin, figure.data[0].zmax) == (-1, 1)  # one disaster does not bleach the others
    if count:
        means = np.random.default_rng(0).normal(size=(count, 6))
        found = project(means, np.zeros((0, 0, 6)), "PCA")
        assert len(prompt_similarity.draw_prompt_projection(found, names, list(range(count))).data) == count
        assert "PCA" in prompt_similarity.describe_prompt_projection(found, names)
    else:
        assert prompt_similarity.draw_prompt_projection(
            Projection("PCA", np.zeros((0, 2)), np.zeros((0, 0, 2))), [], []
        ).layout.annotations


def test_colours_of_similarity_spread_over_what_there_is():
    for away, expected in (
        ((0.7, 0.8, 0.75), (0.7, 0.8)),
        ((0.1, 0.8, 0.2), (0, 0.8)),
        ((-0.2, 0.1, 0), (-0.2, 0.2)),
        ((0.1, 0.8, -0.01), (0, 0.8)),
    ):
        values = np.eye(3)
        values[np.triu_indices(3, 1)] = away
        values = values + values.T - np.eye(3)
        trace = prompt_similarity.draw_similarity(values, "abc", cluster(values), "mean").data[0]
        assert (trace.zmin, trace.zmax) == pytest.approx(expected)
        assert (len(trace.colorscale) == len(DIVERGING)) == (expected[0] < 0)
    same = prompt_similarity.draw_similarity(np.full((2, 2), 0.5), "ab", cluster(np.full((2, 2), 0.5)), "mean").data[0]
    assert same.zmin < same.zmax


@pytest.mark.parametrize(("apart", "low"), [((0.97, 0.98, 0.99), 0.9), ((0.1, 0.5, 0.6), 0)])
def test_a_dendrogram_shows_its_joints_where_all_prompts_are_far_apart(apart, low):
    alike = np.eye(3)
    alike[np.triu_indices(3, 1)] = 1 - np.array(apart)
    alike = alike + alike.T - np.eye(3)
    tree = cluster(alike)
    base, top = prompt_similarity.draw_similarity(alike, "abc", tree, "mean").layout.yaxis2.range
    joints = tree.heights.max(1)
    assert base >= low
    assert base < joints.min() <= joints.max() < top
    assert (joints.max() - joints.min()) / (top - base) > 0.3  # not all at the top


def test_names_on_a_map_are_written_where_there_is_room():
    for count, written in ((3, 3), (41, 0)):
        means = np.random.default_rng(0).normal(size=(count, 6))
        figure = prompt_similarity.draw_prompt_projection(
            project(means, np.zeros((0, 0, 6)), "PCA"), [HOSTILE] * count, [0] * count
        )
        assert len(figure.layout.annotations) == written
        assert not any("<b>" in label.text for label in figure.layout.annotations)


def test_a_cell_says_of_what_it_is():
    values = np.array([[0.5, np.nan], [0.25, 1.0]])
    grid = drawn.draw_transfer_grid(values, ["trec6", HOSTILE], ["sms", "tweets"], [[True, False], [False, False]])
    assert grid.data[0].hovertext[0][0] == "sms on trec6: [50%]"
    assert (
        drawn.draw_transfer_gains(values, ["trec6", "sms"], ["sms", "tweets"]).data[0].hovertext[1][0]
        == "sms from sms: +25%"
    )
    assert "<script" not in grid.data[0].hovertext[1][1]
    assert "sms on trec6: [50%]" in figure_to_csv(grid)
    alike = np.array([[1, 0.2, 0.9], [0.2, 1, 0.3], [0.9, 0.3, 1]])
    tree = cluster(alike)
    heat_map = prompt_similarity.draw_similarity(alike, "abc", tree, "mean").data[0]
    place = [*tree.order].index
    assert heat_map.hovertext[place(1)][place(2)] == "b and c: 0.30"
    assert heat_map.z[place(1)][place(2)] == pytest.approx(0.3)


def test_error_reduction_is_spots():
    assert error_reduction(np.array([[0.97]]), np.array([[0.927]]))[0, 0] == pytest.approx(0.589, abs=1e-3)
    assert np.isnan(error_reduction(np.array([[1.0]]), np.array([[1.0]]))).all()


def test_seeds_count_where_both_ways_were_trained():
    reached = np.array([[[0.8, 0.9, np.nan], [np.nan, np.nan, 0.5]]])
    scratch = np.array([[[0.5, 0.7, 0.1], [0.5, 0.5, np.nan]]])
    found = mean_error_reduction(reached, scratch)
    assert found[0, 0] == pytest.approx((0.85 - 0.6) / 0.4)
    assert np.isnan(found[0, 1])
