"""One run on disk, for reading: any number of processes may, while one other writes."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from torch import Tensor

from ptviz.runs import snapshots as tensors
from ptviz.runs.atomic_io import StoreError
from ptviz.runs.config import RunConfig
from ptviz.runs.history import HistoryBuilder, RunHistory, decode_event, parse_event_line, read_events
from ptviz.runs.snapshots import ResumeState, SnapshotInfo
from ptviz.runs.status import Status, actual_status
from ptviz.training.events import Event

if TYPE_CHECKING:
    from ptviz.training import ResumePoint

_BEST_PREFIX = "best/"


class Run:
    """A run's folder. Nothing is kept in memory but the curve, which grows by what was appended since."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.id = path.name
        self._read_lock = threading.Lock()
        self._history_builder = HistoryBuilder()
        self._read_offset = 0

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    @property
    def config(self) -> RunConfig:
        """What was asked for.

        Raises:
            StoreError: if config.json is missing, cut short or from a newer version.
        """
        return read_config(self.path)

    def status(self) -> Status:
        """Where the run stands; "running" only while a living process writes it."""
        return read_status(self.path)

    def events(self, after: int = 0) -> tuple[list[Event], int]:
        """The events behind byte ``after``, and the byte to ask for next time.

        A torn last line is not there yet. An offset beyond the end starts over: the file was made anew.
        """
        lines, end = self._read_lines(after)
        parsed = (parse_event_line(line) for line in lines)
        return [event for data in parsed if data is not None and (event := decode_event(data))], end

    def history(self) -> RunHistory:
        """Everything told so far, each step once."""
        with self._read_lock:
            lines, end = self._read_lines(self._read_offset)
            if end < self._read_offset:
                self._history_builder, (lines, end) = HistoryBuilder(), self._read_lines(0)
            read_events(lines, self._history_builder)
            self._read_offset = end
            return self._history_builder.build()

    def _read_lines(self, after: int) -> tuple[list[bytes], int]:
        path = self.path / "events.jsonl"
        try:
            with path.open("rb") as file:
                end = file.seek(0, io.SEEK_END)
                start = after if 0 <= after <= end else 0
                file.seek(start)
                data = file.read(end - start)
        except FileNotFoundError:
            return [], 0
        except OSError as error:
            raise StoreError(f"{path} cannot be read: {error.strerror or error}") from error
        whole = data.rfind(b"\n") + 1
        return data[:whole].splitlines(), start + whole

    def snapshots(self) -> list[SnapshotInfo]:
        """Where the states along the way lie, in the order of training."""
        return tensors.list_snapshots(self.path / "snapshots")

    def snapshot(self, stage: int, step: int) -> dict[str, Tensor]:
        """The method's state dict after ``step`` updates of ``stage``.

        Raises:
            StoreError: if there is none, or it is damaged.
        """
        return tensors.read_tensors(self.path / "snapshots" / tensors.snapshot_name(stage, step))[0]

    def resume_state(self) -> ResumeState | None:
        """The newest state to go on from, with its place; None before the first snapshot.

        Raises:
            StoreError: if the file is damaged.
        """
        path = self.path / "resume.safetensors"
        return tensors.read_resume_state(path) if path.exists() else None

    def resume_point(self) -> ResumePoint | None:
        """What ``train(resume=...)`` takes to go on from the newest state; None before the first snapshot.

        Raises:
            StoreError: if the file is damaged.
        """
        from ptviz.training import ResumePoint

        kept = self.resume_state()
        return None if kept is None else ResumePoint(kept.method, kept.resume, kept.progress)

    def prompt(self) -> dict[str, Tensor]:
        """The state dict of the best prompt so far by validation.

        Raises:
            StoreError: if nothing was learned yet, or the file is damaged.
        """
        if (path := self.path / "prompt.safetensors").exists():
            return tensors.read_tensors(path)[0]
        kept = self.resume_state()
        if kept is None:
            raise StoreError(f"run {self.id} has no prompt yet: wait for its first snapshot, or resume it")
        return best_state(kept)

    def initial_state(self) -> dict[str, Tensor] | None:
        """The state that a branch starts from, or the kept prompt of ``RunConfig.start``; None for a run without."""
        path = self.path / "start.safetensors"
        return tensors.read_tensors(path)[0] if path.exists() else None

    def environment(self) -> dict[str, Any]:
        """Versions, machine and seed of the run; empty before it first ran."""
        path = self.path / "environment.json"
        return read_json(path) if path.exists() else {}

    def predictions(self) -> pd.DataFrame | None:
        """The best prompt's answers on the test rows: text, label, predicted, and a probability per class.

        Raises:
            StoreError: if the file is damaged.
        """
        path = self.path / "predictions.parquet"
        if not path.exists():
            return None
        try:
            return pd.read_parquet(path)
        except (OSError, ValueError) as error:
            raise StoreError(f"{path} is damaged or cut short ({error}); delete it, the run stays readable") from error


def best_state(kept: ResumeState) -> dict[str, Tensor]:
    """The best prompt by validation within a kept state; the newest one before the first evaluation."""
    found = {name.removeprefix(_BEST_PREFIX): t for name, t in kept.resume.items() if name.startswith(_BEST_PREFIX)}
    return found or kept.method


def read_json(path: Path) -> dict[str, Any]:
    """A file that holds one JSON object.

    Raises:
        StoreError: if it is missing, cut short or something else.
    """
    try:
        data = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise StoreError(f"{path.parent} is no run: expected a file {path.name} in it") from None
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise StoreError(f"{path} is damaged or cut short ({error}); put a whole copy back, or delete it") from error
    if not isinstance(data, Mapping):
        raise StoreError(f"{path}: expected a JSON object; got {type(data).__name__}")
    return dict(data)


def read_config(folder: Path) -> RunConfig:
    """The config of the run in ``folder``.

    Raises:
        StoreError: if it is missing, damaged or from a newer version.
    """
    data = read_json(folder / "config.json")
    try:
        return RunConfig.from_json(data)
    except (ValueError, TypeError) as error:
        raise StoreError(f"{folder / 'config.json'}: {error}") from error


def read_status(folder: Path) -> Status:
    """Where the run in ``folder`` really stands: a run whose writer died is not running."""
    return actual_status(read_status_file(folder), folder)


def read_status_file(folder: Path) -> Status:
    """What status.json says; read off the run's events if it is missing or damaged."""
    try:
        return Status.from_json(read_json(folder / "status.json"))
    except (StoreError, ValueError, TypeError):
        return _status_from_events(folder)


def _status_from_events(folder: Path) -> Status:
    curve = Run(folder).history()
    last = int(curve.steps[-1]) if len(curve) else 0
    steps = curve.stages_started[-1].steps if curve.stages_started else 0
    created = (folder / "config.json").stat().st_mtime if (folder / "config.json").exists() else 0.0
    best = curve.best_evaluation
    status = Status(
        "stopped",
        "status.json is missing or damaged: this is read off the events; resume goes on from the newest snapshot",
        last,
        steps,
        curve.stages_started[-1].index if curve.stages_started else 0,
        updated=created,
        created=created,
        seconds=float(curve.seconds[-1]) if len(curve) else 0.0,
        accuracy=best.accuracy if best else None,
        best_step=best.step if best else None,
        majority=curve.baselines.majority if curve.baselines else None,
        zero_shot=curve.baselines.zero_shot if curve.baselines else None,
    )
    if curve.finished:
        return status.with_changes(
            state="finished", reason=curve.finished.reason, test=curve.finished.test, updated=created
        )
    if curve.failed:
        return status.with_changes(state="failed", reason=curve.failed.reason, updated=created)
    return status
