"""The page Lessons: predict, measure, read why, answer two questions; the answers are saved in the address."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from urllib.parse import urlencode

import streamlit as st

from ptviz.runs import Run
from ptviz.ui.components.address_values import refuse, take_given
from ptviz.ui.components.csv_download import csv_download
from ptviz.ui.components.errors import show_errors
from ptviz.ui.components.forms import select_one
from ptviz.ui.components.glossary import mark_terms, render_markdown
from ptviz.ui.lessons.answers import Answers, answers_to_csv, parse_answers
from ptviz.ui.lessons.experiments import AnyExperiment, RecordedFinding
from ptviz.ui.lessons.lesson import ChoicePrediction, Lesson, Question, SliderPrediction, load_lessons
from ptviz.ui.lessons.measures import Measure, Measures, Unit, evaluate_expression, fill_in
from ptviz.ui.lessons.runs import find_own, find_recorded, measured_value, render_training

INTRODUCTION = (
    "Eight short lessons on [[soft prompt|soft prompts]]. Each asks for your prediction before it shows a measurement. "
    "All numbers are read from real runs on this computer, and you can repeat each experiment. Your answers are saved "
    "in the address of this page: copy it to continue later, or to hand it in."
)
_RECORDED, _OWN = "recorded", "my own"


def render_lessons() -> None:
    """Show the selected lesson as far as it was answered, and how to hand in."""
    lessons = load_lessons()
    answers = {lesson.id: answers_of(lesson) for lesson in lessons}
    lesson = _select_lesson(lessons, answers)
    _render_lesson(lesson, answers[lesson.id])
    if answers[lesson.id].is_done:
        _render_next(lessons, lesson)
    _render_hand_in(lessons, answers)


def answers_of(lesson: Lesson) -> Answers:
    """Return the answers to a lesson that the address holds."""
    found = parse_answers(lesson, str(st.query_params.get(lesson.id, "")))
    if (given := take_given(lesson.id)) and found.prediction is None:
        refuse(lesson.id, "answers to this lesson, as 4~1~0", given, "It is left out")
    return found


def _select_lesson(lessons: Sequence[Lesson], answers: dict[str, Answers]) -> Lesson:
    titles = {
        lesson.id: f"{number}. {lesson.title}{' (done)' if answers[lesson.id].is_done else ''}"
        for number, lesson in enumerate(lessons, start=1)
    }
    done = sum(one.is_done for one in answers.values())
    help = f"{done} of {len(lessons)} are done; any order is possible"
    wanted = select_one("Lesson", titles, key="lesson", help=help)
    st.progress(done / len(lessons), text=f"{done} of {len(lessons)} lessons done")
    return next(lesson for lesson in lessons if lesson.id == wanted)


def _render_lesson(lesson: Lesson, given: Answers) -> None:
    st.header(lesson.title)
    st.caption(f"About {lesson.minutes} minutes")
    render_markdown(f"**{lesson.question}**")
    render_markdown(lesson.introduction)
    st.subheader("1. Your prediction")
    render_markdown(lesson.prediction.question)
    if given.prediction is None:
        _render_prediction_form(lesson)
        st.caption("The measurement is shown when you have predicted.")
        return
    st.subheader("2. The measurement")
    measures: Measures | None = None
    with show_errors():
        measures = _render_experiment(lesson.experiment, lesson.id)
    if measures is None:
        return
    _render_outcome(lesson, given.prediction, evaluate_expression(lesson.prediction.measure, measures), measures)
    st.subheader("3. Why")
    render_markdown(fill_in(lesson.why, measures))
    if lesson.further is not None:
        with st.expander("Further: one more experiment", icon=":material/science:"), show_errors():
            _render_experiment(lesson.further, f"{lesson.id}-further")
    st.subheader("4. Two questions")
    for number, question in enumerate(lesson.questions):
        _render_question(lesson, given, number, question)
    if given.is_done:
        _render_reading(lesson)


def _render_prediction_form(lesson: Lesson) -> None:
    asked, key = lesson.prediction, f"prediction-{lesson.id}"

    def save() -> None:
        if (chosen := st.session_state[key]) is not None:
            st.query_params[lesson.id] = Answers(prediction=float(chosen)).to_text()

    with st.form(f"predict-{lesson.id}"):
        if isinstance(asked, SliderPrediction):
            _slider(asked, key)
        else:
            st.radio(
                "Your prediction",
                range(len(asked.choices)),
                index=None,
                format_func=lambda index: asked.choices[index].text,
                key=key,
            )
        _submit("Predict and measure", ":material/visibility:", f"predict-{key}", save)


def _slider(asked: SliderPrediction, key: str) -> None:
    whole = all(value.is_integer() for value in (asked.low, asked.high, asked.by))
    convert = int if whole else float
    middle = asked.low + asked.by * round((asked.high - asked.low) / asked.by / 2)
    label = f"Your prediction{f' ({asked.unit})' if asked.unit else ''}"
    st.slider(label, convert(asked.low), convert(asked.high), convert(middle), convert(asked.by), key=key)


def _submit(label: str, icon: str, key: str, save: Callable[[], None]) -> None:
    """Show the button of a form; ``save`` runs before the page is drawn again, and leaves the form if it has saved."""
    if st.form_submit_button(label, type="primary", icon=icon, key=key, on_click=save):
        st.warning("Choose an answer first.", icon=":material/info:")


def _render_experiment(experiment: AnyExperiment, key: str) -> Measures | None:
    """Show an experiment and return what was measured; None, with a button that trains, while runs are missing."""
    runs = _find_runs(experiment, key)
    if runs is None:
        render_training(experiment.run_configs(), key)
        return None
    measures = experiment.measure(runs)
    render_markdown(fill_in(experiment.text, measures))
    experiment.render(runs, key)
    if isinstance(experiment, RecordedFinding):
        with st.expander("Repeat it", icon=":material/replay:"):
            st.markdown("Your own finished runs then count with the recorded values.")
            render_training(experiment.repeat_configs(), f"{key}-repeat")
    return measures


def _find_runs(experiment: AnyExperiment, key: str) -> list[Run] | None:
    """Return the recorded runs of an experiment or the reader's own, as the reader chooses where there are both."""
    configs = experiment.run_configs()
    if not configs:
        return []
    if find_recorded(configs) is None:
        return find_own(configs)
    chosen = st.segmented_control(
        "Runs",
        (_RECORDED, _OWN),
        default=_RECORDED,
        required=True,
        key=f"runs-{key}",
        bind="query-params",
        help="recorded runs come with the app; your own repeat the experiment on this computer",
    )
    return find_own(configs) if chosen == _OWN else find_recorded(configs)


