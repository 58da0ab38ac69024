"""The bars of what tokens are worth, and the scatter of pulled prompts: none, one, many, in figures and in words."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ptviz.analysis.importance import compute_importance
from ptviz.analysis.waywardness import WaywardRun, compute_waywardness
from ptviz.figures.csv_export import figure_to_csv
from ptviz.figures.importance import describe_importance, draw_importance
from ptviz.figures.style import BLUE, PROMPT
from ptviz.figures.waywardness import describe_waywardness, draw_waywardness


@pytest.mark.parametrize("n", [0, 1, 40])
def test_bars_for_none_one_and_many(n: int):
    losses = np.linspace(0.4, 0.6, n).tolist()
    for scores in ([], [0.1] * n):
        found = compute_importance(losses, [0.5] * n, 0.5, 0.5, scores)
        figure = draw_importance(found)
        assert len(figure.data) == (0 if not n else 3 if scores else 2)
        assert len(describe_importance(found)) > 20
    if n:
        assert figure_to_csv(figure).count("\n") >= n


def test_harm_is_blue_and_worth_is_orange():
    found = compute_importance([0.4, 0.6], [0.6, 0.4], 0.5, 0.5)
    loss, accuracy = draw_importance(found).data
    assert loss.marker.color == accuracy.marker.color == (BLUE, PROMPT)
    description = describe_importance(found)
    assert "rises most without token 1, by +0.1 nats (accuracy -10.0 points)" in description
    assert "1 of them do harm" in description


def test_pulled_prompts_are_marked_by_gamma():
    prompts = [WaywardRun("a", 0.0, 0, 0.8, "dog"), WaywardRun("<b>", 0.01, 0, 0.6, "<i>cat</i> sat")]
    found = compute_waywardness("cat sat", prompts)
    figure = draw_waywardness(found)
    assert figure.data[0].text == ("0", "0.01")
    assert figure.data[0].y == pytest.approx([0.0, 0.25])
    assert "<i>" not in json.dumps(figure.to_dict(), default=list).replace("<extra></extra>", "")
    assert "gamma 0.01" in describe_waywardness(found)
    for few in ([], prompts[1:]):
        alone = compute_waywardness("cat sat", few)
        assert not draw_waywardness(alone).data
        assert "no run with gamma 0" in describe_waywardness(alone)
