"""What a reader has answered: saved in the address, so that a link hands it in, and written as CSV.

The address has one parameter for each lesson, ``soft-prompt=4~1~0``: the prediction (a number, or the number of the
choice from 0) and the answers to the two questions, as far as they were given.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ptviz.analysis.csv_text import table_to_csv
from ptviz.ui.lessons.lesson import ChoicePrediction, Lesson
from ptviz.ui.lessons.measures import Measure

_SEPARATOR = "~"
CSV_COLUMNS = (
    "name", "lesson", "title", "predicted", "measured", "difference", "prediction_right",
    "question_1", "right_1", "question_2", "right_2", "done",
)  # fmt: skip


@dataclass(frozen=True)
class Answers:
    """The answers of one reader to one lesson; None where there is none yet."""

    prediction: float | None = None
    questions: tuple[int | None, ...] = (None, None)

    @property
    def is_done(self) -> bool:
        """Return whether the prediction and both questions were answered."""
        return self.prediction is not None and None not in self.questions

    def with_question(self, number: int, choice: int) -> Answers:
        """Return the answers with one more question answered; ``number`` counts from 0."""
        changed = [choice if i == number else old for i, old in enumerate(self.questions)]
        return Answers(self.prediction, tuple(changed))

    def to_text(self) -> str:
        """Return the answers as they stand in the address."""
        values = [self.prediction, *self.questions]
        return _SEPARATOR.join("" if value is None else f"{value:g}" for value in values).rstrip(_SEPARATOR)


def parse_answers(lesson: Lesson, text: str) -> Answers:
    """Return the answers that an address holds; what does not fit the lesson counts as not answered."""
    parts = [*text.split(_SEPARATOR), "", "", ""][:3]
    prediction = _number(parts[0])
    if prediction is None or not _fits(lesson, prediction):
        return Answers()
    choices = [_number(part) for part in parts[1:]]
    return Answers(
        prediction,
        tuple(
            int(choice) if choice is not None and choice in range(len(question.choices)) else None
            for choice, question in zip(choices, lesson.questions, strict=True)
        ),
    )


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _fits(lesson: Lesson, prediction: float) -> bool:
    asked = lesson.prediction
    if isinstance(asked, ChoicePrediction):
        return prediction in range(len(asked.choices))
    return asked.low <= prediction <= asked.high


def answers_to_csv(
    name: str,
    lessons: Sequence[Lesson],
    answers: Mapping[str, Answers],
    measured: Callable[[Lesson], Measure | None],
) -> str:
    """Return one row for each lesson; what was not answered or not measured is empty.

    ``measured`` gives the value that the prediction is about, None where it cannot be measured now.
    """
    rows = [_row(name, lesson, answers.get(lesson.id, Answers()), measured) for lesson in lessons]
    return table_to_csv([CSV_COLUMNS, *rows])


def _row(name: str, lesson: Lesson, given: Answers, measured: Callable[[Lesson], Measure | None]) -> tuple[object, ...]:
    value = measured(lesson) if given.prediction is not None else None
    predicted: object = "" if given.prediction is None else given.prediction
    difference: object = ""
    is_right: object = ""
    if isinstance(lesson.prediction, ChoicePrediction):
        if given.prediction is not None:
            predicted = lesson.prediction.choices[int(given.prediction)].text
            is_right = "" if value is None else int(lesson.prediction.right_index(value) == given.prediction)
    elif given.prediction is not None and value is not None:
        difference = round(given.prediction - value.value, 4)
    answered: list[object] = []
    for question, choice in zip(lesson.questions, given.questions, strict=True):
        answered += ["", ""] if choice is None else [question.choices[choice].text, int(question.choices[choice].right)]
    shown = "" if value is None or not math.isfinite(value.value) else round(value.value, 4)
    return (name, lesson.id, lesson.title, predicted, shown, difference, is_right, *answered, int(given.is_done))
