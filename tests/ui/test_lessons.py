"""Lessons as data: what their files may say, what an address may hold, and what is measured."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path

import pytest

from ptviz.ui.lessons.answers import Answers, answers_to_csv, parse_answers
from ptviz.ui.lessons.experiments import EXPERIMENT_KINDS
from ptviz.ui.lessons.lesson import ChoicePrediction, Lesson, load_lessons, read_lesson
from ptviz.ui.lessons.measures import Measure, evaluate_expression, fill_in
from ptviz.validation import InvalidData

TEXT = """
title = "A title"
question = "A question?"
minutes = 5
introduction = "About a [[soft prompt]]."
why = "It is {best}, {best - start} above the start."
[prediction]
kind = "choice"
question = "Which?"
measure = "best - start"
choices = [{ text = "less", below = 0.0, outcome = "Less." }, { text = "more", outcome = "More: {best}." }]
[experiment]
kind = "curve-of-a-run"
method = "dpt"
text = "A curve to {test}."
caption = "How to read it."
[[questions]]
text = "One?"
choices = [{ text = "yes", right = true, feedback = "Right." }, { text = "no", feedback = "No." }]
[[questions]]
text = "Two?"
choices = [{ text = "yes", right = true, feedback = "Right." }, { text = "no", feedback = "No." }]
[[reading]]
method = "dpt"
text = "the paper"
"""


def lesson_of(tmp_path: Path, text: str = TEXT) -> Lesson:
    path = tmp_path / "09-own.toml"
    path.write_text(text)
    return read_lesson(path)


def test_the_lessons_of_the_package():
    lessons = load_lessons()
    assert [lesson.id for lesson in lessons] == [
        "soft-prompt", "start", "length", "every-layer", "low-rank", "experts", "transfer", "seeds",
    ]  # fmt: skip
    assert {type(e).__struct_config__.tag for lesson in lessons for e in lesson.experiments} == set(EXPERIMENT_KINDS)
    assert all(5 <= lesson.minutes <= 10 for lesson in lessons)


def test_a_new_lesson_needs_no_code(tmp_path: Path):
    lesson = lesson_of(tmp_path)
    assert (lesson.id, lesson.experiment.run_configs()[0].method) == ("own", "dpt")
    assert "Xiao" in lesson.reading[0].source[0]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('"curve-of-a-run"', '"magic"', "experiment.kind: expected one of curve-of-a-run"),
        ('method = "dpt"\ntext = "A curve', 'metod = "dpt"\ntext = "A curve', "metod"),
        ('method = "dpt"\ntext = "A curve', 'method = "dtp"\ntext = "A curve', "dtp"),
        ("minutes = 5", 'minutes = "5"', "minutes: expected a whole number; got a text"),
        ("minutes = 5", "", "minutes"),
        ("[[soft prompt]]", "[[soft promt]]", "soft promt"),
        ("It is {best}", "It is {bestest}", "got bestest"),
        ('measure = "best - start"', 'measure = "best - end"', "got end"),
        ("below = 0.0, ", "", "expected below in every choice but the last"),
        ('"no", feedback', '"no", right = true, feedback', "expected exactly one with right = true; got 2"),
        ('method = "dpt"\ntext = "the paper"', 'text = "the paper"', "expected either a method"),
        ('title = "A title"', 'title = "A title', "09-own.toml"),
    ],
)
def test_a_bad_lesson_is_refused_with_its_place(tmp_path: Path, old: str, new: str, told: str):
    assert old in TEXT
    with pytest.raises(InvalidData, match=r"09-own\.toml") as raised:
        lesson_of(tmp_path, TEXT.replace(old, new, 1))
    assert told in str(raised.value)


def test_a_choice_is_right_by_the_measured_value(tmp_path: Path):
    prediction = lesson_of(tmp_path).prediction
    assert isinstance(prediction, ChoicePrediction)
    assert [prediction.right_index(Measure(value, "points")) for value in (-3.0, 0.0, 5.0)] == [0, 1, 1]


def test_measures_are_written_with_their_units():
    measures = {"a": Measure(50.0, "%"), "b": Measure(47.5, "%"), "n": Measure(1000, "count"), "x": Measure(math.nan)}
    assert fill_in("{a}, {a - b}, {n}, {n / n}, {x}", measures) == "50.0%, +2.5 points, 1,000, 1 times, not measured"
    with pytest.raises(ValueError, match="got c"):
        evaluate_expression("a - c", measures)


@pytest.mark.parametrize("given", [Answers(), Answers(3.0), Answers(2.5, (1, None)), Answers(0.0, (0, 1))])
def test_answers_survive_the_address(given: Answers):
    lesson = load_lessons()[0]
    assert parse_answers(lesson, given.to_text()) == given


@pytest.mark.parametrize("text", ["", "~", "x~1~1", "nan", "inf~0~0", "11~0~0", "-1", "<script>", "1e999", "5~9~0.5~7"])
def test_what_does_not_fit_counts_as_not_answered(text: str):
    found = parse_answers(load_lessons()[0], text)
    assert not found.is_done
    assert found.questions == (None, None)


def test_the_table_to_hand_in(tmp_path: Path):
    slider, choice = load_lessons()[0], lesson_of(tmp_path)
    answers = {slider.id: Answers(5.0, (0, 1)), choice.id: Answers(1.0)}
    values = {slider.id: Measure(2.0, "count"), choice.id: Measure(-1.0, "points")}
    text = answers_to_csv("=Ann", [slider, choice], answers, lambda lesson: values[lesson.id])
    first, second = csv.DictReader(io.StringIO(text))
    assert (first["predicted"], first["measured"], first["difference"]) == ("5.0", "2.0", "3.0")
    assert (first["right_1"], first["right_2"], first["done"]) == ("1", "1", "1")
    assert (second["predicted"], second["prediction_right"], second["done"]) == ("more", "0", "0")
    assert first["name"] == "'=Ann"


def test_the_documentation_names_every_kind_with_its_measures():
    page = Path(__file__).resolve().parents[2] / "docs" / "extend" / "lesson.md"
    rows = {
        cells[1].strip(" `"): cells[3] for line in page.read_text().splitlines() if len(cells := line.split("|")) == 5
    }
    for name, kind in EXPERIMENT_KINDS.items():
        prefix = "N." if name == "recorded-finding" else ""
        written = rows[name].replace("\\", "").strip().split(", ")
        assert written == [prefix + measure for measure in kind.names]
