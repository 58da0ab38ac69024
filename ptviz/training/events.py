"""Training events: plain values that can be printed, stored and replayed.

``step`` counts updates. ``StepCompleted(step=t)`` and ``Evaluated(step=t)`` describe the same prompt, the one
after t updates of the stage. After a crash a step may be repeated; the later event replaces the earlier one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar

from torch import Tensor


@dataclass(frozen=True)
class Event:
    """An event of a run. All kinds except Snapshot are plain data with a lossless JSON form."""

    kind: ClassVar[str]


@dataclass(frozen=True)
class Baselines(Event):
    """Scores on the validation examples without a prompt: majority class, and the zero-shot backbone."""

    kind: ClassVar[str] = "baselines"
    majority: float
    zero_shot: float
    zero_shot_loss: float


@dataclass(frozen=True)
class SourcePromptReady(Event):
    """A source prompt: its task, its validation accuracy there (0 to 1), and the run that trained it.

    ``reused`` says that the run existed before; ``run`` is empty for a prompt trained within this one.
    """

    kind: ClassVar[str] = "source"
    task: str
    run: str
    accuracy: float
    reused: bool


@dataclass(frozen=True)
class StageStarted(Event):
    """The start of a stage: its index, name and number of updates."""

    kind: ClassVar[str] = "stage"
    index: int
    name: str
    steps: int


@dataclass(frozen=True)
class StepCompleted(Event):
    """The training loss (nats, of one batch) after ``step`` updates; ``seconds`` since the start of the run."""

    kind: ClassVar[str] = "step"
    stage: int
    step: int
    loss: float
    rate: float
    norm: float
    seconds: float
    load: tuple[float, ...] = ()


@dataclass(frozen=True)
class Evaluated(Event):
    """Loss (nats) and accuracy (0 to 1) on the validation examples after ``step`` updates."""

    kind: ClassVar[str] = "evaluation"
    stage: int
    step: int
    loss: float
    accuracy: float
    best: bool
    seconds: float


@dataclass(frozen=True)
class Snapshot(Event):
    """The state after ``step`` updates, to analyse it or to resume from it.

    ``method`` is the method's state dict; ``resume`` holds the tensors of the optimiser and of the best prompt,
    ``progress`` the counters.
    """

    kind: ClassVar[str] = "snapshot"
    stage: int
    step: int
    method: Mapping[str, Tensor]
    resume: Mapping[str, Tensor]
    progress: Mapping[str, Any]


@dataclass(frozen=True)
class Finished(Event):
    """The end of a run: scores of the best prompt by validation, on validation and test examples."""

    kind: ClassVar[str] = "finished"
    validation: float
    test: float
    test_loss: float
    majority: float
    zero_shot: float
    best_step: int
    steps: int
    seconds: float
    steps_per_second: float
    reason: str = "all steps done"


@dataclass(frozen=True)
class Failed(Event):
    """The failure of a run: the reason, and what to do."""

    kind: ClassVar[str] = "failed"
    reason: str
    step: int


PLAIN_EVENTS: dict[str, type[Event]] = {
    event.kind: event
    for event in (Baselines, SourcePromptReady, StageStarted, StepCompleted, Evaluated, Finished, Failed)
}


def event_to_json(event: Event) -> dict[str, Any]:
    """Return an event as a JSON object; of a Snapshot, only stage and step (its tensors are in files)."""
    if isinstance(event, Snapshot):
        return {"event": event.kind, "stage": event.stage, "step": event.step}
    return {"event": event.kind, **asdict(event)}


def event_from_json(data: Mapping[str, Any]) -> Event | None:
    """Return the event that ``event_to_json`` encoded; None for a snapshot or an unknown kind.

    Raises:
        ValueError: if a field is missing.
    """
    kind = PLAIN_EVENTS.get(str(data.get("event")))
    if kind is None:
        return None
    missing = [f.name for f in fields(kind) if f.name not in data and f.name not in ("load", "reason")]
    if missing:
        raise ValueError(f"a {kind.kind} event needs {', '.join(missing)}; got {sorted(data)}")
    values = {f.name: data[f.name] for f in fields(kind) if f.name in data}
    return kind(**{name: tuple(v) if isinstance(v, list) else v for name, v in values.items()})
