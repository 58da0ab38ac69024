"""Training events: plain values that can be printed, stored and replayed.

``step`` counts updates. ``StepCompleted(step=t)`` and ``Evaluated(step=t)`` describe the same prompt, the one
after t updates of the stage. After a crash a step may be repeated; the later event replaces the earlier one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import msgspec

from ptviz.validation import (
    Duration,
    InvalidData,
    Magnitude,
    Name,
    Score,
    Sentence,
    StageIndex,
    StepCount,
    decode_json,
)

if TYPE_CHECKING:
    from torch import Tensor

RoundedShare = Annotated[float, msgspec.Meta(ge=-0.001, le=1.001)]
"""A share that is a sum of float32 numbers."""
ShownText = Annotated[str, msgspec.Meta(max_length=4000)]
ShownTexts = Annotated[tuple[ShownText, ...], msgspec.Meta(max_length=100)]
"""A few texts, each cut to ``MAX_SHOWN_CHARACTERS``."""
MAX_SHOWN_CHARACTERS = 2000
_MEASURED = ("loss", "norm", "zero_shot_loss", "test_loss")
"""Fields that may be NaN: training ends with an error then, but the value that was measured is recorded."""
_MAX_MEASURED = 1e30
_PER_TASK = msgspec.Meta(max_length=100)


@dataclass(frozen=True)
class Event:
    """An event of a run. All kinds except Snapshot are plain data with a lossless JSON form."""

    kind: ClassVar[str]


@dataclass(frozen=True)
class Baselines(Event):
    """Scores on the validation examples without a prompt, by the task's metric.

    ``majority`` always gives the most frequent class or target; ``zero_shot`` is the backbone's own answer. For
    text-to-text tasks, ``copying`` gives the input back, and ``in_context`` is the backbone's answer after ``shown``
    training examples (None where it cannot be had); ``inputs``, ``references`` (the first of each) and ``unprompted``
    are a few examples, and what is written for them without a prompt. ``tasks`` are those of each of several target
    tasks; the scores are then their means, and the rest is empty.
    """

    kind: ClassVar[str] = "baselines"
    majority: Score
    zero_shot: Score
    zero_shot_loss: float
    copying: Score | None = None
    in_context: Score | None = None
    shown: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 0
    inputs: ShownTexts = ()
    references: ShownTexts = ()
    unprompted: ShownTexts = ()
    tasks: Annotated[tuple[Baselines, ...], _PER_TASK] = ()


@dataclass(frozen=True)
class SourcePromptReady(Event):
    """A source prompt: its task, its validation accuracy there (0 to 1), and the run that trained it.

    ``reused`` says that the run existed before; ``run`` is empty for a prompt trained within this one.
    """

    kind: ClassVar[str] = "source"
    task: Name
    run: Name
    accuracy: Score
    reused: bool


@dataclass(frozen=True)
class StageStarted(Event):
    """The start of a stage: its index, name and number of updates."""

    kind: ClassVar[str] = "stage"
    index: StageIndex
    name: Name
    steps: StepCount


@dataclass(frozen=True)
class StepCompleted(Event):
    """The training loss (nats, of one batch) after ``step`` updates; ``seconds`` since the start of the run."""

    kind: ClassVar[str] = "step"
    stage: StageIndex
    step: StepCount
    loss: float
    rate: Magnitude
    norm: float
    seconds: Duration
    load: Annotated[tuple[RoundedShare, ...], msgspec.Meta(max_length=10_000)] = ()


@dataclass(frozen=True)
class Evaluated(Event):
    """Loss (nats) and score on the validation examples after ``step`` updates.

    ``accuracy`` is the score by the task's metric; ``written`` is what is written for the inputs of ``Baselines``.
    ``tasks`` are the evaluations on each of several target tasks; loss and score are then their means.
    """

    kind: ClassVar[str] = "evaluation"
    stage: StageIndex
    step: StepCount
    loss: float
    accuracy: Score
    best: bool
    seconds: Duration
    written: ShownTexts = ()
    tasks: Annotated[tuple[Evaluated, ...], _PER_TASK] = ()


@dataclass(frozen=True)
class Snapshot(Event):
    """The state after ``step`` updates, to analyse it or to resume from it.

    ``method`` is the method's state dict; ``resume`` holds the tensors of the optimiser and of the best prompt,
    ``progress`` the counters. ``merged`` is the merged prompt by its symbols where the state is much larger, else
    empty.
    """

    kind: ClassVar[str] = "snapshot"
    stage: int
    step: int
    method: Mapping[str, Tensor]
    resume: Mapping[str, Tensor]
    progress: Mapping[str, Any]
    merged: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Finished(Event):
    """The end of a run: scores of the best prompt by validation, on validation and test examples.

    ``tasks`` are the results on each of several target tasks; scores and loss are then their means.
    """

    kind: ClassVar[str] = "finished"
    validation: Score
    test: Score
    test_loss: float
    majority: Score
    zero_shot: Score
    best_step: StepCount
    steps: StepCount
    seconds: Duration
    steps_per_second: Magnitude
    reason: Sentence = "all steps done"
    best_stage: StageIndex | None = None
    tasks: Annotated[tuple[Finished, ...], _PER_TASK] = ()


@dataclass(frozen=True)
class Failed(Event):
    """The failure of a run: the reason, and what to do."""

    kind: ClassVar[str] = "failed"
    reason: Sentence
    step: StepCount


@dataclass(frozen=True)
class Resumed(Event):
    """Training continues from the state after ``step`` updates of ``stage``; later events before this one are void."""

    kind: ClassVar[str] = "resumed"
    stage: StageIndex = 0
    step: StepCount = 0
    steps: StepCount = 0


PLAIN_EVENTS: dict[str, type[Event]] = {
    event.kind: event
    for event in (Baselines, SourcePromptReady, StageStarted, StepCompleted, Evaluated, Finished, Failed, Resumed)
}


class _Kind(msgspec.Struct):
    event: Name


def event_to_json(event: Event) -> dict[str, Any]:
    """Return an event as a JSON object; of a Snapshot, only stage and step (its tensors are in files)."""
    if isinstance(event, Snapshot):
        return {"event": event.kind, "stage": event.stage, "step": event.step}
    plain = {"event": event.kind, **asdict(event)}
    if plain.get("tasks") == ():
        del plain["tasks"]
    return plain


def decode_event(line: bytes) -> Event | None:
    """Return the event of a JSON object as ``event_to_json`` makes it; None for a snapshot or an unknown kind.

    Raises:
        InvalidData: if the line is damaged, or a field is missing, wrongly typed or out of its bounds.
    """
    kind = PLAIN_EVENTS.get(decode_json(line, _Kind, non_finite=True).event)
    if kind is None:
        return None
    event = decode_json(line, kind, non_finite=True)
    for one in (event, *getattr(event, "tasks", ())):
        if getattr(one, "tasks", ()) and one is not event:
            raise InvalidData("tasks: expected the event of one task each; got one of several")
        for name in _MEASURED:
            if abs(getattr(one, name, 0.0)) > _MAX_MEASURED:
                raise InvalidData(f"{name}: expected a number of at most {_MAX_MEASURED:g}; got {getattr(one, name):g}")
    return event
