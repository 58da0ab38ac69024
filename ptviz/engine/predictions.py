"""Predictions on the test set: part of a run, and made by a worker where an earlier attempt failed."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping

import pandas as pd

from ptviz.engine.loaded_prompt import LoadedPrompt, load_run_prompt
from ptviz.engine.model_cache import Backend, ModelCache
from ptviz.runs.failure_messages import failure_reason, is_out_of_memory
from ptviz.runs.load_state import load_state
from ptviz.runs.predictions import (
    lacks_predictions,
    read_predictions_error,
    write_predictions,
    write_predictions_error,
)
from ptviz.runs.run import Run
from ptviz.runs.status import Status
from ptviz.runs.writer import Writer, exclusive
from ptviz.training.evaluation import subsample_task

_CHUNK = 16
"""Texts predicted between two checks for requests."""


def record_predictions(
    writer: Writer, loaded: LoadedPrompt, model_cache: ModelCache, is_stopped: Callable[[], bool]
) -> bool:
    """Write the predictions of a run that has made its steps, or why they failed; False if it was stopped meanwhile.

    Raises:
        StoreError: if the run cannot be written: it is then not finished, and a resume makes them.
    """
    try:
        load_state(loaded.method, writer.best_state())
        table = _PredictionTable(loaded, model_cache.backend)
        for _ in table.fill():
            if is_stopped():
                return False
        data = table.to_parquet()
    except Exception as error:
        if is_out_of_memory(error):
            model_cache.clear()
        writer.write_predictions_error(failure_reason(error, None))
    else:
        writer.write_predictions(data)
    return True


def make_missing_predictions(run: Run, model_cache: ModelCache) -> Iterator[None]:
    """Make the predictions that a finished run lacks, a few texts at a time.

    Each attempt is recorded before it begins, so that a worker that dies of it does not try for ever.

    Raises:
        StoreError: if the run is being written, or its folder cannot be written.
    """
    with exclusive(run) as status:
        if status.state != "finished" or not lacks_predictions(run.path):
            return
        attempts = read_predictions_error(run.path).attempts + 1
        write_predictions_error(run.path, attempts, "the worker ended while it made them")
    try:
        loaded = load_run_prompt(run, model_cache)
        table = _PredictionTable(loaded, model_cache.backend)
        yield from table.fill()
        data = table.to_parquet()
    except Exception as error:
        if is_out_of_memory(error):
            model_cache.clear()
        reason = failure_reason(error, None)
        _write_if_unchanged(run, status, lambda: write_predictions_error(run.path, attempts, reason))
    else:
        _write_if_unchanged(run, status, lambda: write_predictions(run.path, data))


def _write_if_unchanged(run: Run, before: Status, write: Callable[[], None]) -> None:
    """Write unless the run was trained further meanwhile: the predictions would be those of another prompt."""
    with exclusive(run) as status:
        if status == before:
            write()


class _PredictionTable:
    """The answers of a prompt to the test examples of its task."""

    def __init__(self, loaded: LoadedPrompt, backend: Backend) -> None:
        self.loaded, self.backend = loaded, backend
        self.task = subsample_task(loaded.task, loaded.config.training)
        self.probabilities: list[list[float]] = [[]] * len(self.task.test)

    def fill(self) -> Iterator[None]:
        """Predict the examples, a chunk between two yields."""
        loaded, task = self.loaded, self.task
        # Texts of like length together: little padding, and chunks of like cost.
        order = sorted(range(len(task.test)), key=lambda index: len(task.test[index].text))
        for first in range(0, len(order), _CHUNK):
            rows = order[first : first + _CHUNK]
            texts = [task.test[index].text for index in rows]
            answers = self.backend.predict(loaded.method, loaded.backbone, task, texts, loaded.config.training.length)
            for index, answer in zip(rows, answers.tolist(), strict=True):
                self.probabilities[index] = answer
            yield

    def to_parquet(self) -> bytes:
        """Return the table as a Parquet file."""
        task, rows = self.task, self.probabilities
        columns: Mapping[str, list[object]] = {
            "text": [example.text for example in task.test],
            "label": [task.classes[example.label] for example in task.test],
            "predicted": [task.classes[max(range(len(row)), key=row.__getitem__)] for row in rows],
            **{f"p({name})": [row[i] for row in rows] for i, name in enumerate(task.classes)},
        }
        buffer = io.BytesIO()
        pd.DataFrame(columns).to_parquet(buffer, index=False)
        return buffer.getvalue()
