"""The status of a run: a small file that lists and pages read, corrected if the run's writer died."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

from ptviz.runs.config import RunConfig
from ptviz.runs.failure_messages import crash_reason, resume_hint
from ptviz.runs.file_lock import is_locked
from ptviz.safe_text import safe_text
from ptviz.validation import (
    Count,
    Duration,
    InvalidData,
    Magnitude,
    Score,
    Sentence,
    StageIndex,
    StepCount,
    Timestamp,
    convert_json,
)

RunState = Literal["queued", "running", "stopping", "stopped", "finished", "failed"]
RUN_STATES: tuple[str, ...] = get_args(RunState)
ACTIVE_STATES = ("queued", "running", "stopping")
CLUSTER_LOCK = "cluster.lock"
"""Held by the collector of a cluster while a node writes the run itself."""
STORED_KEYS = {"saved_step": "kept", "oom_kills": "kills"}
"""Fields that have another name in status.json."""
DERIVED = "The status was derived from the events"
"""In the reason of a status whose file is missing or damaged."""


@dataclass(frozen=True)
class Status:
    """The status of a run. ``step`` of ``steps`` counts updates of the stage; times are seconds since 1970.

    ``accuracy``, ``best_stage`` and ``best_step`` belong to the best prompt so far, by validation accuracy; earlier
    versions wrote no ``best_stage``. ``seconds`` is training time. ``majority`` and ``zero_shot`` are validation
    accuracies without a prompt, ``test`` is the best prompt's test accuracy. ``saved_step`` is the step of the newest
    saved state, from which a resume continues. ``oom_kills`` is the number of out-of-memory kills on this system when
    the run began. ``extensions`` is the number of extensions of the config that this status belongs to; None in files
    of earlier versions.
    """

    state: RunState
    reason: Sentence = ""
    step: StepCount = 0
    steps: StepCount = 0
    stage: StageIndex = 0
    pid: Count | None = None
    updated: Timestamp = field(default_factory=time.time)
    created: Timestamp = field(default_factory=time.time)
    queued: Timestamp = 0.0
    seconds: Duration = 0.0
    steps_per_second: Magnitude = 0.0
    accuracy: Score | None = None
    best_stage: StageIndex | None = None
    best_step: StepCount | None = None
    majority: Score | None = None
    zero_shot: Score | None = None
    test: Score | None = None
    saved_step: StepCount | None = None
    oom_kills: Count = 0
    extensions: StepCount | None = None

    @property
    def is_derived(self) -> bool:
        """Return whether status.json could not be read, so that the events had to say what happened."""
        return DERIVED in self.reason

    @property
    def best_place(self) -> tuple[int, int] | None:
        """Return stage and step of the best prompt so far; None before the first evaluation."""
        if self.best_step is None:
            return None
        return self.stage if self.best_stage is None else self.best_stage, self.best_step

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object that ``from_json`` reads back to an equal status."""
        return {STORED_KEYS.get(name, name): value for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Status:
        """Return the status of a JSON object; fields of a newer version are ignored.

        Raises:
            InvalidData: for an unknown state, a wrong type or a value out of its bounds.
        """
        if not isinstance(data, Mapping) or data.get("state") not in RUN_STATES:
            found = safe_text(data.get("state")) if isinstance(data, Mapping) else type(data).__name__
            raise InvalidData(f"expected a status with a state in {', '.join(RUN_STATES)}; got {found}")
        names = {stored: name for name, stored in STORED_KEYS.items()}
        return convert_json({names.get(key, key): value for key, value in data.items()}, cls)

    def to_bytes(self) -> bytes:
        """Return the content of status.json."""
        return json.dumps(self.to_json()).encode()

    def with_changes(self, **changes: Any) -> Status:
        """Return the status with changed fields and the current time as ``updated``."""
        return replace(self, **{"updated": time.time(), **changes})

    def with_extension(self, config: RunConfig) -> Status:
        """Return the status under ``config``: stopped if that was extended after the status was written.

        Extending a run writes its config, then its status: the config alone decides.
        """
        if self.extensions is None or self.extensions >= len(config.planned):
            return self
        steps = config.training.steps
        reason = f"extended to {steps} steps; {resume_hint(self.saved_step)}"
        return replace(self, state="stopped", reason=reason, steps=steps, extensions=len(config.planned))


def actual_status(status: Status, folder: Path) -> Status:
    """Return the actual status: a run whose writer died is not running, whatever its file says.

    A run of a cluster is, as long as its collector lives: that sends it to another node.
    """
    if status.state not in ("running", "stopping"):
        return status
    if is_locked(folder / "lock") or is_locked(folder / CLUSTER_LOCK):
        stopping = (folder / "stop").exists()
        return replace(status, state="stopping" if stopping else "running")
    state, reason = crash_reason(folder, status.oom_kills, status.saved_step)
    return replace(status, state=state, reason=reason, pid=None)
