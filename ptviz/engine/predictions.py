"""Predictions on the test set: part of a run, and made by a worker where an earlier attempt failed."""

from __future__ import annotations

import io
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor

from ptviz.engine.loaded_prompt import LoadedPrompt
from ptviz.engine.model_cache import Backend, ModelCache
from ptviz.engine.text_generation import make_text_generator
from ptviz.methods.base import PromptMethod
from ptviz.runs.failure_messages import failure_reason, is_out_of_memory
from ptviz.runs.prediction_files import (
    ZERO_SHOT,
    ZERO_SHOT_CONFIDENCE,
    ZERO_SHOT_SCORE,
    lacks_predictions,
    read_predictions_error,
    write_predictions,
    write_predictions_error,
)
from ptviz.runs.restore_method import load_state
from ptviz.runs.run import Run
from ptviz.runs.run_file_io import StoreError
from ptviz.runs.same_training import check_same_files
from ptviz.runs.status import Status
from ptviz.runs.writer import RunWriter, exclusive
from ptviz.tasks import Example, Task
from ptviz.tasks.compute_metrics import score_each_text
from ptviz.training.evaluation import answer_examples, subsample_task

if TYPE_CHECKING:
    import pandas as pd

_CHUNK = 16
"""Texts predicted between two checks for requests."""


def record_predictions(writer: RunWriter, model_cache: ModelCache, is_stopped: Callable[[], bool]) -> bool:
    """Write the predictions of a run that has made its steps, or why they failed; False if it was stopped first.

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
        check_same_files(run)  # Else the predictions would be those of other examples than the score.
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
    """Write unless the run has been trained further since: the predictions would be those of another prompt."""
    with exclusive(run) as status:
        if status == before:
            write()


def add_zero_shot(run: Run, model_cache: ModelCache) -> None:
    """Add the answers without a prompt to the predictions of a run whose training did not record them.

    Raises:
        StoreError: if the run has no predictions, is being written, or its folder cannot be written.
    """
    frame = run.predictions()
    if frame is None:
        raise StoreError(f"run {run.id} has no predictions yet: wait until it is finished")
    if ZERO_SHOT in frame:
        return
    with exclusive(run) as status:
        tables = _make_tables(run, run.prompt(), model_cache)
    for table in tables:
        for _ in table.fill_zero_shot():
            pass
    texts = [example.text for table in tables for example in table.task.test]
    if texts != frame["text"].tolist():
        raise StoreError(f"the test set of run {run.id} has changed since it was trained: train it again")
    import pandas as pd

    found = pd.concat([pd.DataFrame(table.zero_shot_columns()) for table in tables], ignore_index=True)
    data = _encode_table(frame.join(found))
    _write_if_unchanged(run, status, lambda: write_predictions(run.path, data))


def answer_texts(
    loaded: LoadedPrompt, backend: Backend, texts: list[str], on_text: Callable[[str, str], None] | None = None
) -> dict[str, Any]:
    """Return the answers to texts with a run's prompt and without it.

    ``on_text`` gets "with" or "without" and the text so far while a single answer is written.

    Returns:
        ``{"classes": [c names], "with": (n, c), "without": (n, c), "stage": int, "step": int}``, class probabilities;
        of a text-to-text task there are no classes, and "with" and "without" are the n generated texts.

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
        generator = make_text_generator(loaded)
        written = generator.generate(texts, generator.make_settings(), on_text)
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
        tables.append(_PredictionTable(loaded, model_cache))
    return tables


def _to_parquet(tables: list[_PredictionTable]) -> bytes:
    """Return the tables as one Parquet file, of several tasks with a column that names the task."""
    import pandas as pd  # Here, because the first step of a run need not wait for it.

    frames = [table.to_frame() for table in tables]
    if len(frames) > 1:
        for table, frame in zip(tables, frames, strict=True):
            frame.insert(0, "task", table.loaded.config.task)
    return _encode_table(pd.concat(frames, ignore_index=True))


def _encode_table(frame: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False)
    return buffer.getvalue()


