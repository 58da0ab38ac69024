"""What a lesson is, and how its file is read: one TOML file each in ``content/``, checked before anything is shown."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from ptviz.methods import list_methods
from ptviz.ui.components.glossary import mark_terms
from ptviz.ui.lessons.experiments import EXPERIMENT_KINDS, AnyExperiment
from ptviz.ui.lessons.measures import Measure, check_expressions, expressions_in
from ptviz.validation import InvalidData, convert_json

Text = Annotated[str, Meta(min_length=1, max_length=3000)]
Title = Annotated[str, Meta(min_length=1, max_length=100)]


class _Part(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """A part of a lesson: unknown fields are refused."""


class PredictedChoice(_Part, frozen=True):
    """One answer to predict: it is right if the measured value is below ``below``, and below no earlier choice's.

    ``outcome`` is shown if it is right. The last choice has no limit.
    """

    text: Title
    outcome: Text
    below: float | None = None


class ChoicePrediction(_Part, frozen=True, tag_field="kind", tag="choice"):
    """A prediction among choices, in the order of the values that make them right."""

    question: Text
    measure: Title
    choices: Annotated[tuple[PredictedChoice, ...], Meta(min_length=2, max_length=5)]

    def __post_init__(self) -> None:
        limits = [choice.below for choice in self.choices]
        known = [limit for limit in limits[:-1] if limit is not None]
        if limits[-1] is not None or len(known) < len(limits) - 1 or known != sorted(set(known)):
            raise ValueError(
                "choices: expected `below` in every choice but the last, each above the one before; "
                f"got {', '.join('none' if limit is None else f'{limit:g}' for limit in limits)}"
            )

    def right_index(self, measured: Measure) -> int:
        """Return the index of the choice that a measured value makes right."""
        limits = [choice.below for choice in self.choices[:-1]]
        return next((i for i, limit in enumerate(limits) if limit is not None and measured.value < limit), len(limits))


class SliderPrediction(_Part, frozen=True, tag_field="kind", tag="slider"):
    """A prediction of a number between ``low`` and ``high``, in the unit of the measure."""

    question: Text
    measure: Title
    low: float
    high: float
    by: Annotated[float, Meta(gt=0)]
    unit: Annotated[str, Meta(max_length=30)] = ""

    def __post_init__(self) -> None:
        if not self.low < self.high or self.by > self.high - self.low:
            raise ValueError(f"expected low < high and a step within; got {self.low:g}, {self.high:g}, by {self.by:g}")


class QuestionChoice(_Part, frozen=True):
    """One answer to a question, and what is said of it."""

    text: Title
    feedback: Text
    right: bool = False


class Question(_Part, frozen=True):
    """A question about what was seen; exactly one answer is right."""

    text: Text
    choices: Annotated[tuple[QuestionChoice, ...], Meta(min_length=2, max_length=5)]

    def __post_init__(self) -> None:
        if (count := sum(choice.right for choice in self.choices)) != 1:
            raise ValueError(f"choices: expected exactly one with right = true; got {count}")

    @property
    def right_index(self) -> int:
        """Return the index of the right answer."""
        return next(i for i, choice in enumerate(self.choices) if choice.right)


class Reading(_Part, frozen=True):
    """A paper and what to find in it: that of a method, or one with citation and address."""

    text: Text
    method: str = ""
    citation: str = ""
    url: str = ""

    def __post_init__(self) -> None:
        if bool(self.method) == bool(self.citation and self.url):
            raise ValueError("expected either a method, or both a citation and a url")
        if self.method and self.method not in list_methods():
            raise ValueError(f"method: expected one of {', '.join(list_methods())}; got {self.method!r}")

    @property
    def source(self) -> tuple[str, str]:
        """Return citation and address."""
        if not self.method:
            return self.citation, self.url
        card = list_methods()[self.method].card
        return card.citation, card.url


class Lesson(_Part, frozen=True):
    """One lesson: what its file says. ``id`` is the name of the file without its number and ending."""

    title: Title
    question: Text
    minutes: Annotated[int, Meta(ge=1, le=30)]
    introduction: Text
    prediction: ChoicePrediction | SliderPrediction
    experiment: AnyExperiment
    why: Text
    questions: Annotated[tuple[Question, ...], Meta(min_length=2, max_length=2)]
    reading: Annotated[tuple[Reading, ...], Meta(min_length=1, max_length=6)]
    further: AnyExperiment | None = None
    id: str = ""

    def __post_init__(self) -> None:
        names = self.experiment.measure_names()
        check_expressions("prediction.measure", [self.prediction.measure], names)
        outcomes = [c.outcome for c in self.prediction.choices] if isinstance(self.prediction, ChoicePrediction) else []
        for text in (self.why, *outcomes):
            check_expressions("a text", expressions_in(text), names)
        if self.further is not None:
            check_expressions("further.text", expressions_in(self.further.text), self.further.measure_names())
        for text in self._texts():
            mark_terms(text)
        for experiment in self.experiments:
            experiment.run_configs()

    @property
    def experiments(self) -> tuple[AnyExperiment, ...]:
        """Return the experiment whose result is predicted, and the further one if there is one."""
        return (self.experiment,) if self.further is None else (self.experiment, self.further)

    def _texts(self) -> Iterator[str]:
        yield from (self.question, self.introduction, self.prediction.question, self.why)
        yield from (text for experiment in self.experiments for text in (experiment.text, experiment.caption))
        for question in self.questions:
            yield question.text
            yield from (choice.feedback for choice in question.choices)


def read_lesson(path: Path | Traversable) -> Lesson:
    """Return the lesson of a TOML file, named as in ``03-length.toml``.

    Raises:
        InvalidData: naming the file and the place, what was expected there and what came.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
        for place in ("experiment", "further"):
            kind = data.get(place, {}).get("kind") if isinstance(data.get(place, {}), dict) else None
            if place in data and kind not in EXPERIMENT_KINDS:
                raise InvalidData(f"{place}.kind: expected one of {', '.join(EXPERIMENT_KINDS)}; got {kind!r}")
        name = path.name.removesuffix(".toml").partition("-")[2]
        return convert_json({**data, "id": name}, Lesson)
    except (ValueError, KeyError) as error:
        raise InvalidData(f"lesson {path.name}: {error.args[0] if error.args else error}") from None


@cache
def load_lessons() -> tuple[Lesson, ...]:
    """Return the lessons in the order of their files' numbers.

    Raises:
        InvalidData: as ``read_lesson``.
    """
    folder = files("ptviz.ui.lessons") / "content"
    found = sorted((one for one in folder.iterdir() if one.name.endswith(".toml")), key=lambda one: one.name)
    return tuple(map(read_lesson, found))
