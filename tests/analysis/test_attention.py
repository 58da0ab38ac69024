"""Attention on the prompt, checked by hand, with missing values left out."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ptviz.analysis.attention import PromptMass, attention_given, prompt_mass, site_word
from ptviz.figures import attention as drawn

HOSTILE = "<b>x</b> %{y}"


def worked() -> np.ndarray:
    """Return weights of two sites, two heads, one text token and the answer, and two prompt tokens."""
    weights = np.zeros((2, 2, 2, 2))
    weights[0, 0] = [[0.1, 0.2], [0.3, 0.1]]
    weights[0, 1] = [[0.0, 0.2], [0.1, 0.1]]
    weights[1] = 0.25
    return weights


def test_by_hand():
    mass = prompt_mass(worked(), np.array([6, 2]), np.array([2, 2]))
    np.testing.assert_allclose(mass.answer, [[0.4, 0.2], [0.5, 0.5]])
    np.testing.assert_allclose(mass.text, [[0.3, 0.2], [0.5, 0.5]])
    np.testing.assert_allclose(mass.by_site, [[0.2, 0.1], [0.25, 0.25]])
    np.testing.assert_allclose(mass.by_token, [0.225, 0.175])
    np.testing.assert_allclose(mass.uniform, [0.25, 0.5])
    np.testing.assert_allclose(attention_given(worked(), 0, 0), [[0.1, 0.2], [0.3, 0.1]])
    np.testing.assert_allclose(attention_given(worked(), 0), [[0.05, 0.2], [0.2, 0.1]])


def test_missing_values_are_not_counted():
    weights = worked()
    weights[0, :, 1] = np.nan  # an encoder's site: no answer yet
    weights[1, :, 0] = np.nan  # a decoder's: no text
    weights[1, ..., 0] = np.nan  # which sees the second half of the prompt alone
    mass = prompt_mass(weights, np.array([6, 1]), np.array([2, 1]))
    assert np.isnan(mass.answer[0]).all()
    np.testing.assert_allclose(mass.answer[1], 0.25)
    assert np.isnan(mass.text[1]).all()
    np.testing.assert_allclose(mass.uniform, [np.nan, 0.5])
    np.testing.assert_allclose(mass.by_token, [np.nan, 0.25])
    assert drawn.draw_attention_mass(mass, ["a", "b"]).data
    assert "25%" in drawn.describe_attention_mass(mass, ["a", "b"])
    nothing = attention_given(weights, 1, 0)[:1]
    assert not drawn.draw_attention_heatmap(nothing, "r", "c", ["a"], ["0", "1"]).data
    assert "nothing" in drawn.describe_attention_heatmap(nothing, "r", "c", ["a"], ["0", "1"])


def test_weights_without_a_query_are_refused():
    with pytest.raises(ValueError, match="at least one query"):
        prompt_mass(worked()[:, :, :0], np.array([6, 2]), np.array([2, 2]))


@pytest.mark.parametrize("n", [1, 3, 130])
def test_figures_of_any_size_keep_words_as_text(n):
    values = np.random.default_rng(0).random((n, n))
    names = [HOSTILE] * n
    figure = drawn.draw_attention_heatmap(values, "token", "prompt token", names, names)
    assert "<b>" not in json.dumps(json.loads(figure.to_json()))
    assert figure.layout.height <= 900
    assert len(figure.layout.yaxis.ticktext) <= 40
    assert drawn.describe_attention_heatmap(values, "token", "prompt token", names, names)


def test_a_site_is_a_layer_where_a_layer_has_one():
    assert site_word(["0", "1"]) == "layer"
    assert site_word(["0 encoder", "1 decoder", "2 cross"]) == "site"


@pytest.mark.parametrize(("apart", "lines"), [(0.001, 2), (0.02, 3)])
def test_two_lines_that_nobody_can_tell_apart_are_one(apart: float, lines: int):
    share = np.full((3, 2), 0.4)
    mass = PromptMass(share, share + apart, share, share.mean(0), np.full(3, 0.5))
    figure = drawn.draw_attention_mass(mass, ["0", "1", "2"])
    assert sum("lines" in trace.mode for trace in figure.data) == lines
    assert figure.layout.xaxis.title.text == "layer"
