"""One run on disk, for reading: any number of processes may read while one writes."""

from __future__ import annotations

import io
import threading
import time
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptviz import paths
from ptviz.runs import snapshots as tensors
from ptviz.runs.annotations import Annotations, read_annotations
from ptviz.runs.config import RunConfig
from ptviz.runs.environment import decode_environment
from ptviz.runs.history import HistoryBuilder, RunHistory
from ptviz.runs.prediction_files import PREDICTIONS_FILE, ZERO_SHOT_CONFIDENCE
from ptviz.runs.run_file_io import FileSignature, StoreError, file_signature
from ptviz.runs.snapshots import ResumeState, SnapshotInfo
from ptviz.runs.status import ACTIVE_STATES, DERIVED, Status, actual_status
from ptviz.tasks.metrics import ACCURACY, Metric, recorded_metric
from ptviz.training.events import Event, Resumed, decode_event
from ptviz.validation import InvalidData, check_depth, decode_json

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from ptviz.training import ResumePoint

_BEST_PREFIX = "best/"
_CACHED_RUNS = 2048
"""Runs whose config, status and environment stay in memory: a comparison reads hundreds whenever its page is drawn."""
_MAX_JSON_BYTES, _MAX_EVENTS_BYTES = 4_000_000, 1_000_000_000
"""Largest size in bytes of config.json and the other small files, and of events.jsonl."""


