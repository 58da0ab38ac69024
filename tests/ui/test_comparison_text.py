"""What a comparison says about what it draws."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ptviz.analysis.comparison import RunResult, summarise_methods
from ptviz.tasks.metrics import ACCURACY
from ptviz.ui.compare.methods_text import describe_cost_marks, describe_zero_shot

ONE = RunResult("a", 0, test=0.5, zero_shot=0.4, rows=(1.0, 0.0, 1.0, 0.0))


def test_only_what_is_drawn_is_described() -> None:
    bare = summarise_methods([replace(ONE, rows=())])
    assert describe_cost_marks(bare) == "", "one method, one seed: neither a line nor a bar"
    rows = summarise_methods([ONE, replace(ONE, method="b")])
    assert describe_cost_marks(rows).endswith("The bars are 95% intervals over test examples.")
    assert "grey line" in describe_cost_marks(rows)
    seeds = summarise_methods([ONE, replace(ONE, seed=1, test=0.6)])
    assert describe_cost_marks(seeds) == "The bars are 95% intervals over seeds."
    both = summarise_methods([ONE, replace(ONE, seed=1, test=0.6), replace(ONE, method="b")])
    assert "over seeds, of methods with one seed over its test examples" in describe_cost_marks(both)


@pytest.mark.parametrize("scores", [[], [0.58], [0.58, 0.58]])
def test_one_zero_shot_score_needs_no_word(scores: list[float]) -> None:
    assert describe_zero_shot(scores, ACCURACY) == ""


def test_zero_shot_on_different_examples_is_said() -> None:
    assert "on which it is 56.2% to 58.0%" in describe_zero_shot([0.58, 0.562], ACCURACY)
