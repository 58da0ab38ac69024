"""What visitors of a classroom may train: limits that the teacher sets when the app is started.

They are in one environment variable, because the process that serves the app is another than the one that is given
the options. Without the variable there is no classroom.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from ptviz import backbones, tasks
from ptviz.runs.config import RunConfig
from ptviz.safe_text import safe_text
from ptviz.training.config import MAX_STEPS
from ptviz.validation import InvalidData, Name, decode_json

CLASSROOM_VARIABLE = "PTVIZ_CLASSROOM"
MAX_UPLOAD_MB, MAX_UPLOADS_MB = 5, 50
"""Largest upload of a visitor, and largest sum of all of theirs."""
MAX_SAVED_PROMPTS = 50
"""Prompts that one visitor may have saved at a time."""
_LIMITS = {"batch": 64, "length": 256, "validation_rows": 1000, "test_rows": 2000}
"""Largest values of settings that make a step or an evaluation long, or fill the memory."""
_MAX_EVALUATIONS, _MAX_SNAPSHOTS = 200, 200


@dataclass(frozen=True)
class ClassroomRules:
    """Limits for each visitor: steps of a run, backbones (none named: those on this machine), and runs at a time."""

    max_steps: Annotated[int, Meta(ge=1, le=MAX_STEPS)] = 1000
    backbones: Annotated[tuple[Name, ...], Meta(max_length=100)] = ()
    max_runs: Annotated[int, Meta(ge=1, le=10_000)] = 20

    def to_text(self) -> str:
        """Return the value of the environment variable that ``active_rules`` reads."""
        return json.dumps(asdict(self))

    def allowed_backbones(self) -> tuple[str, ...]:
        """Return the backbones on this machine that visitors may use, in the order of the list of backbones."""
        return tuple(name for name in backbones_here() if not self.backbones or name in self.backbones)

    def largest(self, setting: str) -> float:
        """Return the largest value of a training setting; infinity where the rules set none."""
        return self.max_steps if setting in ("steps", "source_steps") else _LIMITS.get(setting, float("inf"))

    def check_known(self) -> None:
        """Check that the named backbones are on this machine.

        Raises:
            ValueError: naming the one that is not.
        """
        here = backbones_here()
        for name in self.backbones:
            if name not in here:
                raise ValueError(
                    f"backbones: expected some of {', '.join(here)}, which are on this machine; got {safe_text(name)}"
                )

    def check(self, config: RunConfig, uploads: Path) -> None:
        """Check that a visitor, whose uploads are in a folder, may train a run.

        Raises:
            ValueError: naming the setting, what is allowed and what came.
        """
        training, sources = config.training, ("source_steps",) if config.source_tasks() else ()
        for name in ("steps", *sources, *_LIMITS):
            if (value := getattr(training, name)) > (most := self.largest(name)):
                raise ValueError(f"{name}: expected at most {most:,} in this classroom; got {value:,}")
        for name, most in (("evaluate_every", _MAX_EVALUATIONS), ("snapshot_every", _MAX_SNAPSHOTS)):
            every = getattr(training, name)
            if training.steps / every > most:
                least = -(-training.steps // most)
                raise ValueError(f"{name}: expected at least {least} for {training.steps:,} steps; got {every}")
        if config.backbone not in (allowed := self.allowed_backbones()):
            raise ValueError(
                f"backbone: expected one of {', '.join(allowed)} in this classroom; got {safe_text(config.backbone)}"
            )
        if config.device is not None:
            raise ValueError("device: it is chosen by the worker in a classroom; leave it out")
        _check_tasks(config, uploads)

    def check_count(self, runs: int, more: int = 1) -> None:
        """Check that a visitor with so many runs may have ``more``.

        Raises:
            ValueError: if not, with what the visitor can do.
        """
        if runs + more > self.max_runs:
            raise ValueError(
                f"expected at most {self.max_runs} runs of one visitor; you have {runs} and asked for {more} more: "
                "delete some under All runs"
            )


def backbones_here() -> tuple[str, ...]:
    """Return the names of the backbones on this machine."""
    return tuple(info.name for info in backbones.list_backbones() if info.available)


def _check_tasks(config: RunConfig, uploads: Path) -> None:
    known = {info.name for info in tasks.list_tasks() if info.available}
    for task in config.targets:
        if task not in known and not is_inside(Path(task), uploads):
            raise ValueError(
                f"task: expected one that is on this machine, or a table that you uploaded; got {safe_text(task)}"
            )
    for task in config.source_tasks():
        if task not in known:
            raise ValueError(f"sources: expected tasks that are on this machine; got {safe_text(task)}")


def is_inside(path: Path, *folders: Path) -> bool:
    """Return whether a file that exists is in one of the folders, whatever links lead there."""
    return path.exists() and any(path.resolve().is_relative_to(folder.resolve()) for folder in folders)


def active_rules() -> ClassroomRules | None:
    """Return the rules of the classroom that this process serves; None if it serves none.

    Raises:
        ValueError: if the environment variable is damaged.
    """
    text = os.environ.get(CLASSROOM_VARIABLE, "")
    return _parse_rules(text) if text else None


@lru_cache(maxsize=4)
def _parse_rules(text: str) -> ClassroomRules:
    try:
        return decode_json(text.encode(), ClassroomRules)
    except InvalidData as error:
        raise ValueError(f"{CLASSROOM_VARIABLE}: {error}; start the app with `ptviz app --classroom`") from None
