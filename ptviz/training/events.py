"""Training events: plain values that can be printed, stored and replayed.

``step`` counts updates made. ``StepCompleted(step=t)`` and ``Evaluated(step=t)`` describe the same prompt, the one
after t updates of the stage. After a crash a step may be repeated; the later event replaces the earlier one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar

from torch import Tensor


@dataclass(frozen=True)
class Event:
    """An event of a run. Every kind but Snapshot is plain data with a lossless JSON form."""

    kind: ClassVar[str]


@dataclass(frozen=True)
class Baselines(Event):
    """What the untouched backbone scores on the validation rows: the lines a prompt must beat."""

    kind: ClassVar[str] = "baselines"
    majority: float
    zero_shot: float
    zero_shot_loss: float


@dataclass(frozen=True)
class SourcePromptReady(Event):
    """A source prompt is at hand: of which task, its validation accuracy there (0 to 1), and which run trained it.

    ``reused`` says that the run was there before; ``run`` is empty for a prompt trained within this one.
    """

    kind: ClassVar[str] = "source"
    task: str
    run: str
    accuracy: float
    reused: bool


@dataclass(frozen=True)
class StageStarted(Event):
    """A stage begins: its index, name and how many updates it will make."""

    kind: ClassVar[str] = "stage"
    index: int
    name: str
    steps: int


@dataclass(frozen=True)
class StepCompleted(Event):
    """The training loss (nats, of one batch) after ``step`` updates; ``seconds`` since the run started working."""

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
    """Loss (nats) and accuracy (0 to 1) on the validation rows after ``step`` updates."""

    kind: ClassVar[str] = "evaluation"
    stage: int
    step: int
    loss: float
    accuracy: float
    best: bool
    seconds: float


@dataclass(frozen=True)
class Snapshot(Event):
    """Everything needed to look at, or to go on from, the state after ``step`` updates.

    ``method`` is the method's state dict; ``resume`` holds the optimiser's and the best prompt's tensors, and
    ``progress`` the plain numbers that go with them.
    """

    kind: ClassVar[str] = "snapshot"
    stage: int
    step: int
    method: Mapping[str, Tensor]
    resume: Mapping[str, Tensor]
    progress: Mapping[str, Any]


@dataclass(frozen=True)
class Finished(Event):
    """The run is over: scores of the best prompt by validation, on validation and test rows."""

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
    """The run failed: why, in plain words, and what to do."""

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
