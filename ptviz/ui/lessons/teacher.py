"""The page for teachers: what each lesson needs, how long it takes, and its answers."""

from __future__ import annotations

import streamlit as st

from ptviz import backbones, tasks
from ptviz.methods import list_methods
from ptviz.runs import Run, RunConfig
from ptviz.ui.components.errors import show_errors
from ptviz.ui.components.formatting import format_duration
from ptviz.ui.components.glossary import render_markdown
from ptviz.ui.lessons.experiments import Experiment
from ptviz.ui.lessons.lesson import ChoicePrediction, Lesson, load_lessons
from ptviz.ui.lessons.measures import Measure
from ptviz.ui.lessons.runs import find_any, measured_value

INTRODUCTION = (
    "For each lesson: what must be installed, which runs its experiment reads, how long they take to train again, and "
    "the answers. Measured answers are read from the runs on this computer. Students hand in a CSV file or a link from "
    "the foot of the page Lessons; opening the link shows their answers."
)
_LESSONS_PAGE = "learn/lessons.py"


def render_teacher_page() -> None:
    """Show a table of all lessons, then the answers of each."""
    lessons = load_lessons()
    st.page_link(_LESSONS_PAGE, label="Open the lessons", icon=":material/school:")
    st.caption(
        "To let a class work on this computer, each with their own runs, start the app with "
        '`ptviz app --host 0.0.0.0 --classroom`. The guide "A classroom" says what students then see and may do.'
    )
    st.header("What each lesson needs")
    with show_errors():
        here = {info.name for info in backbones.list_backbones() if info.available}
        here |= {info.name for info in tasks.list_tasks() if info.available}
        st.table([_needs(number, lesson, here) for number, lesson in enumerate(lessons, start=1)], hide_index=True)
        total = sum(lesson.minutes for lesson in lessons)
        st.caption(
            f"All lessons together take about {total} minutes. Times are those of the runs that were found; "
            "where there are none, the page of the lesson offers to train them."
        )
    st.header("Answers")
    for number, lesson in enumerate(lessons, start=1):
        with st.expander(f"{number}. {lesson.title}"), show_errors():
            _render_answers(lesson)


def _needs(number: int, lesson: Lesson, here: set[str]) -> dict[str, object]:
    configs = [config for experiment in lesson.experiments for config in experiment.run_configs()]
    found = [runs for experiment in lesson.experiments if (runs := _runs_of(experiment)) is not None]
    runs = [run for own in found for run in own]
    missing = len(configs) - len(runs)
    return {
        "lesson": rf"{number}\. {lesson.title}",  # Escaped: a cell is Markdown, where a number begins a list.
        "minutes": lesson.minutes,
        "model and data": " with ".join(
            _installed({getattr(config, name) for config in configs}, here) for name in ("backbone", "task")
        ),
        "methods": ", ".join(sorted({list_methods()[config.method].card.title for config in configs})),
        "runs": f"{len(configs)}, {missing} missing" if missing else str(len(configs)),
        "to train again": format_duration(sum(run.status().seconds for run in runs)) if runs else "—",
    }


def _runs_of(experiment: Experiment) -> list[Run] | None:
    configs: tuple[RunConfig, ...] = experiment.run_configs()
    return find_any(configs)


def _installed(names: set[str], here: set[str]) -> str:
    """Return names, those that are not installed marked."""
    return ", ".join(name if name in here else f"{name} (not installed)" for name in sorted(names)) or "none"


def _render_answers(lesson: Lesson) -> None:
    measured = measured_value(lesson)
    render_markdown(f"**{lesson.prediction.question}**")
    _render_measured(lesson, measured)
    for question in lesson.questions:
        render_markdown(f"**{question.text}**")
        for choice in question.choices:
            icon = ":material/check:" if choice.right else ":material/close:"
            render_markdown(f"- {icon} {choice.text}: {choice.feedback}")


def _render_measured(lesson: Lesson, measured: Measure | None) -> None:
    if measured is None:
        st.markdown("Not measured yet: the runs of its experiment are missing. Open the lesson to train them.")
    elif isinstance(lesson.prediction, ChoicePrediction):
        right = lesson.prediction.choices[lesson.prediction.right_index(measured)]
        st.markdown(f"Measured: **{measured}**, so: **{right.text}**")
    else:
        st.markdown(f"Measured: **{measured}**")
