"""A run's events as arrays to draw: each step once, the last telling standing."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptviz.training.events import (
    Baselines,
    Evaluated,
    Event,
    Failed,
    Finished,
    SourceReady,
    StageStarted,
    Stepped,
    from_json,
)

Place = tuple[int, int]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def _ints(values: Iterable[int] = ()) -> Ints:
    return np.array(list(values), dtype=np.int64)


def _floats(values: Iterable[float] = ()) -> Floats:
    return np.array(list(values), dtype=np.float64)


@dataclass(frozen=True, eq=False)
class Curve:
    """What a live chart shows. The arrays share one axis, the steps told so far, in order.

    ``positions`` count updates through all stages, ``steps`` within each stage; ``losses`` in nats, ``seconds``
    since the run started working. ``damaged`` counts lines that could not be read.
    """

    positions: Ints = field(default_factory=_ints)
    stages: Ints = field(default_factory=_ints)
    steps: Ints = field(default_factory=_ints)
    losses: Floats = field(default_factory=_floats)
    rates: Floats = field(default_factory=_floats)
    norms: Floats = field(default_factory=_floats)
    seconds: Floats = field(default_factory=_floats)
    loads: tuple[tuple[float, ...], ...] = ()
    evaluations: tuple[Evaluated, ...] = ()
    evaluated: tuple[int, ...] = ()
    started: tuple[StageStarted, ...] = ()
    sources: tuple[SourceReady, ...] = ()
    baselines: Baselines | None = None
    finished: Finished | None = None
    failed: Failed | None = None
    damaged: int = 0

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def best(self) -> Evaluated | None:
        """The evaluation of the best prompt so far by validation."""
        return next((e for e in reversed(self.evaluations) if e.best), None)

    @property
    def steps_per_second(self) -> float:
        """Updates per second over the last 30 steps told; 0 when there are too few."""
        recent = self.seconds[-30:]
        span = float(recent[-1] - recent[0]) if len(recent) > 1 else 0.0
        return (len(recent) - 1) / span if span > 0 else 0.0


class Telling:
    """Gathers events as they are read; a step told again replaces the earlier telling."""

    def __init__(self) -> None:
        self._steps: dict[Place, Stepped] = {}
        self._evaluations: dict[Place, Evaluated] = {}
        self._started: dict[int, StageStarted] = {}
        self._last = Curve()
        self._fresh = False

    def add(self, event: Event) -> None:
        """Take in one event."""
        self._fresh = False
        match event:
            case Stepped():
                self._steps[event.stage, event.step] = event
            case Evaluated():
                self._evaluations[event.stage, event.step] = event
            case StageStarted():
                self._started[event.index] = event
            case SourceReady():
                others = tuple(told for told in self._last.sources if told.task != event.task)
                self._last = replace(self._last, sources=(*others, event))
            case Baselines():
                self._last = replace(self._last, baselines=event)
            case Finished():
                self._last = replace(self._last, finished=event)
            case Failed():
                self._last = replace(self._last, failed=event)

    def damage(self) -> None:
        """Count a line that could not be read."""
        self._fresh = False
        self._last = replace(self._last, damaged=self._last.damaged + 1)

    def back(self, stage: int, step: int) -> None:
        """The run goes on from here: what was told beyond is no longer true."""
        self._fresh = False
        self._steps = {place: e for place, e in self._steps.items() if place <= (stage, step)}
        self._evaluations = {place: e for place, e in self._evaluations.items() if place <= (stage, step)}
        self._started = {index: e for index, e in self._started.items() if index <= stage}
        self._last = replace(self._last, finished=None, failed=None)

    def curve(self) -> Curve:
        """Everything told so far."""
        if not self._fresh:
            steps = [self._steps[place] for place in sorted(self._steps)]
            before = self._before()
            evaluations = tuple(self._evaluations[place] for place in sorted(self._evaluations))
            self._last = replace(
                self._last,
                positions=_ints(before.get(s.stage, 0) + s.step for s in steps),
                stages=_ints(s.stage for s in steps),
                steps=_ints(s.step for s in steps),
                losses=_floats(s.loss for s in steps),
                rates=_floats(s.rate for s in steps),
                norms=_floats(s.norm for s in steps),
                seconds=_floats(s.seconds for s in steps),
                loads=tuple(s.load for s in steps),
                evaluations=evaluations,
                evaluated=tuple(before.get(e.stage, 0) + e.step for e in evaluations),
                started=tuple(self._started[index] for index in sorted(self._started)),
            )
            self._fresh = True
        return self._last

    def _before(self) -> dict[int, int]:
        """Updates made before each stage: the last step of every earlier one, since a stage may stop early."""
        made: dict[int, int] = {}
        for stage, step in [*self._steps, *self._evaluations]:
            made[stage] = max(step, made.get(stage, 0))
        before, total = {}, 0
        for stage in sorted(made):
            before[stage] = total
            total += made[stage]
        return before


def resumed(stage: int, step: int, steps: int) -> bytes:
    """The line that says: from here on the run goes on from the state after ``step`` updates of ``stage``."""
    return json.dumps({"event": "resumed", "stage": stage, "step": step, "steps": steps}).encode()


def parse(line: bytes) -> dict[str, Any] | None:
    """One whole line of events.jsonl; None if it is damaged."""
    try:
        data = json.loads(line)
    except ValueError:
        return None
    return data if isinstance(data, dict) and isinstance(data.get("event"), str) else None


def typed(data: Mapping[str, Any]) -> Event | None:
    """The event of a parsed line; None for a place mark, an unknown kind or missing fields."""
    try:
        return from_json(data)
    except (ValueError, TypeError):
        return None


def gather(lines: Iterable[bytes], telling: Telling) -> None:
    """Take whole lines in."""
    for line in lines:
        data = parse(line)
        if data is None:
            telling.damage()
        elif data["event"] == "resumed":
            telling.back(int(data.get("stage", 0)), int(data.get("step", 0)))
        elif event := typed(data):
            telling.add(event)