class Run:
    """A run's folder. Only the history is cached in memory; each call adds the events appended since."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.id = path.name
        self._read_lock = threading.Lock()
        self._history_builder = HistoryBuilder()
        self._read_offset = 0

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    @property
    def recorded(self) -> bool:
        """Return whether the run came with the app (``ptviz.runs.recorded_runs``): it is read and never changed."""
        return is_recorded(self.path)

    @property
    def config(self) -> RunConfig:
        """Return the run's config.

        Raises:
            StoreError: if config.json is missing, cut short or from a newer version.
        """
        return read_config(self.path)

    def status(self) -> Status:
        """Return the run's status; "running" only while a process writes it."""
        return read_status(self.path)

    def events(self, after: int = 0) -> tuple[list[Event], int]:
        """Return the events after byte ``after``, and the offset for the next call.

        An incomplete last line is left for the next call. An offset beyond the end starts over, as the file is new.
        """
        lines, end = self._read_lines(after)
        found = []
        for line in lines:
            with suppress(InvalidData):  # history() counts them and says what is wrong.
                event = decode_event(line)
                if event is not None and not isinstance(event, Resumed):
                    found.append(event)
        return found, end

    def history(self) -> RunHistory:
        """Return the metrics of all events so far, each step once."""
        with self._read_lock:
            lines, end = self._read_lines(self._read_offset)
            if end < self._read_offset:
                self._history_builder, (lines, end) = HistoryBuilder(), self._read_lines(0)
            for line in lines:
                self._history_builder.add_line(line)
            self._read_offset = end
            return self._history_builder.build()

    def _read_lines(self, after: int) -> tuple[list[bytes], int]:
        path = self.path / "events.jsonl"
        try:
            with path.open("rb") as file:
                end = file.seek(0, io.SEEK_END)
                start = after if 0 <= after <= end else 0
                if end - start > _MAX_EVENTS_BYTES:
                    raise StoreError(f"{path} has {end / 1e6:,.0f} MB: a run's events have at most 1,000 MB")
                file.seek(start)
                data = file.read(end - start)
        except FileNotFoundError:
            return [], 0
        except OSError as error:
            raise StoreError(f"{path} cannot be read: {error.strerror or error}") from error
        complete = data.rfind(b"\n") + 1
        return data[:complete].splitlines(), start + complete

    def snapshots(self) -> list[SnapshotInfo]:
        """Return the snapshots on disk, in training order."""
        return tensors.list_snapshots(self.path / "snapshots")

    def snapshot(self, stage: int, step: int, *, merged: bool = False) -> dict[str, Tensor]:
        """Return the method's state dict after ``step`` updates of ``stage``.

        Where a method's network is much larger than the prompt that it makes, only the newest and the best snapshot
        have it. Others are returned as the merged prompt if ``merged``, see ``ptviz.runs.restore_method``.

        Raises:
            StoreError: if there is no such snapshot, it is damaged, or only the merged prompt is left of it.
        """
        state = tensors.read_tensors(self.path / "snapshots" / tensors.snapshot_name(stage, step))[0]
        if not tensors.read_merged_names(state):
            return state
        if (whole := tensors.find_whole_state(self.path, stage, step)) is not None:
            return tensors.read_prefixed(*whole)
        if merged:
            return state
        steps = ", ".join(f"{info.step} of stage {info.stage}" for info in self.whole_snapshots())
        raise StoreError(
            f"step {step} of run {self.id} is stored as the prompt alone, without the network that makes it; "
            f"whole are: {steps or 'none'}"
        )

    def whole_snapshots(self) -> list[SnapshotInfo]:
        """Return the snapshots with the method's whole state, which a branch can start from, in training order."""
        return [
            info
            for info in self.snapshots()
            if not tensors.holds_merged_prompt(info.path) or tensors.find_whole_state(self.path, info.stage, info.step)
        ]

    def resume_state(self) -> ResumeState | None:
        """Return the newest state to resume from, with its stage and step; None before the first snapshot.

        Raises:
            StoreError: if the file is damaged.
        """
        path = self.path / "resume.safetensors"
        return tensors.read_resume_state(path).with_extension(self.config) if path.exists() else None

    def resume_point(self) -> ResumePoint | None:
        """Return the argument of ``train(resume=...)`` for the newest state; None before the first snapshot.

        Raises:
            StoreError: if the file is damaged.
        """
        from ptviz.training import ResumePoint

        saved = self.resume_state()
        return None if saved is None else ResumePoint(saved.method, saved.resume, saved.progress)

    def prompt(self) -> dict[str, Tensor]:
        """Return the method's state dict with the best validation accuracy so far.

        Raises:
            StoreError: if there is no snapshot yet, or the file is damaged.
        """
        if (path := self.path / "prompt.safetensors").exists():
            return tensors.read_tensors(path)[0]
        saved = self.resume_state()
        if saved is None:
            raise StoreError(f"run {self.id} has no prompt yet: wait for its first snapshot, or resume it")
        return best_state(saved)

    def initial_state(self) -> dict[str, Tensor] | None:
        """Return the initial state of a branch, or the saved prompt of ``RunConfig.start``; None if there is none."""
        path = self.path / "start.safetensors"
        return tensors.read_tensors(path)[0] if path.exists() else None

    def task_notes(self) -> list[str]:
        """Return what was noticed when the run's task was read; empty for runs of versions that did not store it."""
        with suppress(StoreError):
            return [str(note) for note in self.environment().get("notes", [])]
        return []

    @property
    def metric(self) -> Metric:
        """Return the metric of the run's task; accuracy before it first ran and for runs that did not record it."""
        with suppress(StoreError):  # Where the file is shown, it is also said that it is damaged.
            return recorded_metric(self.environment().get("metric", ACCURACY.name))
        return ACCURACY

    def environment(self) -> dict[str, Any]:
        """Return versions, machine and seed of the run; empty before it first ran.

        Raises:
            StoreError: if the file is damaged, or a value has the wrong type or is out of its bounds.
        """
        signature = file_signature(self.path / "environment.json")
        return {**_parse_environment(self.path, signature)} if any(signature) else {}

    def annotations(self) -> Annotations:
        """Return the tags, notes and pin that people gave the run.

        Raises:
            StoreError: if the file is damaged.
        """
        return read_annotations(self.path)

    def predictions(self) -> pd.DataFrame | None:
        """Return the best prompt's test predictions, None if absent.

        Columns are text, label, predicted and a probability per class; of a text-to-text task text, references,
        predicted and score.

        Raises:
            StoreError: if the file is damaged.
        """
        path = self.path / PREDICTIONS_FILE
        if not path.exists():
            return None
        import pandas as pd

        try:
            # Its name in runs of earlier versions, which those of the gallery are.
            return pd.read_parquet(path).rename(columns={"zero_shot_certainty": ZERO_SHOT_CONFIDENCE})
        except Exception as error:  # A damaged file's metadata raise KeyError and more in pandas and pyarrow.
            raise StoreError(f"{path} is damaged or cut short ({error}); delete it, the run stays readable") from error


def is_recorded(folder: Path) -> bool:
    """Return whether ``folder`` is that of a recorded run of the gallery."""
    return folder.resolve().parent == recorded_runs_folder().resolve()


def recorded_runs_folder() -> Path:
    """Return the folder of the recorded runs; it may not exist."""
    return paths.gallery_dir() / "runs"


def check_writable(folder: Path) -> None:
    """Check that a run's folder is not that of a recorded run.

    Raises:
        StoreError: if it is.
    """
    if is_recorded(folder):
        raise StoreError(f"{folder.name}: recorded runs are read-only; duplicate the settings to train it yourself")


