"""Projections of all steps of a prompt by one fit."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from ptviz.analysis.projection import PROJECTION_METHODS, project, project_together

RNG = np.random.default_rng(0)
WORDS = RNG.normal(size=(60, 8)).astype(np.float32)
STEPS = np.stack([WORDS[:3] + shift for shift in (0, 1, 2)])


@pytest.mark.parametrize("dims", [2, 3])
def test_pca_preserves_straight_lines(dims):
    found = project(WORDS, STEPS, dims=dims)
    assert found.background.shape == (60, dims)
    moves = np.diff(found.tokens, axis=0)
    assert np.allclose(moves[0], moves[1], atol=1e-4)
    assert np.allclose(moves[:, 0], moves[:, 1], atol=1e-4)
    assert 0 < sum(found.explained_variance) <= 1 + 1e-6


def test_pca_weights_few_tokens_and_many_words_equally():
    """Words vary along two axes, nine tokens along a third: the projection shows the third as well."""
    words = np.zeros((600, 8), dtype=np.float32)
    words[:, :2] = 10 * RNG.normal(size=(600, 2))
    steps = np.zeros((3, 3, 8), dtype=np.float32)
    steps[:, :, 5] = np.array([0, 20, 40])[:, None]
    found = project(words, steps)
    assert np.allclose(np.linalg.norm(found.tokens[2] - found.tokens[0], axis=1), 40, atol=1)


def test_length_can_be_left_out():
    one, scaled = project(WORDS, STEPS, normalise=True), project(WORDS * 7, STEPS * 7, normalise=True)
    assert np.allclose(one.tokens, scaled.tokens, atol=1e-5)


@pytest.mark.parametrize(("words", "steps"), [(0, 2), (60, 0), (1, 0)])
def test_few_points_are_projected(words, steps):
    assert project(WORDS[:words], STEPS[:steps]).tokens.shape == (steps, 3, 2)
    with pytest.raises(ValueError, match="got none"):
        project(WORDS[:0], STEPS[:0])


def test_tsne_projects_all_steps_together():
    found = project(WORDS, STEPS, "t-SNE")
    assert found.background.shape == (60, 2)
    assert found.tokens.shape == (3, 3, 2)
    assert np.isfinite(found.tokens).all()


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(ImportError, match="pip install umap-learn, or choose PCA"):
        project(WORDS, STEPS, "UMAP")


def test_importing_the_module_loads_no_umap():
    import subprocess

    script = "import sys, ptviz.analysis.projection; print('umap' in sys.modules, 'sklearn' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout.split() == ["False"] * 2
    )


@pytest.mark.parametrize("kind", PROJECTION_METHODS)
def test_a_token_that_is_no_number_is_named(kind):
    tokens = RNG.normal(size=(2, 4, 6))
    tokens[1, 2, 3] = np.nan
    with pytest.raises(ValueError, match=r"prompt token 2 is not a finite number .* choose an earlier step"):
        project(RNG.normal(size=(9, 6)), tokens, kind)
    with pytest.raises(ValueError, match="prompt token 2 of prompt 2 is not"):
        project_together(RNG.normal(size=(9, 6)), [tokens[:1], tokens], kind)


@pytest.mark.parametrize("kind", ["UMAP", "t-SNE"])
def test_neighbourhoods_need_a_few_vectors(kind):
    with pytest.raises(ValueError, match=f"at least 4 vectors for {kind}; got 1: choose PCA"):
        project(np.zeros((0, 6)), RNG.normal(size=(1, 1, 6)), kind)
    assert project(np.zeros((0, 6)), RNG.normal(size=(1, 1, 6)), "PCA").tokens.shape == (1, 1, 2)
