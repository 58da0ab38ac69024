"""The files of a run's test predictions, or of the reason why there are none."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from msgspec import Struct

from ptviz.runs.run_file_io import atomic_write
from ptviz.validation import InvalidData, Sentence, StepCount, decode_json

PREDICTIONS_FILE, ERROR_FILE = "predictions.parquet", "predictions-error.json"
ZERO_SHOT, ZERO_SHOT_CONFIDENCE, ZERO_SHOT_SCORE = "zero_shot", "zero_shot_confidence", "zero_shot_score"
"""The columns of the answers without a prompt, which runs of earlier versions lack."""
MAX_ATTEMPTS = 3
"""Attempts to make the predictions of a run, the one of its training included."""


class _ErrorFile(Struct):
    attempts: StepCount
    reason: Sentence


class PredictionsError(NamedTuple):
    """How often the predictions of a run were attempted in vain, and why the last attempt failed."""

    attempts: int = 0
    reason: str = ""


def read_predictions_error(folder: Path) -> PredictionsError:
    """Return the error recorded in a run's folder; no attempts if there is none."""
    with suppress(OSError, InvalidData):
        found = decode_json((folder / ERROR_FILE).read_bytes(), _ErrorFile)
        return PredictionsError(found.attempts, found.reason)
    return PredictionsError()


def write_predictions_error(folder: Path, attempts: int, reason: str) -> None:
    """Record why a run has no predictions.

    Raises:
        StoreError: if the disk is full or the folder cannot be written.
    """
    atomic_write(folder / ERROR_FILE, json.dumps({"attempts": attempts, "reason": reason}).encode())


def write_predictions(folder: Path, table: bytes) -> None:
    """Write the predictions, a Parquet file, and forget an earlier error.

    Raises:
        StoreError: if the disk is full or the folder cannot be written.
    """
    atomic_write(folder / PREDICTIONS_FILE, table)
    with suppress(OSError):
        (folder / ERROR_FILE).unlink(missing_ok=True)


def lacks_predictions(folder: Path) -> bool:
    """Return whether a finished run has no predictions yet, and they should be attempted again."""
    return not (folder / PREDICTIONS_FILE).exists() and read_predictions_error(folder).attempts < MAX_ATTEMPTS