def best_state(saved: ResumeState) -> dict[str, Tensor]:
    """Return the method's best state by validation from a resume state; the newest before the first evaluation."""
    best = {name.removeprefix(_BEST_PREFIX): t for name, t in saved.resume.items() if name.startswith(_BEST_PREFIX)}
    return best or saved.method


def read_small_file(path: Path, most: int = _MAX_JSON_BYTES) -> bytes:
    """Return the content of a file of at most ``most`` bytes.

    Raises:
        StoreError: if it is missing, larger, or cannot be read.
    """
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except FileNotFoundError:
        raise StoreError(f"{path.parent} is not a run: expected a file {path.name} in it") from None
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror or error}") from error
    if len(data) > most:
        raise StoreError(f"{path}: expected at most {most / 1e6:g} MB; it is larger")
    return data


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object of a file.

    Raises:
        StoreError: if the file is missing, truncated, nested too deeply or not a JSON object.
    """
    data = read_small_file(path)
    try:
        found = decode_json(data, dict[str, Any])
        check_depth(found)
    except InvalidData as error:
        raise StoreError(f"{path}: {error}; restore it from a copy, or delete it") from None
    return found


def read_config(folder: Path) -> RunConfig:
    """Return the config of the run in ``folder``.

    Raises:
        StoreError: if it is missing, damaged, wrongly typed or from a newer version.
    """
    return _parse_config(folder, file_signature(folder / "config.json"))


@lru_cache(maxsize=_CACHED_RUNS)
def _parse_config(folder: Path, signature: FileSignature) -> RunConfig:
    """Return the config of the run in ``folder``, which is read again only if the file changed."""
    data = read_json(folder / "config.json")
    try:
        return RunConfig.from_json(data)
    except (ValueError, TypeError) as error:
        raise StoreError(f"{folder / 'config.json'}: {error}") from error


@lru_cache(maxsize=_CACHED_RUNS)
def _parse_environment(folder: Path, signature: FileSignature) -> dict[str, Any]:
    """Return what environment.json says, which is read again only if it changed."""
    path = folder / "environment.json"
    data = read_small_file(path)
    try:
        return decode_environment(data)
    except InvalidData as error:
        raise StoreError(f"{path}: {error}; delete it, the run stays readable") from None


def read_status(folder: Path) -> Status:
    """Return the actual status of the run in ``folder``: a run whose writer died is not running."""
    return actual_status(read_status_file(folder), folder)


def read_status_file(folder: Path) -> Status:
    """Return the status in status.json, or the one derived from the events if it cannot be read.

    Raises:
        StoreError: if the events cannot be read either.
    """
    signature = file_signature(folder / "status.json")
    if not any(signature):
        return _status_from_events(folder, "status.json is missing")
    try:
        status = _parse_status(folder, signature)
    except ValueError as error:
        detail = str(error).removeprefix(str(folder / "status.json")).strip(": ")
        return _status_from_events(folder, f"status.json is damaged: {detail}")
    if status.extensions is not None and status.state not in ACTIVE_STATES:
        with suppress(StoreError):
            return status.with_extension(read_config(folder))
    return status


@lru_cache(maxsize=_CACHED_RUNS)
def _parse_status(folder: Path, signature: FileSignature) -> Status:
    """Return what status.json says, which is read again only if it changed."""
    return Status.from_json(read_json(folder / "status.json"))


def _status_from_events(folder: Path, damage: str) -> Status:
    """Return the status that the events give; its reason says why it was needed."""
    history = Run(folder).history()
    last = int(history.steps[-1]) if len(history) else 0
    steps = history.stages_started[-1].steps if history.stages_started else 0
    created = min(file_signature(folder / "config.json")[1] / 1e9, time.time())
    best = history.best_evaluation
    status = Status(
        state="stopped",
        reason=f"{damage}. {DERIVED}; resume continues from the newest snapshot",
        step=last,
        steps=steps,
        stage=history.stages_started[-1].index if history.stages_started else 0,
        updated=created,
        created=created,
        seconds=float(history.seconds[-1]) if len(history) else 0.0,
        accuracy=best.accuracy if best else None,
        best_stage=best.stage if best else None,
        best_step=best.step if best else None,
        majority=history.baselines.majority if history.baselines else None,
        zero_shot=history.baselines.zero_shot if history.baselines else None,
    )
    over = history.finished or history.failed
    if over is None:
        return status
    reason = f"{over.reason} ({damage}. {DERIVED})"
    if history.finished:
        return status.with_changes(state="finished", reason=reason, test=history.finished.test, updated=created)
    return status.with_changes(state="failed", reason=reason, updated=created)
