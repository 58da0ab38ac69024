"""Figures of parts, of other routings and of the lens: nothing, one thing and many; words as text."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest

from ptviz.analysis.routing import compute_counterfactual, compute_expert_load
from ptviz.analysis.tensor_comparison import compare_rows, compute_shared_energy
from ptviz.figures import logit_lens, routing_counterfactuals, tensors
from ptviz.figures.csv_export import figure_to_csv

RNG = np.random.default_rng(0)
HOSTILE = "<b>x</b> %{y}"


def lines(figure) -> list[list[str]]:
    assert json.loads(figure.to_json())
    return list(csv.reader(io.StringIO(figure_to_csv(figure))))


def forced(n: int, k: int):
    weights = RNG.dirichlet(np.ones(k), n)
    losses = RNG.exponential(size=(n, k))
    right = RNG.random((n, k)) < 0.5
    chosen = weights.argmax(1)
    return compute_counterfactual(weights, losses, right, losses[np.arange(n), chosen], right[np.arange(n), chosen])


@pytest.mark.parametrize("n", [1, 30])
@pytest.mark.parametrize("k", [1, 4])
def test_experts_forced(n, k):
    found, names, texts = forced(n, k), [HOSTILE] * k, [HOSTILE] * n
    for what in ("loss", "accuracy"):
        figure = routing_counterfactuals.draw_counterfactual(found, names, what)
        assert len(figure.data[0].y) == k
        assert "best" in routing_counterfactuals.describe_counterfactual(found, names, what)
    figure = routing_counterfactuals.draw_loss_increases(found, list(range(n)), names, texts)
    assert figure.data[0].z.shape == (n, k)
    assert "<b>" not in json.dumps(figure.to_plotly_json(), default=str)
    assert routing_counterfactuals.describe_loss_increases(found, names)
    # Where the chosen expert is forced, nothing rises.
    assert np.allclose(found.loss_increases[np.arange(n), found.chosen_experts], 0)
    assert found.best_case[0] <= found.as_routed[0] + 1e-12


def test_no_text_yet():
    assert routing_counterfactuals.draw_loss_increases(forced(1, 2), [], ["a", "b"], []).layout.annotations


@pytest.mark.parametrize("steps", [0, 1, 9])
def test_balance(steps):
    curve = compute_expert_load(np.arange(steps), RNG.dirichlet(np.ones(3), steps).reshape(steps, 3))
    assert len(routing_counterfactuals.draw_balance(curve, 0).data[0].x) == steps
    assert routing_counterfactuals.describe_balance(curve)


def test_temperatures_have_names_and_the_trained_one_a_mark():
    factors = [0.0, 0.5, 1.0, None]
    figure = routing_counterfactuals.draw_temperature(factors, [2.0, 1.0, 0.9, 1.5], [0.5, 0.6, 0.7, 0.4], 0.5)
    assert list(figure.layout.xaxis.ticktext) == ["one-hot", "x 0.5", "x 1", "uniform"]
    assert figure.layout.shapes[0].x0 == 2
    assert figure.data[-1].x == (1,)
    assert "x 0.5 60% (1.00 nats)" in routing_counterfactuals.describe_temperature(
        factors, [2.0, 1.0, 0.9, 1.5], [0.5, 0.6, 0.7, 0.4]
    )


@pytest.mark.parametrize("tasks", [0, 1, 3])
def test_tasks(tasks):
    weights = RNG.dirichlet(np.ones(4), tasks).reshape(tasks, 4)
    figure = routing_counterfactuals.draw_task_routing(weights, [HOSTILE] * tasks, ["a", "b", "c", "d"], [7] * tasks)
    assert len(figure.data) == (tasks > 0)
    assert routing_counterfactuals.describe_task_routing(weights, ["t"] * tasks, ["a", "b", "c", "d"])


@pytest.mark.parametrize("count", [0, 1, 5])
def test_any_number_of_parts_at_a_glance(count):
    found = [
        (HOSTILE, ("k", "m", "d"), RNG.normal(size=(2, 3, 4))),
        ("b", (), np.array(2.5)),
        ("c", ("m",), np.ones(3)),
    ]
    shown = (found * 2)[:count]
    figure = tensors.draw_gallery(shown)
    assert len(figure.data) == count
    assert "<b>x" not in figure.to_json()
    if count:
        assert figure.data[0].z.shape == (6, 4)
    assert tensors.describe_gallery(shown)


@pytest.mark.parametrize("k", [0, 1, 4])
def test_what_each_prompt_has_for_itself(k):
    found = compute_shared_energy(RNG.normal(size=(k, 3, 5)))
    assert len(tensors.draw_shared_energy(found).data) == (k > 0)
    assert tensors.describe_shared_energy(found)
    if k == 1:
        assert found.total_share == 0


def test_energy_splits_into_shared_and_own():
    x = RNG.normal(size=(4, 3, 5))
    found = compute_shared_energy(x)
    mean = x.mean(0)
    assert found.total_share == pytest.approx(1 - 4 * (mean**2).sum() / (x**2).sum())
    assert compute_shared_energy(np.stack([x[0], x[0]])).total_share == pytest.approx(0)
    assert compute_shared_energy(np.stack([x[0], -x[0]])).own_shares == pytest.approx([1, 1])
    assert compute_shared_energy(np.zeros((2, 3, 4))).total_share == 0


@pytest.mark.parametrize("n", [0, 1, 6])
def test_two_parts_beside_each_other(n):
    a = RNG.normal(size=(n, 4))
    found = compare_rows(a, 2 * a)
    assert np.allclose(found.cosines, 1)
    assert np.allclose(found.difference_shares, 0.5)
    assert compare_rows(a, a).total_difference_share == 0
    assert len(tensors.draw_row_comparison(found, HOSTILE, "b").data) == (3 if n else 0)
    assert tensors.describe_row_comparison(found, "a", "b")
    with pytest.raises(ValueError, match="one shape"):
        compare_rows(a, a[:, :2])


@pytest.mark.parametrize("n", [0, 1, 5])
def test_accuracy_by_rank(n):
    values = RNG.random(n).tolist()
    assert len(tensors.draw_low_rank_accuracy(list(range(1, n + 1)), values, values, values).data) == (2 if n else 0)
    assert tensors.describe_low_rank_accuracy(list(range(1, n + 1)), values, values)


def test_pruned_cells_are_grey_and_hold_no_score():
    scores = RNG.random((3, 4))
    gone = np.zeros((3, 4), dtype=bool)
    gone[1] = True
    figure = tensors.draw_saliency(scores, gone)
    grey, shown = figure.data
    assert np.isnan(shown.z[1]).all()
    assert (np.isnan(grey.z) == ~gone).all()
    assert "33% of the pieces are pruned" in tensors.describe_saliency(scores, gone)
    assert tensors.draw_saliency(np.zeros((0, 4))).layout.annotations


@pytest.mark.parametrize("n", [0, 1, 7])
def test_words_moved(n):
    shares = RNG.random(n).tolist()
    figure = tensors.draw_embedding_shift(shares, [HOSTILE] * n, [HOSTILE] * n)
    assert "<b>" not in figure.to_json()
    assert len(lines(figure)) == (1 + n if n else 1)
    assert tensors.describe_embedding_shift(shares, [HOSTILE] * n)


@pytest.mark.parametrize("m", [0, 1, 3])
def test_the_lens(m):
    shares = np.sort(RNG.random((4, m, 2)))[..., ::-1]
    words = [[[HOSTILE, "b"]] * m] * 4
    figure = logit_lens.draw_logit_lens(words, shares)
    assert len(figure.data) == (m > 0)
    assert "<b>" not in figure.to_json()
    assert logit_lens.describe_logit_lens(words, shares)


def test_the_lens_of_written_tokens_says_from_which_layer_on_each_leads():
    shares = np.full((4, 3, 2), 0.4)
    words = [[[HOSTILE, "  "], ["b", "x"], ["  ", "c"]], [["x", HOSTILE], ["x", "b"], ["c", "x"]]]
    words += [[[HOSTILE, "x"], ["b", "x"], ["c", "x"]], [[HOSTILE, "x"], ["b", "x"], ["x", "c"]]]
    figure = logit_lens.draw_logit_lens(words, shares, [HOSTILE, "b", "c"])
    assert "<b>" not in figure.to_json()
    assert figure.data[0].hovertext[0][1].startswith("written: b<br>b 40.0%")
    assert "written: b" in figure_to_csv(figure)
    assert figure.data[0].text[0][2] == "␣␣", "a space is no empty cell"
    described = logit_lens.describe_logit_lens(words, shares, [HOSTILE, "b", "c"])
    assert "b from layer 2, c after none" in described


def test_a_share_of_energy_is_at_most_the_whole():
    mean = RNG.normal(size=(3, 5))
    found = compute_shared_energy(np.stack([0.1 * mean, 3 * mean, 2.9 * mean]))
    assert (found.own_shares <= 1).all(), "a prompt shorter than the mean is farther from it than from zero"
    assert found.own_shares[0] > found.own_shares[1]


def test_every_large_tensor_of_a_gallery_has_a_colour_bar_and_a_small_one_does_not_look_strongest():
    large, small = np.linspace(-2.0, 2.0, 40).reshape(4, 10), np.array([0.01, -0.01])
    figure = tensors.draw_gallery([("P", ("m", "d"), large), ("b", ("k",), small)])
    first, second = figure.data
    assert first.showscale
    assert list(first.colorbar.ticktext) == ["-2", "0", "2"]
    assert not second.showscale
    assert second.zmax == 2.0
    assert list(second.text[0]) == ["0.01", "-0.01"]
