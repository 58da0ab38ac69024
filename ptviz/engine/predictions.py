"""Predictions on the test set: part of a run, and made by a worker where an earlier attempt failed."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor

from ptviz.engine.loaded_prompt import LoadedPrompt
from ptviz.engine.model_cache import Backend, ModelCache
from ptviz.engine.text_generation import make_writer
from ptviz.runs.atomic_io import StoreError
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
from ptviz.tasks import Example, Task
from ptviz.tasks.metrics import score_each_text
from ptviz.training.evaluation import answer_examples, subsample_task

if TYPE_CHECKING:
    import pandas as pd

_CHUNK = 16
"""Texts predicted between two checks for requests."""


def record_predictions(writer: Writer, model_cache: ModelCache, is_stopped: Callable[[], bool]) -> bool:
    """Write the predictions of a run that has made its steps, or why they failed; False if it was stopped meanwhile.

    Raises:
        StoreError: if the run cannot be written: it is then not finished, and a resume makes them.
    """
    try:
        tables = _make_tables(writer.run, writer.best_state(), model_cache)
        for table in tables:
            for _ in table.fill():
                if is_stopped():
                    return False
        data = _to_parquet(tables)
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
        tables = _make_tables(run, run.prompt(), model_cache)
        for table in tables:
            yield from table.fill()
        data = _to_parquet(tables)
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


def answer_texts(
    loaded: LoadedPrompt, backend: Backend, texts: list[str], on_text: Callable[[str, str], None] | None = None
) -> dict[str, Any]:
    """Return the answers to texts with a run's prompt and without it.

    ``on_text`` gets "with" or "without" and the text so far while a single answer is written.

    Returns:
        ``{"classes": [c names], "with": (n, c), "without": (n, c), "stage": int, "step": int}``, class probabilities;
        of a text-to-text task there are no classes, and "with" and "without" are the n written texts.

    Raises:
        StoreError: if every example of the task has choices of its own: a text alone has none.
        ValueError: if a text is empty, or has not one part for each field of the task.
    """
    task, length = loaded.task, loaded.config.training.length
    if task.kind == "choice":
        raise StoreError(
            f"each example of {task.title} has choices of its own, and a text alone has none: see the predictions on "
            "the test set"
        )
    if task.kind == "text":
        writer = make_writer(loaded)
        written = writer.write(texts, writer.make_settings(), on_text)
        return {"classes": [], "with": written["with"], "without": written["without"], **loaded.position}
    return {
        "classes": list(task.classes),
        "with": backend.predict(loaded.method, loaded.backbone, task, texts, length).tolist(),
        "without": backend.predict(None, loaded.backbone, task, texts, length).tolist(),
        **loaded.position,
    }


def _make_tables(run: Run, state: Mapping[str, Tensor], model_cache: ModelCache) -> list[_PredictionTable]:
    """Return the empty tables of a run's target tasks, which ``state`` of its method predicts."""
    config, tables = run.config.checked(), []
    for index in range(len(config.targets)):
        own = config.for_target(index)
        backbone, task = model_cache.backbone(own), model_cache.task(own)
        method = model_cache.backend.build_method(own, backbone, task)
        several = len(config.targets) > 1
        load_state(method, method.state_of_target(state, index) if several else dict(state))
        loaded = LoadedPrompt(own, backbone, task, method.eval(), {})
        tables.append(_PredictionTable(loaded, model_cache.backend))
    return tables


def _to_parquet(tables: list[_PredictionTable]) -> bytes:
    """Return the tables as one Parquet file, of several tasks with a column that names the task."""
    import pandas as pd  # Here, because the first step of a run need not wait for it.

    frames = [table.to_frame() for table in tables]
    if len(frames) > 1:
        for table, frame in zip(tables, frames, strict=True):
            frame.insert(0, "task", table.loaded.config.task)
    buffer = io.BytesIO()
    pd.concat(frames, ignore_index=True).to_parquet(buffer, index=False)
    return buffer.getvalue()


class _PredictionTable:
    """The answers of a prompt to the test examples of its task."""

    def __init__(self, loaded: LoadedPrompt, backend: Backend) -> None:
        self.loaded, self.backend = loaded, backend
        self.task = subsample_task(loaded.task, loaded.config.training)
        self.answers: list[Any] = [None] * len(self.task.test)

    def fill(self) -> Iterator[None]:
        """Answer the examples, a chunk between two yields."""
        task = self.task
        # Texts of like length together: little padding, and chunks of like cost.
        order = sorted(range(len(task.test)), key=lambda index: len(task.test[index].text))
        for first in range(0, len(order), _CHUNK):
            rows = order[first : first + _CHUNK]
            for index, answer in zip(rows, self._answer([task.test[i] for i in rows]), strict=True):
                self.answers[index] = answer
            yield

    def _answer(self, examples: list[Example]) -> list[Any]:
        loaded, task, length = self.loaded, self.task, self.loaded.config.training.length
        if task.kind == "classification" and len(task.fields) == 1:
            texts = [example.text for example in examples]
            answers: list[Any] = self.backend.predict(loaded.method, loaded.backbone, task, texts, length).tolist()
            return answers
        return answer_examples(loaded.method, loaded.backbone, task, examples, length)

    def to_frame(self) -> pd.DataFrame:
        """Return the table, one row for each test example."""
        import pandas as pd

        columns = _text_columns if self.task.kind == "text" else _class_columns
        return pd.DataFrame(columns(self.task, self.answers))


def _class_columns(task: Task, rows: list[list[float]]) -> Mapping[str, list[object]]:
    best = [max(range(len(row)), key=row.__getitem__) for row in rows]
    names = [task.classes or example.choices for example in task.test]
    columns: dict[str, list[object]] = {
        "text": [example.text for example in task.test],
        "label": [own[example.label] for own, example in zip(names, task.test, strict=True)],
        "predicted": [own[index] for own, index in zip(names, best, strict=True)],
    }
    shown = task.classes or [str(number) for number in range(1, 1 + max(map(len, rows)))]
    return columns | {f"p({name})": [row[i] for row in rows] for i, name in enumerate(shown)}


def _text_columns(task: Task, written: list[str]) -> Mapping[str, list[object]]:
    references = [example.targets for example in task.test]
    return {
        "text": [example.text for example in task.test],
        "references": [list(row) for row in references],
        "predicted": [*written],
        "score": [*score_each_text(task.scorer, written, references)],
    }
