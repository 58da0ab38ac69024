"""The page Lessons, the page for teachers and the glossary, through pages/index.py."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from ptviz.runs import Run, StoreError
from ptviz.runs.forward_pass import ForwardPass, ForwardStep, write_forward_pass
from ptviz.ui.components import glossary
from ptviz.ui.lessons import page as lessons_page
from ptviz.ui.lessons import runs as lesson_runs
from ptviz.ui.lessons import teacher
from ptviz.ui.lessons.lesson import Lesson, read_lesson
from tests.pages.run_pages import figures, well
from tests.ui.test_lessons import TEXT

Page = Callable[..., AppTest]
LESSONS, TEACHING, GLOSSARY = "learn/lessons.py", "learn/teaching.py", "learn/glossary.py"
ROOT = Path(__file__).resolve().parents[2]


def words(at: AppTest) -> str:
    return "\n".join(str(element.value) for element in [*at.markdown, *at.caption, *at.text, *at.metric])


@pytest.fixture
def lesson(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trained: Callable[..., Run]) -> Lesson:
    """One lesson on a run of the smallest backbone, which is not recorded but the reader's own."""
    run = trained("dpt")
    path = tmp_path / "01-own.toml"
    path.write_text(TEXT)
    lesson = read_lesson(path)
    monkeypatch.setattr(type(lesson.experiment), "run_configs", lambda self: (run.config,))
    for module in (lessons_page, teacher):
        monkeypatch.setattr(module, "load_lessons", lambda: (lesson,))
    return lesson


def test_nothing_measured_is_shown_before_the_prediction(page: Page, lesson: Lesson):
    at = well(page(LESSONS))
    assert not figures(at)
    assert "Measured" not in words(at)
    assert str(lesson_runs.measured_value(lesson)) not in words(at)
    at.button[0].click().run()
    assert "Choose an answer first" in at.warning[0].value
    assert not figures(at)


def test_answers_of_the_address_that_do_not_fit_the_lesson_are_said(page: Page, lesson: Lesson):
    at = page(LESSONS, own="99~0~1")
    assert not at.exception
    assert "own: expected answers to this lesson, as 4~1~0; got 99~0~1. It is left out" in words(at)
    assert at.button[0].label == "Predict and measure"
    well(page(LESSONS, own="1~0~1"))


def test_a_lesson_from_start_to_end(page: Page, lesson: Lesson):
    at = page(LESSONS)
    at.radio(key="prediction-own").set_value(1)
    at.button[0].click().run()
    assert at.query_params["own"] == "1"
    assert list(figures(well(at)))
    measured = lesson_runs.measured_value(lesson)
    assert str(measured) in words(at)
    for number in range(2):
        at.radio(key=f"answer-own-{number}").set_value(number)
        at.button(key=f"check-own-{number}").click().run()
    assert at.query_params["own"] == "1~0~1"
    assert all(choice.feedback in words(at) for question in lesson.questions for choice in question.choices)
    assert "What to read" in " ".join(header.value for header in at.subheader)
    again = well(page(LESSONS, own="1~0~1"))
    assert words(again).count("(your answer)") == 2
    again.button(key="again").click().run()
    assert "own" not in again.query_params
    assert not figures(well(again))


def test_missing_runs_are_offered_for_training(page: Page, lesson: Lesson, monkeypatch: pytest.MonkeyPatch):
    (config,) = lesson.experiment.run_configs()
    other = replace(config, training=replace(config.training, seed=7))
    monkeypatch.setattr(type(lesson.experiment), "run_configs", lambda self: (other,))
    at = well(page(LESSONS, own="0"))
    assert "0 of 1 runs exist" in words(at)
    assert any(button.label == "Train 1 run" for button in at.button)
    assert not figures(at)


def test_teachers_see_needs_and_answers(page: Page, lesson: Lesson):
    at = well(page(TEACHING))
    (row,) = at.table[0].value.to_dict("records")
    assert (row["lesson"], row["minutes"], row["runs"]) == (r"1\. A title", 5, "1")
    assert f"Measured: **{lesson_runs.measured_value(lesson)}**" in words(at)
    assert all(choice.feedback in words(at) for question in lesson.questions for choice in question.choices)


def test_the_glossary_lists_all_terms_and_finds_some(page: Page):
    def entries(at: AppTest) -> str:
        return next(element.proto.body for element in at.get("html") if "ptviz-glossary" in element.proto.body)

    at = well(page(GLOSSARY))
    assert entries(at).count("<dt>") == len(glossary.load_terms())
    at.text_input(key="find").set_value("routing entropy").run()
    assert entries(at).count("<dt>") == 1
    at.text_input(key="find").set_value("no such term").run()
    assert "No term" in at.info[0].value


_MARKED = re.compile(r"\[\[([^\]\[|]+)(?:\|[^\]]+)?\]\]")
_CALLED = re.compile(r"\b(?:meaning|term)\(\s*[\"']([^\"']+)[\"']")


def used_terms() -> set[str]:
    """Every term that a page or a lesson marks, or asks the meaning of."""
    ui = ROOT / "ptviz" / "ui"
    sources = {*ui.rglob("*.py"), *(ROOT / "pages").rglob("*.py")} - {ui / "components" / "glossary.py"}
    found = {name for path in sources for pattern in (_MARKED, _CALLED) for name in pattern.findall(path.read_text())}
    for path in (ui / "lessons" / "content").iterdir():
        found |= set(_MARKED.findall(str(tomllib.loads(path.read_text()))))
    return found


def test_every_term_that_is_used_exists_and_every_term_is_used():
    assert used_terms() == set(glossary.load_terms())


def test_each_meaning_is_one_sentence():
    for name, text in glossary.load_terms().items():
        assert text.endswith("."), name
        assert ". " not in text, name
        assert text[0].isupper(), name


def test_a_term_is_focusable_and_escaped(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(glossary, "load_terms", lambda: {"a": "Less < more."})
    html = glossary.term("a", "<b>")
    assert 'tabindex="0"' in html
    assert "&lt;b&gt;" in html
    assert "Less &lt; more." in html
    assert glossary.mark_terms("x [[a|as]] y") == f"x {glossary.term('a', 'as')} y"
    with pytest.raises(KeyError, match="no term 'b'"):
        glossary.mark_terms("[[b]]")


def test_a_forward_pass_is_read_from_the_run(tmp_path: Path, trained: Callable[..., Run]):
    run = trained("prompt-tuning")
    path = tmp_path / "01-own.toml"
    path.write_text(TEXT + '[further]\nkind = "forward-pass"\ntext = "To {end}."\ncaption = "How to read it."\n')
    further = read_lesson(path).further
    assert further is not None
    with pytest.raises(StoreError, match="no recorded forward pass"):
        further.measure([run])
    steps = [ForwardStep(0, step, (p, 1 - p), (1.0, 1.0), "A" * 36) for step, p in ((0, 0.6), (4, 0.25))]
    found = ForwardPass("hi", ("a", "b", "c"), (0, 1), (2,), 3, ("no", "yes"), (0.5, 0.5), tuple(steps), {})
    write_forward_pass(run.path, found)
    measured = further.measure([run])
    assert {name: round(one.value) for name, one in measured.items()} == {
        "tokens": 2, "layers": 3, "alone": 50, "start": 40, "end": 75,
    }  # fmt: skip