class _PredictionTable:
    """The answers of a prompt to the test examples of its task."""

    def __init__(self, loaded: LoadedPrompt, model_cache: ModelCache) -> None:
        self.loaded, self.model_cache = loaded, model_cache
        self.task = subsample_task(loaded.task, loaded.config.training)
        self.answers: list[Any] = []
        self.zero_shot: list[Any] = []

    def fill(self) -> Iterator[None]:
        """Answer the examples with the prompt and without it, a chunk between two yields."""
        self.answers = yield from self._answer_all(self.loaded.method)
        yield from self.fill_zero_shot()

    def fill_zero_shot(self) -> Iterator[None]:
        """Answer the examples without a prompt, unless that was done for another run on them."""
        known = self.model_cache.zero_shot_answers(self.loaded.config)
        self.zero_shot = (yield from self._answer_all(None)) if known is None else known
        self.model_cache.save_zero_shot_answers(self.loaded.config, self.zero_shot)

    def _answer_all(self, method: PromptMethod | None) -> Generator[None, None, list[Any]]:
        task = self.task
        answers: list[Any] = [None] * len(task.test)
        # Texts of like length together: little padding, and chunks of like cost.
        order = sorted(range(len(task.test)), key=lambda index: len(task.test[index].text))
        for first in range(0, len(order), _CHUNK):
            rows = order[first : first + _CHUNK]
            for index, answer in zip(rows, self._answer(method, [task.test[i] for i in rows]), strict=True):
                answers[index] = answer
            yield
        return answers

    def _answer(self, method: PromptMethod | None, examples: list[Example]) -> list[Any]:
        loaded, task, length = self.loaded, self.task, self.loaded.config.training.length
        if task.kind == "classification" and len(task.fields) == 1:
            texts = [example.text for example in examples]
            predict = self.model_cache.backend.predict
            answers: list[Any] = predict(method, loaded.backbone, task, texts, length).tolist()
            return answers
        return answer_examples(method, loaded.backbone, task, examples, length)

    def to_frame(self) -> pd.DataFrame:
        """Return the table, one row for each test example."""
        import pandas as pd

        columns = _text_columns if self.task.kind == "text" else _class_columns
        return pd.DataFrame(columns(self.task, self.answers)).assign(**self.zero_shot_columns())

    def zero_shot_columns(self) -> dict[str, list[Any]]:
        """Return the columns of the answers without a prompt."""
        task, answers = self.task, self.zero_shot
        if task.kind == "text":
            scores = score_each_text(task.scorer, answers, [example.targets for example in task.test])
            return {ZERO_SHOT: answers, ZERO_SHOT_SCORE: [*scores]}
        return {ZERO_SHOT: _name_best(task, answers), ZERO_SHOT_CONFIDENCE: [max(row) for row in answers]}


def _class_columns(task: Task, rows: list[list[float]]) -> Mapping[str, list[object]]:
    names = [task.classes or example.choices for example in task.test]
    columns: dict[str, list[object]] = {
        "text": [example.text for example in task.test],
        "label": [own[example.label] for own, example in zip(names, task.test, strict=True)],
        "predicted": [*_name_best(task, rows)],
    }
    shown = task.classes or [str(number) for number in range(1, 1 + max(map(len, rows)))]
    return columns | {f"p({name})": [row[i] for row in rows] for i, name in enumerate(shown)}


def _name_best(task: Task, rows: list[list[float]]) -> list[str]:
    """Return the most probable class or choice of each test example."""
    best = (max(range(len(row)), key=row.__getitem__) for row in rows)
    return [(task.classes or example.choices)[index] for example, index in zip(task.test, best, strict=True)]


def _text_columns(task: Task, written: list[str]) -> Mapping[str, list[object]]:
    references = [example.targets for example in task.test]
    return {
        "text": [example.text for example in task.test],
        "references": [list(row) for row in references],
        "predicted": [*written],
        "score": [*score_each_text(task.scorer, written, references)],
    }
