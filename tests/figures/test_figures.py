"""Every figure draws for nothing, one thing and many, and shows strangers' text as text."""

from __future__ import annotations

import json

import pytest

from ptviz.analysis.training_curves import StageSpan, TrainingCurve, build_training_curve
from ptviz.figures.class_probabilities import ClassProbabilities, draw_class_probabilities
from ptviz.figures.style import DASHES, FROZEN, PROMPT, SERIES_COLOURS, escape_text, format_number, series_style
from ptviz.figures.training_curves import draw_run_comparison, draw_training_curve

HOSTILE = "<b>bold</b> <script>alert(1)</script> %{x} & $x^2$ <a href='javascript:alert(1)'>link</a>"


def curve(n: int, baselines: tuple[float, float] | None = (0.26, 0.38)) -> TrainingCurve:
    stages = (StageSpan("tune", 0, 200),)
    return build_training_curve(range(n), [1.0] * n, range(n), [0.5] * n, stages=stages, baselines=baselines)


@pytest.mark.parametrize("n", [0, 1, 50])
@pytest.mark.parametrize("baselines", [None, (0.26, 0.38), (0.5, 0.5), (0.88, 0.9)])
def test_training_draws_any_number_of_points(n, baselines):
    figure = json.loads(draw_training_curve(curve(n, baselines)).to_json())
    drawn = {trace["name"] for trace in figure["data"]}
    assert ({"zero-shot", "majority class"} <= drawn) == (baselines is not None)
    assert figure["layout"]["uirevision"] == "kept"
    assert figure["layout"]["xaxis"]["range"] == [0, 200]


def test_labels_of_near_baselines_stand_on_different_sides():
    notes = [a for a in draw_training_curve(curve(3, (0.40, 0.42))).layout.annotations]
    assert {note.yanchor for note in notes} == {"top", "bottom"}


def test_several_stages_are_named_and_parted():
    stages = (StageSpan("train", 0, 100), StageSpan(HOSTILE, 100, 100))
    figure = draw_training_curve(build_training_curve(range(150), [1.0] * 150, stages=stages))
    texts = [note.text for note in figure.layout.annotations]
    assert "train" in texts
    assert len(figure.layout.shapes) == 1
    assert not any("<script>" in text for text in texts)


@pytest.mark.parametrize("n", [0, 1, 5])
def test_comparison_draws_any_number_of_runs(n):
    figure = draw_run_comparison([(f"run {i}", series_style(0), curve(10)) for i in range(n)])
    losses = [trace for trace in figure.data if trace.yaxis == "y2"]
    scores = [trace for trace in figure.data if trace.yaxis != "y2"]
    for traces in (scores, losses):
        assert len(traces) == n
        assert len({trace.line.dash for trace in traces}) == n  # the same method: told apart by the dash


def test_a_name_is_shown_letter_for_letter():
    trace = draw_run_comparison([(HOSTILE, series_style(0), curve(3))]).data[0]
    assert trace.name.startswith("&lt;b&gt;bold")
    assert "<script" not in trace.hovertemplate
    assert trace.hovertemplate.count("%{") == 2  # step and accuracy; not the one in the name


@pytest.mark.parametrize("n", [0, 1, 3, 150])
def test_answers_draw_any_number_of_classes(n):
    figure = draw_class_probabilities(
        ClassProbabilities(tuple(f"c{i}" for i in range(n)), (0.5,) * n, (0.1,) * n), most=10
    )
    assert len(figure.data) == 2
    assert len(figure.data[0].y) == min(n, 10)


def test_answers_keep_the_likeliest_classes_in_their_order():
    shown = ClassProbabilities(("a", "b", "c"), (0.1, 0.2, 0.7), (0.6, 0.2, 0.2)).most_likely(2)
    assert shown == ClassProbabilities(("a", "c"), (0.1, 0.7), (0.6, 0.2))


def test_class_names_are_text():
    figure = draw_class_probabilities(ClassProbabilities((HOSTILE, "ok"), (0.5, 0.5), (0.5, 0.5)))
    assert not any("<" in label for label in figure.layout.yaxis.ticktext)


def test_every_method_of_the_survey_has_a_mark_of_its_own():
    marks = [(series_style(i).colour, series_style(i).dash) for i in range(len(SERIES_COLOURS) * len(DASHES))]
    assert len(set(marks)) == len(marks) >= 16


def test_no_series_has_the_colour_of_what_is_trained_or_frozen():
    assert not {series_style(i).colour for i in range(40)} & {FROZEN, PROMPT}


@pytest.mark.parametrize(
    ("value", "shown"),
    [(1350.4, "1,350"), (-1e-9, "-1e-09"), (-0.0, "0"), (0.12345, "0.123"), (12, "12"), (float("nan"), "nan")],
)
def test_numbers_have_no_exponent_and_no_negative_zero(value: float, shown: str):
    assert format_number(value) == shown


def test_plain_cuts_long_text():
    assert len(escape_text("x" * 500)) == 60
    assert escape_text("a\n  b") == "a b"
