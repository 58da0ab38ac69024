"""Each similarity measure against its formula."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from ptviz.analysis.prompt_similarity import (
    SIMILARITY_METRICS,
    compute_similarity,
    draw_random_prompts,
    random_similarity,
)

RNG = np.random.default_rng(1)
P, Q = RNG.normal(size=(5, 7)), RNG.normal(size=(5, 7))


def cos(a, b):
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


def hsic(x, y):
    """The unbiased estimate as a mean over all choices of four different rows (Song et al. 2012, equation 4)."""
    k, n = x @ x.T, y @ y.T
    terms = [k[i, j] * (n[i, j] + n[q, r] - 2 * n[i, q]) for i, j, q, r in itertools.permutations(range(len(x)), 4)]
    return np.mean(terms)


def by_loops(metric: str) -> float:
    pairs = [(p, q) for p in P for q in Q]
    if metric == "mean":
        return cos(P.mean(0), Q.mean(0))
    if metric == "tokens":
        return float(np.mean([cos(p, q) for p, q in pairs]))
    if metric == "concatenated":
        return cos(P.ravel(), Q.ravel())
    if metric == "euclidean":
        return 1 / (1 + np.sqrt(sum(((P[i] - Q[i]) ** 2).sum() for i in range(5))))
    if metric == "euclidean tokens":
        return 1 / (1 + np.mean([np.linalg.norm(p - q) for p, q in pairs]))
    if metric == "CKA":
        return hsic(P, Q) / np.sqrt(hsic(P, P) * hsic(Q, Q))
    u, v = (np.linalg.svd(x)[2][:5] for x in (P, Q))
    return float(np.linalg.norm(u @ v.T) ** 2 / 5)


@pytest.mark.parametrize("metric", SIMILARITY_METRICS)
def test_every_measure_is_its_formula(metric):
    found = compute_similarity([P, Q], metric).values
    assert found[0, 1] == found[1, 0] == pytest.approx(by_loops(metric), abs=1e-9)
    if metric not in ("tokens", "euclidean tokens"):  # a prompt's tokens differ among themselves
        assert np.allclose(np.diag(found), 1)


@pytest.mark.parametrize("metric", SIMILARITY_METRICS)
@pytest.mark.parametrize("n", [0, 1, 3])
def test_any_number_of_prompts(metric, n):
    assert compute_similarity([P] * n, metric).values.shape == (n, n)


def test_a_row_left_out_of_either_is_left_out_of_both():
    wild = P.copy()
    wild[2] *= 1000
    out = [np.arange(5) == 2, np.zeros(5, dtype=bool)]
    rest = np.arange(5) != 2
    found = compute_similarity([wild, Q], "concatenated", leave_out=out).values[0, 1]
    assert found == pytest.approx(cos(P[rest].ravel(), Q[rest].ravel()))


def test_centring_shows_differences():
    shift = 100 * np.ones(7)
    alike = compute_similarity([P + shift, Q + shift], "mean").values[0, 1]
    assert alike > 0.99
    assert compute_similarity([P + shift, Q + shift], "mean", centred=True).values[0, 1] == pytest.approx(-1)


def test_a_collapsed_prompt_is_compared_in_its_own_directions():
    thin = RNG.normal(size=(2, 40))
    other = RNG.normal(size=(2, 40))
    other -= other @ np.linalg.pinv(thin) @ thin
    p, q, away = (RNG.normal(size=(20, 2)) @ rows for rows in (thin, thin, other))
    # Rounding as of a product of float32 factors: the directions that it makes up are not compared.
    found = compute_similarity([x.astype(np.float32) for x in (p, q, away, np.zeros((20, 40)))], "subspace").values
    assert found[0, 1] == pytest.approx(1, abs=1e-5)
    assert found[0, 2] == pytest.approx(0, abs=1e-5)
    assert found[0, 3] == 0


def test_different_lengths_are_cut_and_reported():
    found = compute_similarity([P, Q[:3]], "concatenated")
    assert found.compared_rows == 3
    assert found.values[0, 1] == pytest.approx(cos(P[:3].ravel(), Q[:3].ravel()))
    assert compute_similarity([P, Q[:3]], "mean").compared_rows is None


def test_incomparable_prompts_are_refused():
    with pytest.raises(ValueError, match=r"one width d; got \[6, 7\]"):
        compute_similarity([P, Q[:, :6]], "mean")
    with pytest.raises(ValueError, match="nothing is left of number 2"):
        compute_similarity([P, Q], "mean", leave_out=[np.zeros(5, dtype=bool), np.ones(5, dtype=bool)])


@pytest.mark.parametrize("shape", [(10, 384), (100, 768)])
def test_cka_of_unrelated_prompts_is_near_zero(shape):
    rng = np.random.default_rng(0)
    values = compute_similarity(list(rng.normal(size=(8, *shape))), "CKA").values
    assert abs(np.mean(values[np.triu_indices(8, 1)])) < 0.05, "the biased one gives 0.97 and 0.89"
    p = rng.normal(size=(10, 384))
    turned = p @ np.linalg.qr(rng.normal(size=(384, 384)))[0]
    assert compute_similarity([p, turned], "CKA").values[0, 1] == pytest.approx(1)


def test_cka_of_fewer_than_four_rows_is_not_defined():
    assert np.isnan(compute_similarity([P[:3], Q[:3]], "CKA").values).all()
    assert np.isfinite(compute_similarity([P[:4], Q[:4]], "CKA").values).all()


@pytest.mark.parametrize("metric", SIMILARITY_METRICS)
def test_random_prompts_show_what_unrelated_prompts_have(metric):
    rng = np.random.default_rng(3)
    prompts = [rng.normal(scale=scale, size=(10, 24)) for scale in (0.1, 1, 5)]
    found = random_similarity(prompts, metric, seed=2)
    assert found == random_similarity(prompts, metric, seed=2) != random_similarity(prompts, metric, seed=3)
    assert found.low <= found.median <= found.high
    assert found.pairs >= 100
    away = compute_similarity(prompts, metric).values[np.triu_indices(3, 1)]
    assert found.low - 0.05 <= away.min(), "these prompts are random themselves"
    assert away.max() <= found.high + 0.05


def test_random_prompts_have_the_shape_and_size_of_the_given_ones():
    made = draw_random_prompts([10 * P, Q[:2]], seed=1)
    assert [one.shape for one in made] == [(5, 7), (2, 7)]
    assert np.abs(made[0]).mean() == pytest.approx(np.abs(10 * P).mean(), rel=0.3)
    assert np.isnan(random_similarity([P], "mean").median)
