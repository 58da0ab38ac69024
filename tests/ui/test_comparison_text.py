"""What a comparison says about what it draws."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ptviz.analysis.comparison import RunResult, summarise_methods
from ptviz.tasks.metrics import ACCURACY
from ptviz.ui.compare.methods_text import describe_columns, describe_cost_marks, describe_intervals, describe_zero_shot

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


def test_the_columns_say_what_each_interval_is_over() -> None:
    bare, rows = summarise_methods([replace(ONE, rows=())]), summarise_methods([ONE, replace(ONE, method="b")])
    seeds = [ONE, replace(ONE, seed=1, test=0.6)]
    both = summarise_methods([*seeds, replace(ONE, method="b")])
    assert describe_columns(bare, ACCURACY).startswith("Test is the score of one seed. Length counts prompt positions.")
    assert describe_columns(rows, ACCURACY).startswith(
        "Test is the score of one seed; its interval is over test examples, marked (examples). Length "
    )
    assert describe_columns(summarise_methods(seeds), ACCURACY).startswith(
        "Test is the mean over seeds; sd and interval are over seeds. Length "
    )
    assert describe_columns(both, ACCURACY).startswith(
        "Test is the mean over seeds; sd and interval are over seeds; with one seed the interval is over its test "
        "examples, marked (examples). Length "
    )
    assert describe_columns(both, ACCURACY).endswith("own best accuracy.")
    sources = summarise_methods([replace(ONE, method="mpt"), replace(ONE, method="mpt", seed=1)])
    assert "All seeds of MPT start from one set of source prompts" in describe_columns(sources, ACCURACY)
    assert "source prompts" not in describe_columns(both, ACCURACY)
    assert describe_intervals(bare) == ""
    assert describe_intervals(rows) == "over test examples"


@pytest.mark.parametrize("scores", [[], [0.58], [0.58, 0.58]])
def test_one_zero_shot_score_needs_no_word(scores: list[float]) -> None:
    assert describe_zero_shot(scores, ACCURACY) == ""


def test_zero_shot_on_different_examples_is_said() -> None:
    assert "on which it is 56.2% to 58.0%" in describe_zero_shot([0.58, 0.562], ACCURACY)