def _render_outcome(lesson: Lesson, prediction: float, measured: Measure, measures: Measures) -> None:
    asked = lesson.prediction
    with st.container(border=True):
        if isinstance(asked, ChoicePrediction):
            right = asked.choices[asked.right_index(measured)]
            predicted = asked.choices[int(prediction)]
            st.markdown(f"You predicted: **{predicted.text}**. Measured: **{measured}**, so: **{right.text}**.")
            _badge(predicted is right, "Your prediction was right", "It came out differently")
            render_markdown(fill_in(right.outcome, measures))
        else:
            left, middle, last = st.columns(3)
            left.metric("You predicted", str(Measure(prediction, measured.unit)))
            middle.metric("Measured", str(measured))
            unit: Unit = "points" if measured.unit == "%" else measured.unit
            last.metric("Apart", str(Measure(abs(prediction - measured.value), unit)).removeprefix("+"))


def _badge(is_right: bool, yes: str, no: str) -> None:
    if is_right:
        st.badge(yes, icon=":material/check:", color="green")
    else:
        st.badge(no, icon=":material/close:", color="orange")


def _render_question(lesson: Lesson, given: Answers, number: int, question: Question) -> None:
    chosen = given.questions[number]
    with st.container(border=True):
        render_markdown(f"**{question.text}**")
        if chosen is not None:
            _render_feedback(question, chosen)
            return
        key = f"answer-{lesson.id}-{number}"

        def save() -> None:
            if (picked := st.session_state[key]) is not None:
                st.query_params[lesson.id] = given.with_question(number, picked).to_text()

        with st.form(f"question-{lesson.id}-{number}", border=False):
            st.radio(
                f"Answer to question {number + 1}",
                range(len(question.choices)),
                index=None,
                format_func=lambda index: question.choices[index].text,
                key=key,
                label_visibility="collapsed",
            )
            _submit("Check", ":material/check:", f"check-{lesson.id}-{number}", save)


def _render_feedback(question: Question, chosen: int) -> None:
    """Show what is to be said of every answer, the chosen one marked."""
    _badge(question.choices[chosen].right, "Right", "Not right")
    lines = []
    for index, choice in enumerate(question.choices):
        icon = ":material/check:" if choice.right else ":material/close:"
        own = " (your answer)" if index == chosen else ""
        lines.append(f"- {icon} **{choice.text}**{own}: {mark_terms(choice.feedback)}")
    st.markdown("\n".join(lines), unsafe_allow_html=True)


def _render_reading(lesson: Lesson) -> None:
    st.subheader("5. What to read")
    for reading in lesson.reading:
        citation, url = reading.source
        render_markdown(f"- [{citation}]({url}): {reading.text}")


def _render_next(lessons: Sequence[Lesson], lesson: Lesson) -> None:
    at = lessons.index(lesson)

    def open_lesson(wanted: Lesson) -> None:
        st.query_params["lesson"] = wanted.id
        st.session_state["lesson"] = wanted.id

    def begin_again() -> None:
        st.query_params.pop(lesson.id, None)
        for name in (f"prediction-{lesson.id}", *(f"answer-{lesson.id}-{i}" for i in range(len(lesson.questions)))):
            st.session_state.pop(name, None)

    with st.container(horizontal=True):
        if at + 1 < len(lessons):
            following = lessons[at + 1]
            st.button(
                f"Next: {following.title}",
                type="primary",
                icon=":material/arrow_forward:",
                key="next-lesson",
                on_click=open_lesson,
                args=(following,),
            )
        st.button("Begin this lesson again", icon=":material/replay:", key="again", on_click=begin_again)


def _render_hand_in(lessons: Sequence[Lesson], answers: dict[str, Answers]) -> None:
    with st.expander("Hand in your answers", icon=":material/assignment_turned_in:"):
        name = st.text_input("Your name", key="name", max_chars=80, bind="query-params").strip()
        st.markdown("A table with your predictions, the measured values and your answers:")
        csv_download(
            "Download as CSV",
            lambda: answers_to_csv(name, lessons, answers, measured_value),
            "ptviz-lessons.csv",
        )
        st.markdown("Or a link: add this to the address of the app.")
        given = {lesson.id: text for lesson in lessons if (text := answers[lesson.id].to_text())}
        # A name of one's own may hold anything; urlencode leaves no character that Markdown would read.
        st.code(f"/lessons?{urlencode(({'name': name} if name else {}) | given)}", language=None)
