"""A run's events as arrays, each step once: a repeated step replaces the earlier one."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ptviz.training.events import (
    Baselines,
    Evaluated,
    Event,
    Failed,
    Finished,
    Resumed,
    SourcePromptReady,
    StageStarted,
    StepCompleted,
    decode_event,
    event_to_json,
)
from ptviz.validation import InvalidData

StageStep = tuple[int, int]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def _ints(values: Iterable[int] = ()) -> Ints:
    return np.array(list(values), dtype=np.int64)


def _floats(values: Iterable[float] = ()) -> Floats:
    return np.array(list(values), dtype=np.float64)


@dataclass(frozen=True, eq=False)
class RunHistory:
    """A run's metrics so far. The arrays have one entry per step, in order.

    ``global_steps`` counts updates over all stages, ``steps`` within each stage. ``losses`` are in nats, ``seconds``
    are training time. ``damaged_lines`` counts lines that could not be read, and ``damage`` says what is wrong with
    the first of them.
    """

    global_steps: Ints = field(default_factory=_ints)
    stages: Ints = field(default_factory=_ints)
    steps: Ints = field(default_factory=_ints)
    losses: Floats = field(default_factory=_floats)
    learning_rates: Floats = field(default_factory=_floats)
    gradient_norms: Floats = field(default_factory=_floats)
    seconds: Floats = field(default_factory=_floats)
    routing_loads: tuple[tuple[float, ...], ...] = ()
    evaluations: tuple[Evaluated, ...] = ()
    evaluation_steps: tuple[int, ...] = ()
    stages_started: tuple[StageStarted, ...] = ()
    source_prompts: tuple[SourcePromptReady, ...] = ()
    baselines: Baselines | None = None
    finished: Finished | None = None
    failed: Failed | None = None
    damaged_lines: int = 0
    damage: str = ""

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def best_evaluation(self) -> Evaluated | None:
        """Return the evaluation of the best prompt so far, by validation accuracy."""
        return next((e for e in reversed(self.evaluations) if e.best), None)

    @property
    def steps_per_second(self) -> float:
        """Return updates per second over the last 30 steps; 0 if there are too few."""
        recent = self.seconds[-30:]
        span = float(recent[-1] - recent[0]) if len(recent) > 1 else 0.0
        return (len(recent) - 1) / span if span > 0 else 0.0

    def timeline(self) -> tuple[Ints, Floats]:
        """Return the steps of the whole run at which something was recorded, and the seconds of training at each.

        Both ascend and have one entry per step.
        """
        recorded = dict(zip(self.global_steps.tolist(), self.seconds.tolist(), strict=True))
        for position, evaluation in zip(self.evaluation_steps, self.evaluations, strict=True):
            recorded[position] = max(recorded.get(position, 0.0), evaluation.seconds)
        positions = sorted(recorded)
        return _ints(positions), np.maximum.accumulate(_floats(recorded[position] for position in positions))

    def until(self, position: int) -> RunHistory:
        """Return the history as it was after ``position`` steps of the whole run: what came later is left out."""
        made = int(np.searchsorted(self.global_steps, position, side="right"))
        evaluated = bisect_right(self.evaluation_steps, position)
        stage = int(self.stages[:made].max(initial=0))
        last = max([0, *self.global_steps[-1:].tolist(), *self.evaluation_steps[-1:]])
        return replace(
            self,
            global_steps=self.global_steps[:made],
            stages=self.stages[:made],
            steps=self.steps[:made],
            losses=self.losses[:made],
            learning_rates=self.learning_rates[:made],
            gradient_norms=self.gradient_norms[:made],
            seconds=self.seconds[:made],
            routing_loads=self.routing_loads[:made],
            evaluations=self.evaluations[:evaluated],
            evaluation_steps=self.evaluation_steps[:evaluated],
            stages_started=tuple(one for one in self.stages_started if one.index <= stage),
            finished=self.finished if position >= last else None,
            failed=self.failed if position >= last else None,
        )


class HistoryBuilder:
    """Collects events into a ``RunHistory``; a repeated step replaces the earlier one."""

    def __init__(self) -> None:
        self._steps: dict[StageStep, StepCompleted] = {}
        self._evaluations: dict[StageStep, Evaluated] = {}
        self._stages_started: dict[int, StageStarted] = {}
        self._history = RunHistory()
        self._lines = 0
        self._up_to_date = False

    def add(self, event: Event) -> None:
        """Add one event."""
        self._up_to_date = False
        match event:
            case Resumed():
                self.truncate_after(event.stage, event.step)
            case StepCompleted():
                self._steps[event.stage, event.step] = event
            case Evaluated():
                self._evaluations[event.stage, event.step] = event
            case StageStarted():
                self._stages_started[event.index] = event
            case SourcePromptReady():
                others = tuple(other for other in self._history.source_prompts if other.task != event.task)
                self._history = replace(self._history, source_prompts=(*others, event))
            case Baselines():
                self._history = replace(self._history, baselines=event)
            case Finished():
                self._history = replace(self._history, finished=event)
            case Failed():
                self._history = replace(self._history, failed=event)

    def add_line(self, line: bytes) -> None:
        """Add the event of a line of events.jsonl; a line that cannot be read is only counted."""
        self._lines += 1
        try:
            event = decode_event(line)
        except InvalidData as error:
            self._up_to_date = False
            damage = self._history.damage or f"line {self._lines} of events.jsonl: {error}"
            self._history = replace(self._history, damaged_lines=self._history.damaged_lines + 1, damage=damage)
        else:
            if event is not None:
                self.add(event)

    def truncate_after(self, stage: int, step: int) -> None:
        """Drop the events after this step: the run resumes from here."""
        self._up_to_date = False
        self._steps = {key: e for key, e in self._steps.items() if key <= (stage, step)}
        self._evaluations = {key: e for key, e in self._evaluations.items() if key <= (stage, step)}
        self._stages_started = {index: e for index, e in self._stages_started.items() if index <= stage}
        self._history = replace(self._history, finished=None, failed=None)

    def build(self) -> RunHistory:
        """Return the history of all events added so far."""
        if not self._up_to_date:
            steps = [self._steps[key] for key in sorted(self._steps)]
            before = self._steps_before_stages()
            evaluations = tuple(self._evaluations[key] for key in sorted(self._evaluations))
            self._history = replace(
                self._history,
                global_steps=_ints(before.get(s.stage, 0) + s.step for s in steps),
                stages=_ints(s.stage for s in steps),
                steps=_ints(s.step for s in steps),
                losses=_floats(s.loss for s in steps),
                learning_rates=_floats(s.rate for s in steps),
                gradient_norms=_floats(s.norm for s in steps),
                seconds=_floats(s.seconds for s in steps),
                routing_loads=tuple(s.load for s in steps),
                evaluations=evaluations,
                evaluation_steps=tuple(before.get(e.stage, 0) + e.step for e in evaluations),
                stages_started=tuple(self._stages_started[index] for index in sorted(self._stages_started)),
            )
            self._up_to_date = True
        return self._history

    def _steps_before_stages(self) -> dict[int, int]:
        """Return the updates made before each stage, from the last steps of earlier ones: a stage may stop early."""
        made: dict[int, int] = {}
        for stage, step in [*self._steps, *self._evaluations]:
            made[stage] = max(step, made.get(stage, 0))
        before, total = {}, 0
        for stage in sorted(made):
            before[stage] = total
            total += made[stage]
        return before


def resume_marker(stage: int, step: int, steps: int) -> bytes:
    """Return the line that marks a resume from the state after ``step`` updates of ``stage``."""
    return json.dumps(event_to_json(Resumed(stage, step, steps))).encode()
